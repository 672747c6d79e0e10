"""The penalty of every structure from decoders, exactly and from sampled columns."""

from __future__ import annotations

import itertools
import math

import pytest
import scipy.stats
import torch
from torch import Tensor, nn

from curvae.curvature import Columns, Exact, Linearised, gauss_newton
from curvae.errors import InputError
from curvae.likelihoods import BernoulliLogits, Categorical, Gaussian, Likelihood, Poisson
from curvae.nn import MLPDecoder
from curvae.posteriors import BlockDiagonal, Diagonal, Full, Shared, Structure

pytestmark = pytest.mark.usefixtures("float64")

BATCH, LATENTS, BETA = 3, 4, 0.3
UNEVEN = [0.1, 0.6, 0.05, 0.25]


def _problem(likelihood: Likelihood) -> tuple[nn.Module, Tensor, Tensor]:
    shape = (2, 3) if not isinstance(likelihood, Categorical) else (3, 2)
    decoder, z = MLPDecoder(LATENTS, shape, hidden=(7,)), torch.randn(BATCH, LATENTS, requires_grad=True)
    x = torch.randint(2, (BATCH, 2) if isinstance(likelihood, Categorical) else (BATCH, *shape)).double()
    return decoder, z, x


@pytest.mark.covering
@pytest.mark.parametrize("chunk_size", [None, 3])
@pytest.mark.parametrize("structure", [Diagonal(), BlockDiagonal(3), Full()], ids=str)
@pytest.mark.parametrize("likelihood", [Gaussian(0.5), BernoulliLogits(), Poisson(), Categorical()], ids=repr)
def test_exact(likelihood: Likelihood, structure: Structure, chunk_size: int | None, seed: int) -> None:
    decoder, z, x = _problem(likelihood)
    eta, got = Exact(chunk_size).penalty(Linearised(decoder, z, x, likelihood), structure, BETA)
    size = {"Diagonal()": 1, "Full()": LATENTS}.get(str(structure)) or structure.size
    block = torch.arange(LATENTS) // size
    curvature = gauss_newton(decoder, z, x, likelihood) * (block[:, None] == block)
    expected = torch.linalg.slogdet(torch.eye(LATENTS) + curvature / BETA).logabsdet
    torch.testing.assert_close(eta, decoder(z))
    torch.testing.assert_close(got, expected)
    wrt = (z, *decoder.parameters())
    torch.testing.assert_close(
        torch.autograd.grad(got.sum(), wrt, materialize_grads=True),
        torch.autograd.grad(expected.sum(), wrt, materialize_grads=True),
    )


class _Chosen(Columns):
    """Columns whose draw the test makes."""

    def __init__(self, chosen: tuple[int, ...], probabilities: list[float] | None) -> None:
        super().__init__(len(chosen), probabilities)
        self.chosen = torch.tensor(chosen)

    def draw(self, z: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return self.chosen.expand(len(z), -1)


@pytest.mark.covering
@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("probabilities", [None, UNEVEN], ids=["uniform", "uneven"])
@pytest.mark.parametrize("structure", [Diagonal(), BlockDiagonal(2), BlockDiagonal(3)], ids=str)
@pytest.mark.parametrize("likelihood", [Gaussian(), BernoulliLogits(), Categorical()], ids=repr)
def test_columns_are_unbiased(
    likelihood: Likelihood, structure: Structure, probabilities: list[float] | None, count: int, seed: int
) -> None:
    """The expectation over every draw that can happen is the structure's penalty, and so is its gradient."""
    decoder, z, x = _problem(likelihood)
    p = probabilities or [1 / LATENTS] * LATENTS
    expectation = torch.zeros(BATCH)
    for chosen in itertools.product(range(LATENTS), repeat=count):
        _, one = _Chosen(chosen, probabilities).penalty(Linearised(decoder, z, x, likelihood), structure, BETA)
        expectation = expectation + math.prod(p[c] for c in chosen) * one
    _, exact = Exact().penalty(Linearised(decoder, z, x, likelihood), structure, BETA)
    torch.testing.assert_close(expectation, exact)
    wrt = (z, *decoder.parameters())
    torch.testing.assert_close(
        torch.autograd.grad(expectation.sum(), wrt, materialize_grads=True),
        torch.autograd.grad(exact.sum(), wrt, materialize_grads=True),
    )


@pytest.mark.parametrize("probabilities", [None, UNEVEN, [2.0, 12.0, 1.0, 5.0]], ids=["uniform", "uneven", "weights"])
def test_columns_are_drawn_from_their_distribution(probabilities: list[float] | None, seed: int) -> None:
    columns = Columns(5, probabilities)
    drawn = columns.draw(torch.zeros(4000, LATENTS), torch.Generator().manual_seed(seed))
    assert drawn.shape == (4000, 5)
    counts = torch.bincount(drawn.flatten(), minlength=LATENTS)
    expected = torch.tensor(UNEVEN if probabilities else [0.25] * LATENTS) * 20_000
    assert scipy.stats.chisquare(counts.numpy(), expected.numpy()).pvalue > 1e-4
    # draws for one sample are independent, and so are those of two data
    for a, b in ((drawn[:, 0], drawn[:, 1]), (drawn[:-1, 0], drawn[1:, 0])):
        table = torch.bincount(a * LATENTS + b, minlength=LATENTS**2).reshape(LATENTS, LATENTS)
        assert scipy.stats.chi2_contingency(table.numpy()).pvalue > 1e-4


def test_sampled_penalty_averages_to_the_exact_one(seed: int) -> None:
    decoder, z, x = _problem(Gaussian())
    draws = 5000
    repeated, data = z[:1].detach().expand(draws, -1), x[:1].expand(draws, -1, -1)
    before = torch.random.get_rng_state()
    runs = [
        Columns(1, UNEVEN).penalty(
            Linearised(decoder, repeated, data, Gaussian()), Diagonal(), BETA, torch.Generator().manual_seed(s)
        )[1]
        for s in (seed, seed, 77)
    ]
    assert torch.equal(before, torch.random.get_rng_state())
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])
    _, exact = Exact().penalty(Linearised(decoder, z[:1], x[:1], Gaussian()), Diagonal(), BETA)
    assert abs(runs[0].mean() - exact.item()) < 5 * runs[0].std() / draws**0.5


def test_dead_latents_cost_nothing_and_keep_gradients_finite(seed: int) -> None:
    """A column of zeros is where a norm has no derivative."""
    decoder = nn.Linear(LATENTS, 5)
    with torch.no_grad():
        decoder.weight[:, 1] = 0
    z, x = torch.randn(BATCH, LATENTS, requires_grad=True), torch.randn(BATCH, 5)
    for structure in (Diagonal(), BlockDiagonal(2), Full()):
        _, penalty = Exact().penalty(Linearised(decoder, z, x, Gaussian()), structure, BETA)
        (gradient,) = torch.autograd.grad(penalty.sum(), decoder.weight)
        assert gradient.isfinite().all()
        assert (gradient[:, 1].abs() < 1e-12).all()
    _, penalty = _Chosen((1,), None).penalty(Linearised(decoder, z, x, Gaussian()), Diagonal(), BETA)
    assert torch.equal(penalty, torch.zeros(BATCH))
    assert torch.equal(torch.autograd.grad(penalty.sum(), decoder.weight)[0], torch.zeros(5, LATENTS))


@pytest.mark.parametrize("outputs", [1, 2, 30])
def test_fewer_outputs_than_latents(outputs: int, seed: int) -> None:
    decoder, z = nn.Linear(LATENTS, outputs), torch.randn(BATCH, LATENTS)
    x = torch.randn(BATCH, outputs)
    expected = torch.linalg.slogdet(torch.eye(outputs) + decoder.weight @ decoder.weight.T / BETA).logabsdet
    torch.testing.assert_close(
        Exact().penalty(Linearised(decoder, z, x, Gaussian()), Full(), BETA)[1], expected.expand(BATCH).detach()
    )


@pytest.mark.parametrize("beta", [1e-8, 1e-4, 1.0])
def test_a_badly_conditioned_decoder_in_single_precision(beta: float, seed: int) -> None:
    """cond(J) = 1e5 in float32: its Gram matrix there has lost the small singular values, its float64 one has not."""
    left, right = (torch.linalg.qr(torch.randn(n, 6))[0] for n in (20, 6))
    decoder = nn.Linear(6, 20).float()
    with torch.no_grad():
        decoder.weight.copy_((left * torch.logspace(-5, 0, 6)) @ right.T)
    singular = torch.linalg.svdvals(decoder.weight.double())
    expected = (singular**2 / beta).log1p().sum().float()
    z, x = torch.randn(2, 6).float(), torch.randn(2, 20).float()
    _, got = Exact().penalty(Linearised(decoder, z, x, Gaussian()), Full(), beta)
    torch.testing.assert_close(got, expected.expand(2).detach(), rtol=1e-4, atol=1e-7)


def test_bad_input() -> None:
    z, x = torch.zeros(2, LATENTS), torch.zeros(2, LATENTS)
    for structure in (Full(), Shared(Diagonal())):
        with pytest.raises(InputError, match=r"^Columns estimates the penalty .*; got .*use Exact.*structure=Diagonal"):
            Columns(1).penalty(Linearised(nn.Identity(), z, x, Gaussian()), structure, BETA)
        with pytest.raises(InputError, match="Columns estimates"):
            Columns(1).check(structure)
    for count in (0, -2):
        with pytest.raises(InputError, match="number of columns is"):
            Columns(count)
    for probabilities in ([], [0.5, 0.0], [0.5, -0.5], [math.nan, 1.0], [math.inf, 1.0]):
        with pytest.raises(InputError, match="column probabilities must be"):
            Columns(1, probabilities)
    for probabilities in ([0.5, 0.5], [0.2] * 5):
        with pytest.raises(InputError, match=r"Columns has \d probabilities but there are 4 latents"):
            Columns(1, probabilities).penalty(Linearised(nn.Identity(), z, x, Gaussian()), Diagonal(), BETA)
    for chunk_size in (0, -1):
        with pytest.raises(InputError, match="chunk_size is"):
            Exact(chunk_size)
    for beta in (0.0, -1.0, math.nan, math.inf):
        for estimator in (Exact(), Columns(1)):
            with pytest.raises(InputError, match="beta is"):
                estimator.penalty(Linearised(nn.Identity(), z, x, Gaussian()), Diagonal(), beta)


@pytest.mark.usefixtures("as_shipped")
def test_arguments_of_the_wrong_kind() -> None:
    for probabilities in ("uniform", ["a", "b"], 1.0, [[0.5, 0.5]], {}):
        with pytest.raises(InputError, match="column probabilities must be"):
            Columns(1, probabilities)
    for count in (1.5, "1", None, True):
        with pytest.raises(InputError, match="number of columns is"):
            Columns(count)
