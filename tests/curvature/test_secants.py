"""Secants against Jacobian columns, by enumeration, and where forward mode cannot go."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from curvae import Autoencoder, objectives
from curvae.curvature import Columns, Exact, Fraction, Linearised, Secants, unchecked
from curvae.errors import InputError
from curvae.forward.secants import Differences
from curvae.likelihoods import BernoulliLogits, Gaussian, Likelihood
from curvae.posteriors import BlockDiagonal, Diagonal, Full, Normal, Shared, Structure

pytestmark = pytest.mark.usefixtures("float64")

LATENTS, BATCH, BETA = 3, 4, 0.4


def _decoder() -> nn.Module:
    return nn.Sequential(nn.Linear(LATENTS, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 5))


def _problem() -> tuple[nn.Module, Tensor, Tensor]:
    return _decoder(), torch.randn(BATCH, LATENTS, requires_grad=True), torch.rand(BATCH, 5)


class _Drawn(Secants):
    """The same latent and sign for every sample."""

    def __init__(self, latent: int, sign: float, step: float | None = None) -> None:
        super().__init__(1, step)
        self.latent, self.sign = latent, sign

    def draw(self, z: Tensor, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor, Tensor]:
        indices, p, signs = super().draw(z, generator)
        return torch.full_like(indices, self.latent), p, torch.full_like(signs, self.sign)


def _every(step: float | None = None) -> list[_Drawn]:
    return [_Drawn(latent, sign, step) for latent in range(LATENTS) for sign in (1.0, -1.0)]


@pytest.mark.parametrize("likelihood", [Gaussian(0.5), BernoulliLogits()], ids=str)
def test_tends_to_the_columns(likelihood: Likelihood, seed: int) -> None:
    """In value and gradient, through batch statistics too; the difference falls with the square of the step."""
    decoder, z, x = _problem()
    at = Linearised(decoder, z, x, likelihood)
    leaves = [z, *decoder.parameters()]
    exact = Exact().penalty(at, Diagonal(), BETA)[1]
    expected = torch.autograd.grad(exact.sum(), leaves, materialize_grads=True)
    errors = []
    for step in (0.1, 0.01):
        value = torch.stack([each.penalty(at, Diagonal(), BETA)[1] for each in _every(step)]).mean(0)
        found = torch.autograd.grad(value.sum(), leaves, materialize_grads=True)
        errors.append(
            torch.stack([(value - exact).norm(), *((a - b).norm() for a, b in zip(found, expected, strict=True))])
        )
    assert (errors[1] < 0.02 * errors[0] + 1e-8).all()
    assert errors[1].max() < 0.01


def test_an_affine_decoder_has_no_bias_at_any_width() -> None:
    decoder, z, x = nn.Linear(LATENTS, 5), torch.randn(BATCH, LATENTS), torch.rand(BATCH, 5)
    at = Linearised(decoder, z, x, Gaussian())
    for step in (None, 3.0):
        values = torch.stack([each.penalty(at, Diagonal(), BETA)[1] for each in _every(step)])
        torch.testing.assert_close(values.mean(0), Exact().penalty(at, Diagonal(), BETA)[1])


@pytest.mark.parametrize(("decoder", "longer"), [(lambda z: (50 * z).tanh(), True), (lambda z: (50 * z).sinh(), False)])
def test_the_width_is_off_where_the_decoder_bends_within_the_first_secant(
    decoder: Callable[[Tensor], Tensor], longer: bool
) -> None:
    """At 0 the column is 50 and the posterior 0.002 wide; a secant of 0.1 sees 10, or 742."""
    z, beta = torch.zeros(1, 1), 0.01
    at = Linearised(decoder, z, z, Gaussian())
    width = (1 + 50**2 / beta) ** -0.5
    found = {step: Secants(1, step).penalty(at, Diagonal(), beta)[1].item() for step in (None, width)}
    exact = Exact().penalty(at, Diagonal(), beta)[1].item()
    first = float(decoder(torch.tensor(0.1))) / 0.1
    steps = (1 + first**2 / beta) ** -0.5
    assert (steps > 4 * width) if longer else (steps < width / 4)
    by_hand = math.log1p((float(decoder(torch.tensor(steps))) / steps) ** 2 / beta)
    assert found[None] == pytest.approx(by_hand, rel=1e-4)
    assert found[width] == pytest.approx(exact, abs=0.01)
    assert (found[None] < exact - 0.1) is longer


def test_the_bias_is_what_the_docstring_says() -> None:
    """Of the squared length, from second and third derivatives along each latent."""
    decoder = nn.Sequential(nn.Linear(1, 6), nn.Tanh(), nn.Linear(6, 5))
    z, step = torch.randn(1, 1), 0.03
    move = Differences(decoder, z)
    square = torch.stack([(move(torch.full((1, 1, 1), sign * step)) / step).square().sum() for sign in (1, -1)]).mean()

    def derivative(of: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        return lambda t: torch.func.jvp(of, (t,), (torch.ones(()),))[1]

    first = derivative(lambda t: decoder(z + t)[0])
    second = derivative(first)
    one, two, three = (f(torch.zeros(())) for f in (first, second, derivative(second)))
    bends, turns = step**2 * two.square().sum() / 4, step**2 * (one @ three) / 3
    assert abs((square - one.square().sum()) - (bends + turns)) < 0.02 * (bends + abs(turns))


def test_central_differences_do_not_see_the_bend() -> None:
    """Of the bias only the third derivative is left; and Taylor's trace is of the same differences."""
    decoder = nn.Sequential(nn.Linear(1, 6), nn.Tanh(), nn.Linear(6, 5))
    z, x, step = torch.randn(1, 1), torch.zeros(1, 5), 0.03

    def along(t: Tensor) -> Tensor:
        return decoder(z + t)[0]

    def derivative(of: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        return lambda t: torch.func.jvp(of, (t,), (torch.ones(()),))[1]

    first = derivative(along)
    one, three = first(torch.zeros(())), derivative(derivative(first))(torch.zeros(()))
    expected = one.square().sum() + step**2 / 3 * (one @ three)
    value = Secants(1, step, central=True).penalty(Linearised(decoder, z, x, Gaussian()), Diagonal(), BETA)[1]
    square = BETA * value.exp().sub(1).sum()
    assert abs(square - expected) < 0.02 * abs(expected - one.square().sum())


def test_central_differences_by_hand() -> None:
    """At the implied width and at the posterior's, through batch statistics, in value and gradient."""
    decoder, x = nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Linear(8, 5)), torch.rand(BATCH, 5)
    model = Autoencoder(nn.Linear(5, 2), decoder, 1, Diagonal(), head=False)
    q, weights = model.posterior(x), list(model.parameters())

    def half(width: Tensor) -> Tensor:
        return (decoder(q.mean + width) - decoder(q.mean - width)) / 2

    trace = objectives.Taylor(BETA, Gaussian(0.5), estimator=Secants(1, central=True))(model, x)["curvature"]
    by_hand = half(q.factor.dense()[..., 0]).square().sum(1) / 0.5**2 / 2
    widths = [
        (1 + (decoder(q.mean + way) - decoder(q.mean)).square().sum(1, keepdim=True) / 0.05**2 / BETA).rsqrt().detach()
        for way in (0.1, -0.1)
    ]
    penalties = [(1 + (half(width) / width).square().sum(1) / 0.5**2 / BETA).log() for width in widths]
    at = Linearised(model.decode, q.mean, x, Gaussian(0.5))
    found = Secants(1, central=True).penalty(at, Diagonal(), BETA, torch.Generator().manual_seed(0))[1]
    expected = torch.where((found - penalties[0]).abs() < (found - penalties[1]).abs(), *penalties)
    for one, other in ((trace, by_hand), (found, expected)):
        torch.testing.assert_close(one, other)
        gradients = [torch.autograd.grad(v.sum(), weights, retain_graph=True) for v in (one, other)]
        torch.testing.assert_close(*gradients)


class _TwoPoints(Autoencoder):
    """A model whose noise is one of two points at the standard deviation of one latent."""

    latent, sign = 0, 1.0

    def posterior(self, x: Tensor) -> Normal:
        q, latent, sign = super().posterior(x), self.latent, self.sign

        class Drawn(Normal):
            def rsample(self, generator: object = None, samples: tuple[int, ...] = ()) -> Tensor:
                noise = torch.zeros_like(self.mean)
                noise[:, latent] = sign
                return (self.mean + self.factor.apply(noise)).expand(*samples, *self.mean.shape)

        return Drawn(q.mean, q.factor)


def test_at_the_posteriors_width_it_is_a_beta_vae_whose_noise_is_enumerated() -> None:
    """One latent at a time, two-point quadrature: the same loss and gradient, up to what is linear in the residual."""
    decoder = nn.Sequential(nn.Linear(LATENTS, 8), nn.Tanh(), nn.Linear(8, 5))
    model = _TwoPoints(nn.Linear(5, 2 * LATENTS), decoder, LATENTS, Diagonal(), head=False)
    x, sigma = torch.randn(BATCH, 5), 0.7
    vae, secants, linear = [], [], []
    base = objectives.Taylor(BETA, Gaussian(sigma))(model, x)["nll"]
    q = model.posterior(x)
    residual = x - model.decode(q.mean)
    for latent in range(LATENTS):
        for sign in (1.0, -1.0):
            model.latent, model.sign = latent, sign
            vae.append(objectives.BetaVAE(BETA, Gaussian(sigma))(model, x)["nll"] - base)
            linear.append(((model.decode(model.posterior(x).rsample()) - model.decode(q.mean)) * residual).sum(1))
            estimator = _Drawn(latent, sign)
            secants.append(objectives.Taylor(BETA, Gaussian(sigma), estimator=estimator)(model, x)["curvature"])
    # the sum over latents of means over signs; a secant of one latent estimates the sum over all
    expected = (torch.stack(vae) + torch.stack(linear) / sigma**2).sum(0) / 2
    found = torch.stack(secants).mean(0)
    torch.testing.assert_close(found, expected)
    weights = list(model.parameters())
    gradients = [torch.autograd.grad(value.sum(), weights, materialize_grads=True) for value in (found, expected)]
    torch.testing.assert_close(*gradients)


def test_quadrature_over_normal_noise_is_nearer_to_secants_than_to_columns() -> None:
    """A saturating decoder, one latent, wide noise: what a β-VAE's noise costs, by 60 Gauss–Hermite nodes."""
    decoder = nn.Sequential(nn.Linear(1, 6), nn.Tanh())
    decoder[0].weight.data = torch.linspace(0.5, 2.0, 6).unsqueeze(1)
    decoder[0].bias.data = torch.zeros(6)
    z, width = torch.linspace(-1.0, 1.0, 5).unsqueeze(1), 0.4
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    steps = width * torch.tensor(nodes).expand(5, 1, -1)
    move = Differences(decoder, z)
    costs = move(steps).square().sum(1) @ torch.tensor(weights / weights.sum())
    ends = torch.tensor([width, -width]).expand(5, 1, -1)
    secants = move(ends).square().sum(1).mean(1)
    pushed = Linearised(decoder, z, torch.zeros(5, 6), Gaussian()).push(torch.ones(5, 1, 1))[1]
    columns = width**2 * pushed.square().sum((1, 2))
    assert (secants - costs).abs().sum() < 0.5 * (columns - costs).abs().sum()


@pytest.mark.parametrize("structure", [Diagonal(), Full(), Shared(Diagonal())], ids=str)
def test_taylor_by_every_secant(structure: Structure) -> None:
    model = Autoencoder(nn.Linear(5, 6), nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 5)), 3, structure)
    x = torch.randn(BATCH, 5)
    q = model.posterior(x)
    root, eta = q.factor.dense(), model.decode(q.mean)
    moves = [model.decode(q.mean + sign * root[..., c]) - eta for c in range(3) for sign in (1, -1)]
    expected = 0.5 * torch.stack([move.square().sum(1) for move in moves]).sum(0) / 2
    every = [objectives.Taylor(BETA, estimator=each)(model, x) for each in _every()]
    found = torch.stack([terms["curvature"] for terms in every]).mean(0)
    torch.testing.assert_close(found, expected)
    parameters = list(model.parameters())
    for one, other in zip(
        torch.autograd.grad(found.sum(), parameters, allow_unused=True),
        torch.autograd.grad(expected.sum(), parameters, allow_unused=True),
        strict=True,
    ):
        torch.testing.assert_close(one, other)
    half = objectives.Taylor(BETA, estimator=Fraction(Secants(2), 0.5))(model, x, torch.Generator().manual_seed(0))
    assert (half["curvature"] != 0).sum() == BATCH // 2


def test_a_fraction_decodes_its_samples_alone_and_is_the_same() -> None:
    """And all of them where the decoder holds something of each."""
    decoder, z, x = _problem()
    sizes: list[int] = []
    decoder.register_forward_pre_hook(lambda _, given: sizes.append(len(given[0])))
    labels = torch.randn(BATCH, LATENTS)
    for fn, alone in ((decoder, True), (lambda p: decoder(p + labels), False)):
        at = Linearised(fn, z, x, Gaussian())
        fraction = Fraction(Secants(1), 0.5)
        fraction.penalty(at, Diagonal(), BETA)  # its first use
        sizes.clear()
        coin = torch.Generator().manual_seed(3)
        value = fraction.penalty(at, Diagonal(), BETA, coin)[1]
        assert sizes == [BATCH, *[BATCH // 2 if alone else BATCH] * 2]
        chosen = value.nonzero().squeeze(1)
        assert len(chosen) == BATCH // 2
        candidates = torch.stack([each.penalty(at, Diagonal(), BETA)[1] for each in _every()])[:, chosen]
        assert ((candidates - value[chosen] / 2).abs().min(0).values < 1e-10).all()


def test_running_statistics_move_once_and_random_numbers_are_the_same() -> None:
    decoder, z, x = _problem()
    plain = _decoder()
    plain.load_state_dict(decoder.state_dict())
    plain(z)
    Secants(2).penalty(Linearised(decoder, z, x, Gaussian()), Diagonal(), BETA)
    torch.testing.assert_close(dict(decoder.named_buffers()), dict(plain.named_buffers()))
    dropped = nn.Sequential(nn.Linear(LATENTS, 50), nn.Dropout(0.5))
    move = Differences(dropped, z)
    assert (move(torch.zeros(BATCH, LATENTS, 1)) == 0).all()


class _NoForwardMode(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)  # type: ignore[attr-defined]
        return x.sin()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: object, gradient: Tensor) -> Tensor:
        return gradient * ctx.saved_tensors[0].cos()  # type: ignore[attr-defined]


class _Kernel(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return _NoForwardMode.apply(x)  # type: ignore[no-untyped-call]


class _Sine(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.sin()


@pytest.mark.parametrize("kind", ["kernel", "scripted"])
def test_goes_where_forward_mode_cannot(kind: str) -> None:
    z, x = torch.randn(BATCH, LATENTS), torch.rand(BATCH, 5)
    reference = nn.Sequential(nn.Linear(LATENTS, 5), _Sine())
    decoder = nn.Sequential(reference[0], _Kernel()) if kind == "kernel" else torch.jit.script(reference)
    with pytest.raises(InputError):
        Columns(1).penalty(Linearised(decoder, z, x, Gaussian()), Diagonal(), BETA)
    results = []
    for fn in (decoder, reference):
        value = Secants(2).penalty(
            Linearised(fn, z, x, Gaussian()), Diagonal(), BETA, torch.Generator().manual_seed(0)
        )[1]
        results.append((value, *torch.autograd.grad(value.sum(), list(reference.parameters()))))
    torch.testing.assert_close(*results)


@pytest.mark.slow
def test_goes_through_a_compiled_decoder() -> None:
    torch.set_default_dtype(torch.float32)
    reference = nn.Sequential(nn.Linear(LATENTS, 5), nn.Tanh())
    at = [
        Linearised(fn, torch.ones(4, LATENTS), torch.zeros(4, 5), Gaussian())
        for fn in (torch.compile(reference), reference)
    ]
    values = [Secants(2).penalty(each, Diagonal(), BETA, torch.Generator().manual_seed(0))[1] for each in at]
    torch.testing.assert_close(*values)


def test_a_compiled_decoder_is_compiled_for_its_own_passes_alone() -> None:
    graphs: list[int] = []

    def backend(graph: torch.fx.GraphModule, _: Any) -> Any:
        graphs.append(len(list(graph.graph.nodes)))
        return graph.forward

    decoder = torch.compile(nn.Sequential(nn.Linear(LATENTS, 5), nn.Tanh()), backend=backend)
    z = torch.ones(4, LATENTS, requires_grad=True)
    objective_at = Linearised(decoder, z, torch.zeros(4, 5), Gaussian())
    Secants(1).penalty(objective_at, Diagonal(), BETA, torch.Generator().manual_seed(0))
    # with and without gradients; not for what looks whether samples are apart, nor for each function of a mode
    assert 1 <= len(graphs) <= 2


def test_batch_normalisation_beside_a_compiled_part_is_refused() -> None:
    part = nn.Linear(LATENTS, 5)
    part.compile(backend="eager")
    at = Linearised(nn.Sequential(part, nn.BatchNorm1d(5)), torch.randn(4, LATENTS), torch.zeros(4, 5), Gaussian())
    with pytest.raises(InputError, match="compiled or scripted, in part at least, and has batch"):
        Secants(1).penalty(at, Diagonal(), BETA)


def test_what_makes_no_sense_is_refused() -> None:
    decoder, z, x = _problem()
    at = Linearised(decoder, z, x, Gaussian())
    for structure in (Full(), BlockDiagonal(2), Shared(Diagonal())):
        with pytest.raises(InputError, match=r"^Secants estimates the penalty of Diagonal\(\) only; got [^\n]*$"):
            Secants(1).penalty(at, structure, BETA)
    bad: list[dict[str, Any]] = [
        {"count": 0},
        {"step": 0.0},
        {"step": [0.1, -1.0]},
        {"step": []},
        {"probabilities": [0.0]},
    ]
    for arguments in bad:
        with pytest.raises(InputError, match=r"^[^\n]*$"):
            Secants(**arguments)
    with pytest.raises(InputError, match="Secants has 2 steps but there are 3 latents"):
        Secants(1, [0.1, 0.2]).penalty(at, Diagonal(), BETA)
    with pytest.raises(InputError, match="compiled or scripted, in part at least, and has batch"):
        Secants(1).penalty(Linearised(torch.jit.script(decoder), z, x, Gaussian()), Diagonal(), BETA)
    with pytest.raises(InputError, match="mixes the samples of a batch"):
        Secants(1).penalty(Linearised(lambda p: p - p.mean(0), z, x[:, :3], Gaussian()), Diagonal(), BETA)
    with unchecked():
        Secants(1).penalty(Linearised(lambda p: p - p.mean(0), z, x[:, :3], Gaussian()), Diagonal(), BETA)
    for estimator in (Columns(1), Fraction(Columns(1), 0.5), Secants(1, step=0.1)):
        with pytest.raises(InputError, match=r"^Taylor's trace is exact, or estimated by Secants\(k\)[^\n]*$"):
            objectives.Taylor(BETA, estimator=estimator)
    with pytest.raises(InputError, match="secants stand for curvature 'gauss-newton' only"):
        objectives.Taylor(BETA, curvature="hessian", estimator=Secants(1))
    with pytest.raises(InputError, match="orthogonality needs pairs"):
        objectives.GRAE(BETA, structure=Diagonal(), estimator=Secants(2), orthogonality=0.1)


def test_noise_that_depends_on_the_latents_is_refused_for_that(seed: int) -> None:
    """RReLU draws for negative inputs alone: a step shifts the numbers of all that follow, and mixes no samples."""
    decoder, z = nn.Sequential(nn.Linear(LATENTS, 50), nn.RReLU(), nn.Linear(50, 5)), torch.randn(BATCH, LATENTS)
    with pytest.raises(InputError, match=r"^the decoder draws as many random numbers as .*RReLU .* such as Columns$"):
        Differences(decoder, z)
    Differences(decoder.eval(), z)
    mixing = nn.Sequential(nn.Linear(LATENTS, 5), nn.Dropout(0.5))
    with pytest.raises(InputError, match="mixes the samples of a batch"):
        Differences(lambda z: mixing(z - z.mean(0)), z)


def test_noise_that_a_first_use_does_not_show_is_noticed(seed: int) -> None:
    """Dropout that by chance drops nothing in the first batch has one mask in all passes later, too."""
    decoder = nn.Sequential(nn.Linear(LATENTS, 6), nn.Dropout(0.02), nn.Linear(6, 5))
    z = torch.randn(8, LATENTS)

    def differ() -> bool:
        one, half = torch.full((8, LATENTS, 1), 0.1), torch.arange(0, 8, 2)
        move = Differences(decoder, z)
        return not torch.allclose(move(one[half], half), move(one)[half])

    first = next(number for number in range(1000) if _keeps_everything(decoder[1], number))
    torch.manual_seed(first)
    assert not differ()
    torch.manual_seed(seed)
    assert not any(differ() for _ in range(20))
    decoder[1].p = 0.5  # one that is raised later
    assert not any(differ() for _ in range(20))


def _keeps_everything(dropout: nn.Module, seed: int) -> bool:
    torch.manual_seed(seed)
    return bool((dropout(torch.ones(8, 6)) > 0).all())
