"""The regularised autoencoder with a Jacobian norm, in its correct form."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.func import jacrev, vmap

from curvae import Autoencoder
from curvae.curvature import Signs, Trace
from curvae.errors import InputError
from curvae.likelihoods import BernoulliLogits, Gaussian
from curvae.nn import MLPDecoder
from curvae.objectives import GRAE, RAE

pytestmark = pytest.mark.usefixtures("float64")


def _model() -> Autoencoder:
    return Autoencoder(nn.Sequential(nn.Flatten(), nn.Linear(6, 4)), MLPDecoder(4, (2, 3), hidden=(7,)), latents=4)


def test_terms(seed: int) -> None:
    model, x = _model(), torch.rand(3, 2, 3)
    terms = RAE(0.3, 0.7)(model, x)
    h = model.encode(x)
    jacobians = vmap(jacrev(lambda point: model.decode(point[None])[0]))(h)
    expected = {
        "nll": 0.5 * (x - model.decode(h)).square().flatten(1).sum(1),
        "prior": 0.15 * h.square().sum(1),
        "penalty": 0.35 * jacobians.square().flatten(1).sum(1),
    }
    assert list(terms.parts) == list(expected)
    for name, value in expected.items():
        torch.testing.assert_close(terms[name], value)
    torch.testing.assert_close(
        torch.autograd.grad(terms.total.sum(), list(model.parameters())),
        torch.autograd.grad(sum(expected.values()).sum(), list(model.parameters())),
    )


@pytest.mark.parametrize("likelihood", [Gaussian(0.5), BernoulliLogits()], ids=repr)
def test_it_is_the_grae_of_large_beta(likelihood: Gaussian | BernoulliLogits, seed: int) -> None:
    model, x = _model(), torch.rand(3, 2, 3)
    first, whole = RAE(1e7, likelihood=likelihood)(model, x), GRAE(1e7, likelihood)(model, x)
    for name in ("nll", "prior", "penalty"):
        torch.testing.assert_close(first[name], whole[name], rtol=1e-5, atol=1e-9)
    other = GRAE(0.2, likelihood, estimator=Trace())(model, x)
    torch.testing.assert_close(other["penalty"], first["penalty"])


def test_it_is_not_the_gradient_of_the_summed_output() -> None:
    """Rows of J that cancel in the sum still cost."""
    decoder = nn.Linear(1, 2)
    with torch.no_grad():
        decoder.weight.copy_(torch.tensor([[3.0], [-3.0]]))
    model = Autoencoder(nn.Linear(2, 1), decoder, latents=1)
    torch.testing.assert_close(RAE(0.0)(model, torch.zeros(1, 2))["penalty"], torch.tensor([9.0]))


def test_sampled_trace_is_reproducible(seed: int) -> None:
    model, x = _model(), torch.rand(3, 2, 3)
    objective = RAE(0.1, trace=Trace(Signs(1)))
    runs = [objective(model, x, torch.Generator().manual_seed(s))["penalty"] for s in (seed, seed, 99)]
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])


def test_bad_weights() -> None:
    for weight in (-0.1, math.nan, math.inf):
        with pytest.raises(InputError, match="encoder_weight is"):
            RAE(weight)
        with pytest.raises(InputError, match="decoder_weight is"):
            RAE(0.1, weight)
