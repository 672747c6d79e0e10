"""Lanczos quadrature of decoders against dense log-determinants and their gradients."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.func import jacrev, vmap

from curvae import Autoencoder, objectives
from curvae.curvature import Exact, Lanczos, Linearised, Probes, Signs, Sphere, principal_basis, unchecked
from curvae.curvature.lanczos import bidiagonalise, quadrature
from curvae.errors import DerivativeError, InputError
from curvae.likelihoods import BernoulliLogits, Categorical, Gaussian, Likelihood, Poisson
from curvae.nn import MLPDecoder
from curvae.posteriors import BlockDiagonal, Diagonal, Full, Structure

pytestmark = pytest.mark.usefixtures("float64")

BATCH, LATENTS, BETA = 3, 4, 0.3


class EverySign(Probes):
    """All 2^d sign vectors: the mean over them is the expectation over a random one."""

    count = 2**LATENTS

    def draw(self, z: Tensor, generator: torch.Generator | None = None) -> Tensor:
        signs = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=LATENTS)))
        return signs.T.to(z).expand(len(z), -1, -1)


class EveryAxis(Probes):
    """√d times each unit vector."""

    count = LATENTS

    def draw(self, z: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return LATENTS**0.5 * torch.eye(LATENTS).expand(len(z), -1, -1)


def _problem(likelihood: Likelihood) -> tuple[nn.Module, Tensor, Tensor]:
    shape = (2, 3) if not isinstance(likelihood, Categorical) else (3, 2)
    decoder, z = MLPDecoder(LATENTS, shape, hidden=(7,)), torch.randn(BATCH, LATENTS, requires_grad=True)
    x = torch.randint(2, (BATCH, 2) if isinstance(likelihood, Categorical) else (BATCH, *shape)).double()
    return decoder, z, x


def _dense(decoder: nn.Module, z: Tensor, x: Tensor, likelihood: Likelihood) -> Tensor:
    """The log-determinant from reverse-mode Jacobians and Hessians of the nll in the outputs."""
    jacobians = vmap(jacrev(lambda point: decoder(point[None])[0].flatten()))(z)
    eta = decoder(z)

    def nll(flat: Tensor, like: Tensor, sample: Tensor) -> Tensor:
        return likelihood.nll(flat.view_as(like)[None], sample[None])[0]

    hessians = vmap(jacrev(jacrev(nll)))(eta.flatten(1), eta, x)
    curvature = jacobians.mT @ hessians @ jacobians
    return torch.linalg.slogdet(torch.eye(LATENTS) + curvature / BETA).logabsdet


def _gradients(value: Tensor, decoder: nn.Module, z: Tensor) -> tuple[Tensor, ...]:
    return torch.autograd.grad(value.sum(), (z, *decoder.parameters()), materialize_grads=True)


@pytest.mark.parametrize("probes", [EverySign(), EveryAxis()], ids=["signs", "axes"])
@pytest.mark.parametrize("likelihood", [Gaussian(0.5), BernoulliLogits(), Poisson(), Categorical()], ids=repr)
def test_expectation_is_the_penalty_and_its_gradient(likelihood: Likelihood, probes: Probes, seed: int) -> None:
    decoder, z, x = _problem(likelihood)
    estimate = Lanczos(LATENTS, probes).estimate(Linearised(decoder, z, x, likelihood), Full(), BETA)
    expected = _dense(decoder, z, x, likelihood)
    torch.testing.assert_close(estimate.eta, decoder(z))
    torch.testing.assert_close(estimate.value, expected)
    torch.testing.assert_close(_gradients(estimate.value, decoder, z), _gradients(expected, decoder, z))


def _products(root: Tensor) -> tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]:
    return lambda v: root @ v, lambda u: root.mT @ u


def _dense_quadrature(root: Tensor, probes: Tensor, beta: float) -> tuple[Tensor, Tensor]:
    """vᵀ log(I + M/β) v and (βI + TTᵀ)⁻¹Tv by a singular value decomposition."""
    left, sigma, right = torch.linalg.svd(root, full_matrices=False)
    along = right @ probes
    values = (along.square() * (sigma.square() / beta).log1p().unsqueeze(-1)).sum(1)
    return values, left @ ((sigma / (beta + sigma.square())).unsqueeze(-1) * along)


def test_one_probe_is_its_own_quadratic_form(seed: int) -> None:
    """vᵀ log(I + M/β) v and (βI + TTᵀ)⁻¹Tv of each probe of each sample, against a decomposition."""
    root, probes = torch.randn(3, 9, 6), torch.randn(3, 6, 2)
    got = quadrature(*_products(root), probes, 6, BETA)
    torch.testing.assert_close(got, _dense_quadrature(root, probes, BETA))
    torch.testing.assert_close(got[1], torch.linalg.solve(BETA * torch.eye(9) + root @ root.mT, root @ probes))


def test_quadrature_errs_upwards_and_less_with_depth(seed: int) -> None:
    root = torch.randn(1, 80, 60) * torch.logspace(0, -2, 60)
    products, probes = _products(root), torch.randn(1, 60, 5)
    exact = quadrature(*products, probes, 60, 1e-3)[0]
    errors = torch.stack([quadrature(*products, probes, m, 1e-3)[0] - exact for m in (1, 2, 4, 8, 16)])
    assert (errors > -1e-9).all()
    assert (errors.diff(dim=0) < 0).all()
    # the bound on the error of Gauss quadrature, with the smallest ellipse that avoids the logarithm's branch point
    condition = 1 + float(torch.linalg.matrix_norm(root, 2)) ** 2 / 1e-3
    rate = (math.sqrt(condition) - 1) / (math.sqrt(condition) + 1)
    assert (errors[-1] < 10 * probes.square().sum(1) * math.log(condition) * rate**32).all()


SPECTRA = {
    "flat": lambda rank: torch.ones(rank),
    "geometric": lambda rank: torch.logspace(0, -4, rank),
    "down to rounding": lambda rank: torch.logspace(0, -8, rank),
}


@pytest.mark.covering
@pytest.mark.parametrize("spectrum", SPECTRA)
@pytest.mark.parametrize(("latents", "outputs", "rank"), [(256, 16, 16), (24, 24, 24), (40, 100, 12), (30, 20, 0)])
def test_float32_keeps_the_promise_at_every_depth_and_noise(
    latents: int, outputs: int, rank: int, spectrum: str, seed: int
) -> None:
    """Per probe: never below the exact value, falling with depth, and the gradient's vector, whatever the rank."""
    left, right = (torch.linalg.qr(torch.randn(n, n))[0][:, :rank] for n in (outputs, latents))
    root = (left * SPECTRA[spectrum](rank) @ right.mT)[None].float()
    probes = Signs(2).draw(torch.zeros(1, latents))
    for scale, ratio in ((1.0, 1e-3), (1e18, 1.0), (1.0, 1e3), (1e-18, 3e7), (1.0, 1e9)):
        beta = scale**2 / ratio
        exact, solution = _dense_quadrature(scale * left * SPECTRA[spectrum](rank), right.mT @ probes, beta)
        found = [quadrature(*_products(scale * root), probes.float(), m, beta) for m in (1, 3, 8, 20, 40)]
        values = torch.stack([value for value, _ in found]).double()
        assert (values >= (1 - 1e-3) * exact).all()
        assert (values.diff(dim=0) <= 1e-3 * exact).all()
        torch.testing.assert_close(values[-1], exact, rtol=1e-3, atol=0)
        error = torch.linalg.vector_norm(found[-1][1] - solution)
        assert error <= (0.1 if spectrum == "down to rounding" else 0.02) * torch.linalg.vector_norm(solution)


def test_latents_beyond_the_rank_of_the_data_in_float32(seed: int) -> None:
    """Value and gradient of the objective's penalty by a decoder, where β is below the rounding of M."""
    decoder, z, x = nn.Linear(256, 16, bias=False), torch.randn(2, 256), torch.zeros(2, 16)
    beta = float(torch.linalg.matrix_norm(decoder.weight.detach(), 2)) ** 2 / 3e7
    found = []
    for to in (torch.float32, torch.float64):
        decoder.to(to)
        probes = Signs(4).draw(torch.zeros(2, 256, dtype=to), torch.Generator().manual_seed(seed))
        probes = _Given(probes[:1].double().expand(2, -1, -1).to(to))
        estimate = Lanczos(32, probes).estimate(Linearised(decoder, z.to(to), x.to(to), Gaussian()), Full(), beta)
        found.append((estimate.value, *torch.autograd.grad(estimate.value.sum(), decoder.weight)))
    (value, gradient), (exact, exact_gradient) = found
    torch.testing.assert_close(value.double(), exact, rtol=1e-5, atol=0)
    assert (gradient - exact_gradient).norm() < 1e-3 * exact_gradient.norm()


class _Given(Probes):
    """These probes."""

    def __init__(self, probes: Tensor) -> None:
        self.probes, self.count = probes, probes.shape[-1]

    def draw(self, z: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return self.probes


@pytest.mark.parametrize("rank", [0, 1, 3])
def test_an_exhausted_space(rank: int, seed: int) -> None:
    decoder = nn.Linear(LATENTS, 6)
    with torch.no_grad():
        decoder.weight.copy_(torch.randn(6, rank) @ torch.randn(rank, LATENTS))
    z, x = torch.randn(2, LATENTS), torch.randn(2, 6)
    _, got = Lanczos(50, EverySign()).penalty(Linearised(decoder, z, x, Gaussian()), Full(), BETA)
    _, exact = Exact().penalty(Linearised(decoder, z, x, Gaussian()), Full(), BETA)
    torch.testing.assert_close(got, exact)
    torch.testing.assert_close(*(torch.autograd.grad(value.sum(), decoder.weight) for value in (got, exact)))


def test_the_bases_stay_orthonormal_in_float32(seed: int) -> None:
    root = (torch.randn(1, 120, 100) * torch.logspace(0, -4, 100)).float()
    start = torch.nn.functional.normalize(torch.randn(1, 100, 2).float(), dim=1)
    basis, bidiagonal = bidiagonalise(*_products(root), start, 40)
    columns = basis.permute(1, 3, 2, 0).double()
    torch.testing.assert_close(columns.mT @ columns, torch.eye(40).expand(1, 2, -1, -1), rtol=0, atol=1e-5)
    # P B B^T P^T is T T^T within the space, but for the last vector, which the next step would complete
    projected = columns.mT @ root.double().unsqueeze(1)
    inside, expected = (projected @ projected.mT)[..., :-1, :-1], (bidiagonal @ bidiagonal.mT)[..., :-1, :-1]
    torch.testing.assert_close(inside, expected, rtol=0, atol=1e-5 * float(root.norm()) ** 2)


def test_a_diverged_sample_hurts_nobody_else(seed: int) -> None:
    decoder, z, x = _problem(Gaussian())
    broken = z.detach().clone()
    broken[1] = torch.nan
    broken.requires_grad_()
    good = Lanczos(3, EverySign()).estimate(Linearised(decoder, z, x, Gaussian()), Full(), BETA).value[[0, 2]]
    values = Lanczos(3, EverySign()).estimate(Linearised(decoder, broken, x, Gaussian()), Full(), BETA).value
    assert values.isfinite().tolist() == [True, False, True]
    torch.testing.assert_close(values[[0, 2]], good)
    (gradient,), (expected,) = (torch.autograd.grad(v.sum(), at) for v, at in ((values[[0, 2]], broken), (good, z)))
    torch.testing.assert_close(gradient[[0, 2]], expected[[0, 2]])


def test_the_standard_error_is_honest(seed: int) -> None:
    decoder, _, _ = _problem(Gaussian())
    z, x = torch.randn(1, LATENTS).expand(3000, -1), torch.randn(1, 2, 3).expand(3000, -1, -1)
    generator = torch.Generator().manual_seed(seed)
    before = torch.random.get_rng_state()
    estimate = Lanczos(LATENTS, Sphere(16)).estimate(Linearised(decoder, z, x, Gaussian()), Full(), BETA, generator)
    assert torch.equal(before, torch.random.get_rng_state())
    exact = Exact().estimate(Linearised(decoder, z[:1], x[:1], Gaussian()), Full(), BETA)
    assert estimate.standard_error is not None
    assert not estimate.standard_error.requires_grad
    scores = (estimate.value - exact.value) / estimate.standard_error
    assert abs(float(scores.detach().mean())) < 0.15
    assert 0.9 < float(scores.detach().std()) < 1.25  # Student's t with 15 degrees of freedom: 1.07
    assert torch.equal(exact.standard_error, torch.zeros(1))
    assert Lanczos(2, Signs(1)).estimate(Linearised(decoder, z, x, Gaussian()), Full(), BETA).standard_error is None


def test_signs_along_the_eigenvectors_have_no_variance(seed: int) -> None:
    decoder, z, x = nn.Linear(40, 50), torch.randn(2, 40), torch.randn(2, 50)
    basis = principal_basis(decoder, z, x, Gaussian())
    estimate = Lanczos(40, Signs(3, basis)).estimate(Linearised(decoder, z, x, Gaussian()), Full(), BETA)
    _, exact = Exact().penalty(Linearised(decoder, z, x, Gaussian()), Full(), BETA)
    torch.testing.assert_close(estimate.value, exact)
    torch.testing.assert_close(estimate.standard_error, torch.zeros(2), rtol=0, atol=1e-9)
    assert (
        Lanczos(40, Signs(3)).estimate(Linearised(decoder, z, x, Gaussian()), Full(), BETA).standard_error > 0.01
    ).all()


def test_batch_normalisation_is_fixed_counted_once_and_trained(seed: int) -> None:
    def decoder() -> nn.Module:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return nn.Sequential(nn.Linear(LATENTS, 9), nn.BatchNorm1d(9), nn.ELU(), nn.Linear(9, 6))

    z, x = torch.randn(BATCH, LATENTS, requires_grad=True), torch.randn(BATCH, 6)
    ours, reference = decoder(), decoder()
    _, got = Lanczos(LATENTS, EverySign()).penalty(Linearised(ours, z, x, Gaussian()), Full(), BETA)
    _, exact = Exact().penalty(Linearised(reference, z, x, Gaussian()), Full(), BETA)
    torch.testing.assert_close(got, exact)
    torch.testing.assert_close(_gradients(got, ours, z), _gradients(exact, reference, z))
    torch.testing.assert_close(dict(ours[1].named_buffers()), dict(reference[1].named_buffers()))
    assert ours[1].num_batches_tracked == 1


def test_a_training_step(seed: int) -> None:
    """Through the objective, in single precision, under autocast too."""
    model = Autoencoder(nn.Linear(6, LATENTS), MLPDecoder(LATENTS, (6,), hidden=(7,)), LATENTS).float()
    x = torch.randn(5, 6).float()
    objective = objectives.GRAE(BETA, estimator=Lanczos(LATENTS, EverySign()))
    exact, gradients = objectives.GRAE(BETA)(model, x), []
    torch.testing.assert_close(objective(model, x).total, exact.total, rtol=1e-4, atol=1e-5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        terms = objective(model, x)
    torch.testing.assert_close(terms["penalty"], exact["penalty"], rtol=0.02, atol=0.0)
    for kind in (terms, exact):  # the gradient's solves survive autocast too
        model.zero_grad()
        kind["penalty"].sum().backward()
        grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in model.decoder.parameters()]
        gradients.append(torch.cat([grad.flatten() for grad in grads]))
    assert (gradients[0] - gradients[1]).norm() < 0.05 * gradients[1].norm()


def test_without_gradients_none_is_prepared(seed: int) -> None:
    decoder, z, x = _problem(Gaussian())
    calls = []
    decoder.register_forward_hook(lambda *_: calls.append(1))
    with unchecked():  # which would call the decoder for itself
        with torch.no_grad():
            Lanczos(2).penalty(Linearised(decoder, z, x, Gaussian()), Full(), BETA)
        without = len(calls)
        Lanczos(2).penalty(Linearised(decoder, z, x, Gaussian()), Full(), BETA)
    assert len(calls) - without == without + 1


@pytest.mark.parametrize("structure", [Diagonal(), BlockDiagonal(2)], ids=str)
def test_bad_structures(structure: Structure) -> None:
    with pytest.raises(InputError, match=r"Lanczos estimates the penalty of Full\(\) only; got .*use Columns or Exact"):
        objectives.GRAE(BETA, structure=structure, estimator=Lanczos())


def test_bad_numbers() -> None:
    for depth in (0, -1):
        with pytest.raises(InputError, match="depth is"):
            Lanczos(depth)
    decoder, z, x = _problem(Gaussian())
    for beta in (0.0, math.nan):
        with pytest.raises(InputError, match="beta is"):
            Lanczos().penalty(Linearised(decoder, z, x, Gaussian()), Full(), beta)


def test_sixty_four_products_for_five_hundred_latents(seed: int) -> None:
    """Within one percent, with a basis borrowed from another code; without it the spread is several times as large."""
    decoder = nn.Sequential(
        nn.Unflatten(1, (8, 8, 8)), nn.ConvTranspose2d(8, 16, 4, 2, 1), nn.ELU(),
        nn.ConvTranspose2d(16, 16, 4, 2, 1), nn.ELU(), nn.Conv2d(16, 3, 3, padding=1),
    ).float()  # fmt: skip
    z, x, repeats = torch.randn(2, 512).float(), torch.zeros(2, 3, 32, 32).float(), 10
    basis = principal_basis(decoder, z[:1], x[:1], Gaussian())
    _, exact = Exact(chunk_size=64).penalty(Linearised(decoder, z[1:], x[1:], Gaussian()), Full(), 0.05)

    def error(probes: Probes) -> float:
        again = (z[1:].expand(repeats, -1), x[1:].expand(repeats, -1, -1, -1))
        _, values = Lanczos(16, probes).penalty(Linearised(decoder, *again, Gaussian()), Full(), 0.05)
        return float((values / exact - 1).detach().square().mean().sqrt())

    with torch.no_grad():
        borrowed, plain = error(Signs(4, basis)), error(Signs(4))
    assert borrowed < 0.01
    assert 2 * borrowed < plain < 0.1


def test_second_derivatives_are_refused(seed: int) -> None:
    decoder, z, x = _problem(Gaussian())
    value = Lanczos(3, EverySign()).estimate(Linearised(decoder, z, x, Gaussian()), Full(), BETA).value
    (plain,) = torch.autograd.grad(value.sum(), z, retain_graph=True)
    (kept,) = torch.autograd.grad(value.sum(), z, create_graph=True)
    torch.testing.assert_close(kept, plain)
    for wrt in (z, next(decoder.parameters())):
        with pytest.raises(DerivativeError, match="the penalty by Lanczos has first derivatives only"):
            torch.autograd.grad(kept.square().sum(), wrt, retain_graph=True)
