"""Products with the curvature against the curvature."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from curvae.curvature import Linearised, Operator, gauss_newton
from curvae.likelihoods import BernoulliLogits, Categorical, Gaussian, Likelihood, Poisson
from curvae.nn import MLPDecoder

pytestmark = pytest.mark.usefixtures("float64")

BATCH, LATENTS = 3, 4


@pytest.mark.parametrize("likelihood", [Gaussian(0.5), BernoulliLogits(), Poisson(), Categorical()], ids=repr)
def test_products(likelihood: Likelihood, seed: int) -> None:
    shape = (2, 3) if not isinstance(likelihood, Categorical) else (3, 2)
    decoder, z = MLPDecoder(LATENTS, shape, hidden=(7,)), torch.randn(BATCH, LATENTS, requires_grad=True)
    x = torch.randint(2, (BATCH, 2) if isinstance(likelihood, Categorical) else (BATCH, *shape)).double()
    tangents = torch.randn(BATCH, LATENTS, 5)
    operator = Operator(decoder, z, x, likelihood)
    product = operator(tangents)
    torch.testing.assert_close(product, (gauss_newton(decoder, z, x, likelihood) @ tangents).detach())
    assert not product.requires_grad
    eta, pushed = Linearised(decoder, z, x, likelihood).push(tangents)
    torch.testing.assert_close(operator.eta, eta)
    root = operator.root(tangents)
    torch.testing.assert_close(root, pushed)
    wrt = (z, *decoder.parameters())
    torch.testing.assert_close(
        torch.autograd.grad(root.sin().sum(), wrt, materialize_grads=True),
        torch.autograd.grad(pushed.sin().sum(), wrt, materialize_grads=True),
    )


def test_train_mode_and_autocast(seed: int) -> None:
    decoder = nn.Sequential(nn.Linear(LATENTS, 9), nn.BatchNorm1d(9), nn.ELU(), nn.Linear(9, 6)).float()
    z, x, tangents = torch.randn(BATCH, LATENTS).float(), torch.zeros(BATCH, 6), torch.randn(BATCH, LATENTS, 2).float()
    plain = Operator(decoder, z, x, Gaussian())
    running = decoder[1].running_mean.clone()
    expected = plain(tangents)
    assert torch.equal(decoder[1].running_mean, running)
    assert decoder[1].num_batches_tracked == 1
    with torch.autocast("cpu", dtype=torch.bfloat16):
        product = plain(tangents)
        cast = Operator(decoder, z, x, Gaussian())
    torch.testing.assert_close(product, expected, rtol=1e-5, atol=1e-6)
    assert cast.eta.dtype == torch.float32
    torch.testing.assert_close(cast.eta, plain.eta, rtol=0.05, atol=0.05)
