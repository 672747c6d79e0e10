"""A penalty on part of the batch: unbiased for every sample, with the statistics of the whole batch."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from curvae import Autoencoder, objectives
from curvae.curvature import Columns, Estimator, Exact, Fraction, Lanczos, Linearised
from curvae.errors import InputError
from curvae.likelihoods import BernoulliLogits, Gaussian, Likelihood
from curvae.nn import MLPEncoder, MNISTDecoder
from curvae.posteriors import BlockDiagonal, Diagonal, Full, Shared, Structure

pytestmark = pytest.mark.usefixtures("float64")

BATCH, LATENTS, BETA = 4, 3, 0.3


def _problem() -> tuple[MNISTDecoder, Tensor, Tensor]:
    decoder = MNISTDecoder(LATENTS, 1 / 64).train()
    return decoder, torch.randn(BATCH, LATENTS, requires_grad=True), torch.rand(BATCH, 1, 28, 28)


@pytest.mark.covering
@pytest.mark.parametrize("likelihood", [Gaussian(0.5), BernoulliLogits()], ids=repr)
@pytest.mark.parametrize("structure", [Diagonal(), BlockDiagonal(2), Full()], ids=str)
def test_the_mean_over_every_choice_is_the_exact_penalty(
    structure: Structure, likelihood: Likelihood, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoder, z, x = _problem()
    eta, exact = Exact().penalty(Linearised(decoder, z, x, likelihood), structure, BETA)
    half, mean = Fraction(Exact(), 0.5), torch.zeros(BATCH)
    pairs = list(itertools.combinations(range(BATCH), 2))
    orders = [(*pair, *(set(range(BATCH)) - set(pair))) for pair in pairs]
    for order in orders:
        with monkeypatch.context() as patch:
            patch.setattr(torch, "randperm", lambda *_, order=order, **__: torch.tensor(order))
            got = half.estimate(Linearised(decoder, z, x, likelihood), structure, BETA)
        torch.testing.assert_close(got.eta, eta)
        assert got.standard_error is None
        assert int((got.value == 0).sum()) == BATCH // 2
        mean = mean + got.value / len(orders)
    torch.testing.assert_close(mean, exact)
    wrt = (z, *decoder.parameters())
    torch.testing.assert_close(torch.autograd.grad(mean.sum(), wrt), torch.autograd.grad(exact.sum(), wrt))


def test_the_whole_batch_is_the_inner_estimator(seed: int) -> None:
    decoder, z, x = _problem()
    got = Fraction(Exact(), 1.0).penalty(Linearised(decoder, z, x, Gaussian()), Full(), BETA)
    torch.testing.assert_close(got, Exact().penalty(Linearised(decoder, z, x, Gaussian()), Full(), BETA))


@pytest.mark.cases(1)
@pytest.mark.parametrize("estimator", [Exact(), Columns(3)], ids=repr)
def test_orthogonality_is_of_the_same_part(estimator: Estimator, seed: int) -> None:
    decoder, _, x = _problem()
    model = Autoencoder(MLPEncoder((1, 28, 28), hidden=(5,)), decoder, LATENTS)
    objective = objectives.GRAE(BETA, structure=Diagonal(), estimator=Fraction(estimator, 0.5), orthogonality=1.0)
    parts = objective(model, x, torch.Generator().manual_seed(seed)).parts
    assert parts["orthogonality"][parts["penalty"] == 0].abs().max() == 0
    assert int((parts["penalty"] > 0).sum()) == BATCH // 2
    if isinstance(estimator, Exact):
        whole = objectives.GRAE(BETA, structure=Diagonal(), orthogonality=1.0)(model, x).parts
        for name in ("penalty", "orthogonality"):
            chosen = parts[name] > 0
            torch.testing.assert_close(parts[name][chosen], 2 * whole[name][chosen])


def test_bad_input() -> None:
    with pytest.raises(InputError, match="0 < fraction <= 1"):
        Fraction(Columns(1), 1.5)
    with pytest.raises(InputError, match="fraction"):
        Fraction(Columns(1), 0.0)
    with pytest.raises(InputError, match="Columns, Exact, Secants and Trace; got Lanczos"):
        Fraction(Lanczos(), 0.5)
    with pytest.raises(InputError, match="use Exact"):
        objectives.GRAE(BETA, structure=Full(), estimator=Fraction(Columns(1), 0.5))
    for inner in (Exact(), Columns(1)):
        with pytest.raises(InputError):
            objectives.GRAE(BETA, structure=Shared(Diagonal()), estimator=Fraction(inner, 0.5))
    with pytest.raises(InputError, match="not a mean over its samples"):
        objectives.GRAE(BETA, structure=Shared(Diagonal()), estimator=Fraction(Exact(), 0.5))
    with pytest.raises(InputError, match="pairs of Jacobian columns"):
        objectives.GRAE(BETA, structure=Diagonal(), estimator=Fraction(Columns(1), 0.5), orthogonality=1.0)
