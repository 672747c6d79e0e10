"""Equation (7)."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

from curvae import Autoencoder
from curvae.errors import InputError
from curvae.likelihoods import BernoulliLogits, Categorical, Gaussian, Likelihood, Poisson
from curvae.nn import MLPDecoder
from curvae.objectives import Taylor
from curvae.posteriors import BlockDiagonal, Diagonal, Full, Structure

pytestmark = pytest.mark.usefixtures("float64")


@pytest.mark.covering
@pytest.mark.parametrize("structure", [Diagonal(), BlockDiagonal(2), Full()], ids=str)
@pytest.mark.parametrize("likelihood", [Gaussian(0.5), BernoulliLogits(), Poisson(), Categorical()], ids=repr)
@pytest.mark.parametrize("chunk_size", [None, 2])
def test_value_and_gradients(
    structure: Structure, likelihood: Likelihood, chunk_size: int | None, dense_curvature: Any, fixed: Any, seed: int
) -> None:
    latents, batch, beta = 3, 4, 0.3
    decoder = MLPDecoder(latents, (3, 2), hidden=(8,))
    x = torch.randint(2, (batch, 2) if isinstance(likelihood, Categorical) else (batch, 3, 2)).double()
    mean = torch.randn(batch, latents, requires_grad=True)
    parameters = (0.5 * torch.randn(batch, structure.num_parameters(latents))).requires_grad_()
    model = fixed(decoder, mean, structure.factor(parameters, latents))
    terms = Taylor(beta, likelihood, chunk_size=chunk_size)(model, x)
    dense = structure.factor(parameters, latents).dense()
    curvature, covariance = dense_curvature(decoder, mean, x, likelihood), dense @ dense.mT
    expected = {
        "nll": likelihood.nll(decoder(mean), x),
        "curvature": 0.5 * torch.einsum("bij,bji->b", curvature, covariance),
        "kl": beta / 2 * (mean.square().sum(1) + torch.einsum("bii->b", covariance) - covariance.logdet() - latents),
    }
    torch.testing.assert_close(dict(terms.parts), expected)
    wrt = (mean, parameters, *decoder.parameters())
    torch.testing.assert_close(
        torch.autograd.grad(terms.total.sum(), wrt), torch.autograd.grad(sum(expected.values()).sum(), wrt)
    )


@pytest.mark.usefixtures("as_shipped")
def test_bad_input() -> None:
    for beta in (-0.1, math.nan, math.inf, "0.2", None):
        with pytest.raises(InputError, match="beta is"):
            Taylor(beta)
    for chunk_size in (0, -1, 1.5, "2"):
        with pytest.raises(InputError, match="chunk_size is"):
            Taylor(0.1, chunk_size=chunk_size)
    for curvature in ("newton", "", None, 3):
        with pytest.raises(InputError, match="curvature is"):
            Taylor(0.1, curvature=curvature)
    model = Autoencoder(nn.Linear(6, 3), nn.Linear(3, 6), latents=3)
    with pytest.raises(InputError, match="deterministic"):
        Taylor(beta=0.1)(model, torch.randn(2, 6))
