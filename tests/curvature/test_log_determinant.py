"""The log-determinant with its error: an identity and bounds against dense matrices, and the interval's coverage."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
from scipy.fft import idctn
from torch import Tensor, nn

from curvae import curvature
from curvae.curvature import Linearised, log_determinant
from curvae.curvature.deflation import Products, deflation
from curvae.curvature.lanczos import Bidiagonalisation
from curvae.curvature.measuring import _Run, _variance, estimate
from curvae.curvature.rules import between, remainder, rule
from curvae.curvature.waves import Waves
from curvae.errors import InputError
from curvae.likelihoods import BernoulliLogits, Gaussian
from curvae.posteriors import Full

BETA = 0.3


def _products(root: Tensor, batch: int = 1) -> Products:
    """Of one dense T for all samples."""
    return Products(
        lambda v: torch.einsum("ed,bdk->bek", root, v),
        lambda u: torch.einsum("ed,bek->bdk", root, u),
        torch.zeros(batch, root.shape[1], dtype=root.dtype),
    )


def _truth(root: Tensor, beta: float) -> float:
    root = root.double()
    return float(torch.linalg.slogdet(torch.eye(root.shape[1], dtype=torch.float64) + root.mT @ root / beta)[1])


def _grown(of: Products, start: Tensor, depth: int) -> Bidiagonalisation:
    process = Bidiagonalisation(of.push, of.pull, nn.functional.normalize(start, dim=1))
    for _ in range(depth):
        process.push()
        process.pull()
    return process


def _draws(
    root: Tensor, beta: float, count: int, products: int = 32, shape: tuple[int, ...] = (), batches: int = 8
) -> SimpleNamespace:
    """Estimates in some batches, since a batch takes its steps together and shares its colours."""
    of = _products(root, count // batches)
    found = [
        estimate(of, Waves(of.like, shape or of.like.shape[1:]), beta, products, torch.Generator().manual_seed(seed))
        for seed in range(batches)
    ]
    assert all(each.products <= products for each in found)
    names = ("value", "error", "standard_error")
    return SimpleNamespace(**{name: torch.cat([getattr(each, name) for each in found]) for name in names})


@pytest.mark.usefixtures("float64")
def test_deflation_is_an_identity(seed: int) -> None:
    root = torch.randn(20, 14)
    of = _products(root)
    seen = deflation(_grown(of, torch.randn(1, 14, 2), 2), BETA)
    for rank in (4, 7):
        inside = torch.eye(rank)
        torch.testing.assert_close(seen.outputs[0].mT @ seen.outputs[0], inside)
        torch.testing.assert_close(seen.pulled[0], root.mT @ seen.outputs[0])
        left = seen.products(of).push(torch.eye(14)[None])[0]
        assert _truth(left, BETA) + float(seen.logs.sum()) == pytest.approx(_truth(root, BETA), rel=1e-12)
        torch.testing.assert_close(seen.products(of).pull(torch.eye(20)[None])[0], left.mT)
        seen = deflation(_grown(seen.products(of), torch.randn(1, 14, 1), 3), BETA, seen)


@pytest.mark.usefixtures("float64")
def test_the_rules_are_bounds(seed: int) -> None:
    root, start = torch.randn(12, 9), torch.randn(1, 9, 3).sign()
    values, vectors = torch.linalg.eigh(root.mT @ root)
    shares, logs = (vectors.mT @ start[0]).square(), (values / BETA).log1p()
    truth, squared = logs @ shares, logs.square() @ shares
    for depth in range(1, 10):
        matrix = _grown(_products(root), start, depth).matrix
        gauss, radau = (rule(matrix[..., : depth + more], BETA, 9)[0][0] for more in (0, 1))
        assert (radau <= truth + 1e-10).all()
        assert (truth <= gauss + 1e-10).all()
        best, gap = between(matrix, BETA, 9)
        torch.testing.assert_close(gap[0], gauss - radau)
        assert ((best[0] - radau) * (gauss - best[0]) >= -1e-10).all()
    torch.testing.assert_close(best[0], truth)
    torch.testing.assert_close(rule(matrix, BETA, 9)[1][0], squared)
    assert float(remainder(matrix, BETA, 9)) < 1e-2 * float(truth.mean())


@pytest.mark.usefixtures("float64")
def test_between_them_is_better_than_either(seed: int) -> None:
    """The errors' ratio for a spectrum that fills its interval."""
    root = torch.diag(torch.linspace(0, 1, 400).sqrt())
    start = torch.randn(1, 400, 20).sign()
    for beta in (0.01, 0.1, 1.0):
        truth = (root.diagonal().square() / beta).log1p() @ start[0].square()
        matrix = _grown(_products(root), start, 5).matrix
        best, gap = between(matrix, beta, 400)
        assert (best[0] - truth).abs().mean() < 0.15 * gap.mean()


@pytest.mark.parametrize("shape", [(3, 4, 5), (6, 2), (2, 7), (8,)])
@pytest.mark.usefixtures("float64")
def test_waves_are_an_orthonormal_basis(shape: tuple[int, ...], seed: int) -> None:
    d = math.prod(shape)
    waves, identity = Waves(torch.zeros(2, d), shape), torch.eye(d).expand(2, -1, -1)
    axes = {3: (2, 3), 2: (1,), 1: ()}[len(shape)]
    expected = idctn(identity.mT.numpy().reshape(2 * d, *shape), axes=axes, norm="ortho") if axes else identity.mT
    basis = waves.synthesise(identity)
    torch.testing.assert_close(basis, torch.as_tensor(expected).reshape(2, d, d).mT)
    if len(shape) > 1:
        waves.align(torch.randn(2, d, 3))
        turned = waves.synthesise(identity)
        torch.testing.assert_close(turned.mT @ turned, identity)
        assert not torch.allclose(turned[0], turned[1])
    v = torch.randn(2, d, 3)
    torch.testing.assert_close(waves.synthesise(waves.analyse(v)), v)
    torch.testing.assert_close(waves.analyse(waves.synthesise(v)), v)


@pytest.mark.parametrize("shape", [(4, 16, 8), (16, 4)])
@pytest.mark.usefixtures("float64")
def test_neighbouring_waves_seldom_meet(shape: tuple[int, ...], seed: int) -> None:
    """How often two waves are left over four probes, a quarter by chance, by their distance along one axis."""
    d, draws = math.prod(shape), 100
    waves, generator = Waves(torch.zeros(1, d), shape), torch.Generator().manual_seed(seed)
    met = torch.zeros(*shape, *shape)
    for _ in range(draws):
        found = waves.analyse(waves.probes(waves.draw(generator), range(4)))[0]
        torch.testing.assert_close(found.abs(), torch.ones(d, 4))
        met += ((found @ found.mT).reshape(met.shape).abs() > 1) / draws
    for axis, size in enumerate(shape):
        others = [i for i in range(len(shape)) if i != axis]
        along = met.permute(axis, axis + len(shape), *others, *(i + len(shape) for i in others))
        along = along.reshape(size, size, d // size, d // size).diagonal(dim1=2, dim2=3).mean(-1)
        for step, expected in ((1, 1 / 16), (2, 1 / 8), (4, 1 / 4), (8, 1 / 4), (32, 1 / 4)):
            if step < size:
                assert float(along.diagonal(step).mean()) <= expected * size / (size - step) + 0.1


@pytest.mark.usefixtures("float64")
def test_probes_are_signs_that_go_on(seed: int) -> None:
    """Rows of one draw do not depend on how many are asked for, and each probe alone is independent signs."""
    waves, generator = Waves(torch.zeros(20_000, 3), (3,)), torch.Generator().manual_seed(seed)
    drawn = waves.draw(generator)
    probes = waves.probes(drawn, range(5))
    torch.testing.assert_close(waves.probes(drawn, range(3, 9))[..., :2], probes[..., 3:])
    for row in range(5):
        v = probes[..., row]
        assert (v.mT @ v / len(v) - torch.eye(3)).abs().max() < 5 * len(v) ** -0.5


@pytest.mark.usefixtures("float64")
def test_the_terms_tell_value_and_variance(seed: int) -> None:
    """Against dense matrices: what each wave adds to a probe's value, and twice the squares off the diagonal."""
    shape, d = (2, 3, 4), 24
    of = _products(torch.randn(30, d))
    run = _Run(of, Waves(of.like, shape), BETA, 10_000, torch.Generator().manual_seed(seed))
    run.align()
    process = run.start(of, range(3))
    for _ in range(d):
        run.step(process)
    basis = run.waves.synthesise(torch.eye(d)[None])[0]
    root = of.push(torch.eye(d)[None])[0]
    values, vectors = torch.linalg.eigh(root.mT @ root)
    logs = basis.mT @ (vectors * (values / BETA).log1p()) @ vectors.mT @ basis
    w = basis.mT @ process.right[0][0] * d**0.5
    torch.testing.assert_close(run._terms(process)[0], w * (logs @ w))
    many = torch.randn(d, 20_000).sign()
    expected = 2 * (logs.square().sum() - logs.diagonal().square().sum())
    assert float(_variance((many * (logs @ many))[None])) == pytest.approx(float(expected), rel=0.1)


@pytest.mark.usefixtures("float64")
def test_a_decoder_that_treats_all_places_alike_has_no_variance(seed: int) -> None:
    """M is diagonal in frequencies: known but for the quadrature. With channels their axes are found on the way."""
    shape = (1, 6, 8)
    basis = Waves(torch.zeros(1, 48), shape).synthesise(torch.eye(48)[None])[0]
    root = torch.randn(60, 48) @ basis.mT  # of no place, for the control
    alike = torch.diag(0.5 + torch.rand(48)) @ basis.mT
    for matrix, least, most in ((alike, 0.0, 0.05), (root, 0.5, 2.0)):
        plain, along = (_draws(matrix, BETA, 8, 32, shape) for shape in ((48,), shape))
        assert least <= along.standard_error.mean() / plain.standard_error.mean() <= most
        assert ((along.value - _truth(matrix, BETA)).abs() <= 1.5 * along.error).all()


@pytest.mark.parametrize("rank", [0, 1, 2])
def test_a_small_rank_is_known_in_float32(rank: int, seed: int) -> None:
    root = torch.randn(90, rank) @ torch.randn(rank, 80)
    found = _draws(root, BETA, 8)
    truth = _truth(root, BETA)
    assert ((found.value - truth).abs() <= found.error).all()
    assert (found.error <= 1e-3 * truth).all()


SPECTRA = {
    "power law": (lambda i: 1 / (i + 1), 0.02),
    "exponential": (lambda i: torch.exp(-i / 4), 0.5),
    "rank-deficient": (lambda i: (i < 40) / (i + 1), 0.1),
    "flat tail": (lambda i: torch.exp(-i / 5) + 0.01, 0.02),
}


@pytest.mark.cases(2)
@pytest.mark.parametrize("name", SPECTRA)
def test_the_interval_covers_the_truth(name: str) -> None:
    """200 draws with a fixed seed, in float32; 0.91 is two standard errors below 0.95."""
    generator = torch.Generator().manual_seed(1)
    left, right = (torch.linalg.qr(torch.randn(96, 96, generator=generator))[0] for _ in range(2))
    spectrum, beta = SPECTRA[name]
    root = left * spectrum(torch.arange(96)).sqrt() @ right
    found, truth = _draws(root, beta, 200), _truth(root, beta)
    assert ((found.value - truth).abs() <= found.error).double().mean() >= 0.91
    assert found.error.median() < 0.3 * truth
    assert abs(float(found.value.mean()) / truth - 1) < 0.03


@pytest.mark.cases(1)
@pytest.mark.parametrize(("step", "shape"), [(4, (2, 8, 8)), (16, (2, 8, 8)), (64, (2, 8, 8)), (16, (32, 4)), (32, ())])
def test_the_interval_covers_what_colours_miss(step: int, shape: tuple[int, ...]) -> None:
    """Waves that are coupled in pairs some steps apart, all of them by the same steps, are no blind spot."""
    coupled, first = torch.eye(128, dtype=torch.float64), torch.arange(128 - step)
    first = first[first // step % 2 == 0]
    coupled[first, first + step] = coupled[first + step, first] = 0.95
    basis = Waves(torch.zeros(1, 128), shape or (128,)).synthesise(torch.eye(128)[None])[0]
    root = 2 * torch.linalg.cholesky(coupled).mT.float() @ basis.mT
    for products in (16, 32):
        found, truth = _draws(root, 0.5, 200, products, shape, batches=50), _truth(root, 0.5)
        assert ((found.value - truth).abs() <= found.error).double().mean() >= 0.91
        assert found.error.median() < 0.1 * truth


@pytest.mark.cases(1)
@pytest.mark.usefixtures("float64")
def test_the_interval_covers_couplings_across_axes() -> None:
    """Waves coupled with diagonal neighbours in cells of two by two, which colours may not leave together each time."""
    shape, beta = (1, 8, 8), 0.5
    coupled = torch.eye(64).reshape(8, 8, 8, 8)
    for i in range(0, 8, 2):
        for j in range(0, 8, 2):
            coupled[i, j, i + 1, j + 1] = coupled[i + 1, j + 1, i, j] = 0.95
    basis = Waves(torch.zeros(1, 64), shape).synthesise(torch.eye(64)[None])[0]
    root = 2 * torch.linalg.cholesky(coupled.reshape(64, 64)).mT @ basis.mT
    found, truth = _draws(root, beta, 60, 16, shape, batches=60), _truth(root, beta)
    assert ((found.value - truth).abs() <= found.error).double().mean() >= 0.85


@pytest.mark.usefixtures("float64")
def test_probes_that_share_a_large_eigenvector_have_not_seen_all(seed: int) -> None:
    """More products go off what has been seen only where that is nearly all, or buys more there."""
    convolutions = (nn.ConvTranspose2d(4, 16, 4, 2, 1), nn.Conv2d(16, 16, 3, padding=1), nn.Conv2d(16, 3, 3, padding=1))
    decoder = nn.Sequential(convolutions[0], nn.ELU(), convolutions[1], nn.ELU(), convolutions[2])
    shape = (4, 8, 8)
    root = torch.func.jacrev(decoder)(torch.randn(1, *shape)).detach().reshape(-1, 256)
    beta = 0.03 * float(root.square().sum()) / 256
    found, truth = _draws(root, beta, 3, 64, shape, batches=3), _truth(root, beta)
    assert (found.standard_error < 0.02 * truth).all()
    assert ((found.value - truth).abs() < 2 * found.error).all()


@pytest.mark.usefixtures("float64")
def test_of_a_decoder_with_places(seed: int) -> None:
    decoder = nn.Sequential(nn.ConvTranspose2d(4, 5, 4, 2, 1), nn.ELU(), nn.Conv2d(5, 2, 3, padding=1))
    z, x = torch.randn(1, 4, 4, 4).expand(8, -1, -1, -1), (torch.rand(8, 2, 8, 8) > 0.5).double()
    at = Linearised(decoder, z, x, BernoulliLogits())
    found = log_determinant(at, 0.01, 32, torch.Generator().manual_seed(seed))
    _, truth = curvature.Exact().penalty(at, Full(), 0.01)
    assert found.products <= 32
    assert (((found.value - truth) / truth).abs() < 0.12).all()
    assert ((found.value - truth).abs() <= found.error).sum() >= 6
    assert not found.value.requires_grad
    again = log_determinant(at, 0.01, 32, torch.Generator().manual_seed(seed))
    assert torch.equal(found.value, again.value)
    torch.testing.assert_close(found.weights.sum(-1), torch.ones(8, found.weights.shape[1]))


@pytest.mark.parametrize("products", [8, 17, 32, 51])
@pytest.mark.parametrize("decay", [0.5, 20.0])
def test_no_more_products_than_allowed(products: int, decay: float, seed: int) -> None:
    root = torch.diag(torch.exp(-torch.arange(60) / decay)) @ torch.linalg.qr(torch.randn(60, 60))[0]
    calls = {"push": 0, "pull": 0}

    def counted(name: str, vectors: Tensor) -> Tensor:
        calls[name] += vectors.shape[-1]
        return getattr(_products(root), name)(vectors)

    of = Products(lambda v: counted("push", v), lambda u: counted("pull", u), torch.zeros(1, 60))
    found = estimate(of, Waves(of.like, (4, 5, 3)), 1e-3, products, None)
    assert calls == {"push": found.products, "pull": found.products}
    assert found.products <= products


@pytest.mark.parametrize("shape", [(1,), (3,), (2, 1, 1), (2, 2, 2), (8,)])
@pytest.mark.parametrize("outputs", [1, 2, 9])
def test_few_latents_are_exact(shape: tuple[int, ...], outputs: int, seed: int) -> None:
    latents = math.prod(shape)
    for number in range(20):  # for signs that are the same in all probes, by chance
        root = torch.randn(outputs, latents, dtype=torch.float64)
        of = _products(root, 2)
        found = estimate(of, Waves(of.like, shape), BETA, 8, torch.Generator().manual_seed(20 * seed + number))
        torch.testing.assert_close(found.value, torch.full((2,), _truth(root, BETA), dtype=torch.float64))
        density = (found.weights * (found.nodes / BETA).log1p()).sum((-1, -2))
        torch.testing.assert_close(density * latents, found.value)
        assert bool((found.error < 1e-9 * found.value).all())
        assert found.products <= 8


@pytest.mark.parametrize("beta", [1e-8, 1e-2, 1e6])
def test_the_error_of_few_latents_is_what_their_type_leaves(beta: float, seed: int) -> None:
    sizes = torch.logspace(2, -6, 7, dtype=torch.float64)
    left, right = (torch.linalg.qr(torch.randn(size, 7, dtype=torch.float64))[0] for size in (9, 7))
    root = (left * sizes @ right.mT).float()
    found = estimate(_products(root), Waves(torch.zeros(1, 7), (7,)), beta, 8, None)
    assert abs(float(found.value) - float((torch.linalg.svdvals(root.double()) ** 2 / beta).log1p().sum())) <= float(
        found.error
    )


def test_a_diverged_sample_hurts_nobody_else(seed: int) -> None:
    decoder, z = nn.Linear(6, 9), torch.randn(3, 6)
    z[1] = torch.nan
    broken = Linearised(lambda z: decoder(z) * z.sum(1, keepdim=True), z, torch.zeros(3, 9), Gaussian())
    found = log_determinant(broken, BETA, generator=torch.Generator().manual_seed(seed))
    assert found.value.isfinite().tolist() == [True, False, True]
    good = Linearised(broken.decoder, z[[0, 2]], torch.zeros(2, 9), Gaussian())
    _, truth = curvature.Exact().penalty(good, Full(), BETA)
    torch.testing.assert_close(found.value[[0, 2]].float(), truth, rtol=1e-3, atol=1e-4)


def test_bad_numbers() -> None:
    at = Linearised(nn.Linear(3, 4), torch.zeros(1, 3), torch.zeros(1, 4), Gaussian())
    with pytest.raises(InputError, match="products is 7; expected at least 8"):
        log_determinant(at, 1.0, 7)
    with pytest.raises(InputError, match="beta is"):
        log_determinant(at, 0.0)
