"""The first-order penalty against dense Jacobians."""

from __future__ import annotations

import itertools
import re
import warnings

import pytest
import torch
from torch import Tensor, nn
from torch.func import jacrev, vmap

from curvae import Autoencoder
from curvae.curvature import Coordinates, Exact, Fraction, Linearised, Probes, Signs, Sphere, Trace
from curvae.errors import InputError
from curvae.likelihoods import BernoulliLogits, Gaussian, Likelihood
from curvae.nn import MLPDecoder
from curvae.objectives import RAE
from curvae.posteriors import BlockDiagonal, Diagonal, Full
from curvae.runs.spelling import estimator_name

pytestmark = pytest.mark.usefixtures("float64")

BATCH, LATENTS, BETA = 3, 4, 0.3
UNEVEN = torch.tensor([0.1, 0.6, 0.05, 0.25], dtype=torch.float64)


class Fixed(Probes):
    """Probes that the test gives, the same for every sample."""

    def __init__(self, vectors: Tensor) -> None:
        self.vectors, self.count = vectors, vectors.shape[1]

    def draw(self, z: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return self.vectors.expand(len(z), -1, -1)


def _problem() -> tuple[nn.Module, Tensor, Tensor]:
    decoder, z = MLPDecoder(LATENTS, (2, 3), hidden=(7,)), torch.randn(BATCH, LATENTS, requires_grad=True)
    return decoder, z, torch.rand(BATCH, 2, 3)


def _dense(decoder: nn.Module, z: Tensor, likelihood: Likelihood) -> Tensor:
    jacobians = vmap(jacrev(lambda point: decoder(point[None])[0]))(z)
    weight = 1 / 0.25 if isinstance(likelihood, Gaussian) else decoder(z).sigmoid() * (1 - decoder(z).sigmoid())
    return (torch.as_tensor(weight).unsqueeze(-1) * jacobians.square()).flatten(1).sum(1) / BETA


def _gradients(value: Tensor, decoder: nn.Module, z: Tensor) -> tuple[Tensor, ...]:
    return torch.autograd.grad(value.sum(), (z, *decoder.parameters()), materialize_grads=True)


@pytest.mark.parametrize("likelihood", [Gaussian(0.5), BernoulliLogits()], ids=repr)
def test_expectations(likelihood: Likelihood, seed: int) -> None:
    """Exactly, and as the mean over all sign vectors or, by probability, over all columns."""
    decoder, z, x = _problem()
    expected = _dense(decoder, z, likelihood)
    signs = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=LATENTS))).T
    values = []
    for trace in (Trace(), Trace(chunk_size=3), Trace(Fixed(signs))):
        estimate = trace.estimate(Linearised(decoder, z, x, likelihood), Full(), BETA)
        torch.testing.assert_close(estimate.eta, decoder(z))
        values.append(estimate.value)
    columns = [Fixed(torch.eye(LATENTS)[:, [c]] / p.sqrt()) for c, p in enumerate(UNEVEN)]
    single = [Trace(column).penalty(Linearised(decoder, z, x, likelihood), Full(), BETA)[1] for column in columns]
    wanted = _gradients(expected, decoder, z)
    for value in (*values, UNEVEN @ torch.stack(single)):
        torch.testing.assert_close(value, expected)
        torch.testing.assert_close(_gradients(value, decoder, z), wanted)


@pytest.mark.parametrize("probes", [Signs(8), Coordinates(8, UNEVEN)], ids=repr)
def test_standard_error(probes: Probes, seed: int) -> None:
    decoder, _, _ = _problem()
    z, x = torch.randn(1, LATENTS).expand(3000, -1), torch.rand(1, 2, 3).expand(3000, -1, -1)
    estimate = Trace(probes).estimate(
        Linearised(decoder, z, x, Gaussian(0.5)), Full(), BETA, torch.Generator().manual_seed(seed)
    )
    exact = _dense(decoder, z[:1], Gaussian(0.5)).detach()
    value = estimate.value.detach()
    assert abs(value.mean() - exact.item()) < 5 * value.std() / 3000**0.5
    assert estimate.standard_error is not None
    assert not estimate.standard_error.requires_grad
    torch.testing.assert_close(estimate.standard_error.square().mean(), value.var(), rtol=0.1, atol=0)
    one = Trace(Signs(1)).estimate(Linearised(decoder, z, x, Gaussian()), Full(), BETA)
    assert one.standard_error is None
    assert torch.equal(
        Trace().estimate(Linearised(decoder, z, x, Gaussian()), Full(), BETA).standard_error, torch.zeros(3000)
    )


def test_it_bounds_every_structure_and_meets_them_at_large_beta(seed: int) -> None:
    """Full ≤ block ≤ diagonal ≤ trace, and equal to first order in 1/β."""
    decoder, z, x = _problem()
    for beta in (0.01, 1.0, 1e7):
        penalties = [
            estimator.penalty(Linearised(decoder, z, x, Gaussian()), structure, beta)[1]
            for estimator, structure in (
                (Exact(), Full()),
                (Exact(), BlockDiagonal(2)),
                (Exact(), Diagonal()),
                (Trace(), Full()),
            )
        ]
        assert all((a < b).all() for a, b in itertools.pairwise(penalties))
    torch.testing.assert_close(penalties[0], penalties[-1], rtol=1e-5, atol=0)


def test_a_dead_decoder_has_no_trace_and_finite_gradients() -> None:
    decoder = nn.Linear(LATENTS, 5)
    nn.init.zeros_(decoder.weight)
    for trace in (Trace(), Trace(Signs(2))):
        _, value = trace.penalty(
            Linearised(decoder, torch.randn(2, LATENTS), torch.randn(2, 5), Gaussian()), Full(), BETA
        )
        assert torch.equal(value, torch.zeros(2))
        assert torch.equal(torch.autograd.grad(value.sum(), decoder.weight)[0], torch.zeros(5, LATENTS))


@pytest.mark.parametrize("likelihood", [Gaussian(0.5), BernoulliLogits()], ids=repr)
@pytest.mark.parametrize("probes", [Signs(2), Sphere(2)], ids=repr)
def test_steps_are_what_they_say(probes: Probes, likelihood: Likelihood, seed: int) -> None:
    """By hand along the same probes, value and gradients; of all data and of some."""
    decoder, z, x = _problem()
    step = 0.3
    v = probes.draw(z, torch.Generator().manual_seed(seed))
    eta = decoder(z)
    moved = torch.stack([decoder(z + step * v[..., k]) - eta for k in range(2)], -1) / step
    expected = likelihood.whiten(eta, x, moved).square().flatten(1, -2).sum(1).mean(-1) / BETA
    at = Linearised(decoder, z, x, likelihood)
    trace = Trace(probes, step=step)
    found = trace.estimate(at, Full(), BETA, torch.Generator().manual_seed(seed))
    torch.testing.assert_close((found.eta, found.value), (eta, expected))
    torch.testing.assert_close(_gradients(found.value, decoder, z), _gradients(expected, decoder, z))
    torch.testing.assert_close(trace.of(at, torch.Generator().manual_seed(seed))[1], BETA * expected)
    value = Fraction(trace, 1.0).penalty(at, Full(), BETA, torch.Generator().manual_seed(seed))[1]
    third = Fraction(trace, 1 / 3).penalty(at, Full(), BETA)[1]
    assert int((third != 0).sum()) == 1
    assert value.shape == (BATCH,)


def test_the_bias_of_a_step_is_of_second_order(seed: int) -> None:
    """Of g(z) = z³ in one latent, whose derivatives are known: both signs, each once."""
    z, s = torch.full((64, 1), 0.7), 0.01
    at = Linearised(lambda p: p**3, z, z, Gaussian())
    value = Trace(Signs(1), step=s).penalty(at, Full(), 1.0, torch.Generator().manual_seed(seed))[1]
    assert len(value.unique()) == 2
    first, second, third = 3 * 0.7**2, 6 * 0.7, 6.0
    expected = first**2 + s**2 * (second**2 / 4 + first * third / 3)
    assert value.unique().mean().item() == pytest.approx(expected, abs=1e-6)


def test_a_step_needs_probes_as_likely_as_their_opposites() -> None:
    for probes in (None, Coordinates(2)):
        with pytest.raises(InputError, match=rf"^a step needs probes Signs.*got {re.escape(repr(probes))}; single"):
            Trace(probes, step=0.1)
    with pytest.raises(InputError, match=r"^step is 0.0; expected a finite number > 0"):
        Trace(Signs(1), step=0.0)
    with pytest.raises(InputError, match="no name in a run"):
        estimator_name(Trace(Signs(1), step=0.1))


def test_bad_input() -> None:
    for chunk_size in (0, -1):
        with pytest.raises(InputError, match="chunk_size is"):
            Trace(chunk_size=chunk_size)
    decoder, z, x = _problem()
    with pytest.raises(InputError, match="beta is"):
        Trace().penalty(Linearised(decoder, z, x, Gaussian()), Full(), -1.0)


def test_it_says_where_the_first_order_is_none(seed: int) -> None:
    """‖M‖ ≫ β: the trace is many times the penalty that it stands for."""
    decoder, z, x = _problem()
    exact = Exact().penalty(Linearised(decoder, z, x, Gaussian()), Full(), 1e-6)[1].mean().item()
    trace = Trace()
    with pytest.warns(UserWarning, match=r"^Trace is the penalty to first order.* at least (.*) times") as told:
        value = trace.penalty(Linearised(decoder, z, x, Gaussian()), Full(), 1e-6)[1].mean().item()
    least = float(re.search("at least (.*) times", str(told[0].message))[1])
    assert 10 < least < value / exact
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trace.penalty(Linearised(decoder, z, x, Gaussian()), Full(), 1e3)
        RAE(0.2, trace=trace)(Autoencoder(nn.Linear(6, 4), nn.Linear(4, 6), 4), 1e3 * torch.randn(3, 6))
        vmap(
            lambda scale: Trace().penalty(Linearised(lambda p: scale * decoder(p), z, x, Gaussian()), Full(), 1e-6)[1]
        )(z[:, 0])
