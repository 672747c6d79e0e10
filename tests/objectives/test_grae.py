"""Equations (12), (13) and (14)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import jacrev

from curvae import Autoencoder
from curvae.curvature import Columns, Exact
from curvae.errors import InputError
from curvae.likelihoods import Bernoulli, BernoulliLogits, Categorical, Gaussian, Likelihood, Poisson
from curvae.nn import MLPDecoder, MLPEncoder
from curvae.objectives import GRAE, RAE
from curvae.posteriors import BlockDiagonal, Diagonal, Full, Structure

pytestmark = pytest.mark.usefixtures("float64")

LIKELIHOODS = [Gaussian(), Gaussian(0.3), Bernoulli(), BernoulliLogits(), Poisson(), Categorical()]


@pytest.mark.covering
@pytest.mark.parametrize("structure", [Diagonal(), BlockDiagonal(2), Full()], ids=str)
@pytest.mark.parametrize("likelihood", LIKELIHOODS, ids=repr)
def test_value_and_gradients(
    structure: Structure, likelihood: Likelihood, dense_curvature: Any, within: Any, seed: int
) -> None:
    latents, batch, beta = 3, 4, 0.3
    output = nn.Sigmoid() if isinstance(likelihood, Bernoulli) else None
    shape = (batch, 2) if isinstance(likelihood, Categorical) else (batch, 3, 2)
    model = Autoencoder(
        MLPEncoder(shape[1:], hidden=(8,)), MLPDecoder(latents, (3, 2), hidden=(8,), output=output), latents=latents
    )
    x = torch.randint(2, shape).double()
    terms = GRAE(beta, likelihood, structure)(model, x)
    h = model.encode(x)
    curvature = within(structure, dense_curvature(model.decoder, h, x, likelihood))
    expected = {
        "nll": likelihood.nll(model.decoder(h), x),
        "prior": beta / 2 * (h**2).sum(1),
        "penalty": beta / 2 * torch.linalg.slogdet(torch.eye(latents) + curvature / beta).logabsdet,
    }
    torch.testing.assert_close(dict(terms.parts), expected)
    wrt = list(model.parameters())
    torch.testing.assert_close(
        torch.autograd.grad(terms.total.sum(), wrt), torch.autograd.grad(sum(expected.values()).sum(), wrt)
    )


def test_13_as_it_is_printed(seed: int) -> None:
    """½‖x − g(h)‖² + β/2 ‖h‖² + β/2 log|I + JᵀJ/β|, with nothing of the library in it."""
    encoder, decoder, beta = nn.Linear(5, 3), MLPDecoder(3, (5,), hidden=(8,)), 0.2
    x = torch.randn(4, 5)
    h = encoder(x)
    jacobian = torch.stack([jacrev(lambda p: decoder(p[None])[0])(code) for code in h])
    determinant = torch.linalg.det(torch.eye(3) + jacobian.mT @ jacobian / beta)
    expected = 0.5 * ((x - decoder(h)) ** 2).sum(1) + beta / 2 * (h**2).sum(1) + beta / 2 * determinant.log()
    torch.testing.assert_close(GRAE(beta)(Autoencoder(encoder, decoder, latents=3), x).total, expected)


def test_weights_scale_their_part_and_nothing_else(seed: int) -> None:
    model = Autoencoder(nn.Linear(5, 3), MLPDecoder(3, (5,), hidden=(8,)), latents=3)
    x, beta = torch.randn(4, 5), 0.2
    plain = GRAE(beta)(model, x)
    for encoder_weight, decoder_weight in ((0.7, None), (None, 1.3), (0.0, 0.0), (2.0, 3.0)):
        terms = GRAE(beta, encoder_weight=encoder_weight, decoder_weight=decoder_weight)(model, x)
        torch.testing.assert_close(terms["nll"], plain["nll"])
        torch.testing.assert_close(
            terms["prior"], plain["prior"] * (beta if encoder_weight is None else encoder_weight) / beta
        )
        torch.testing.assert_close(
            terms["penalty"], plain["penalty"] * (beta if decoder_weight is None else decoder_weight) / beta
        )


@pytest.mark.parametrize("objective", [GRAE(0.3, decoder_weight=0.0), RAE(0.3, 0.0)], ids=["GRAE", "RAE"])
def test_without_a_penalty_the_decoder_is_only_called(objective: GRAE | RAE) -> None:
    class NoForwardMode(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, z: torch.Tensor) -> torch.Tensor:
            return 2 * z

        @staticmethod
        def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
            return 2 * gradient

    calls = []

    class Decoder(nn.Module):
        def forward(self, z: torch.Tensor) -> torch.Tensor:
            calls.append(z)
            return NoForwardMode.apply(z)

    model, x = Autoencoder(nn.Linear(2, 2), Decoder(), latents=2), torch.randn(4, 2)
    terms = objective(model, x)
    h = model.encode(x)
    torch.testing.assert_close(terms.total, (x - 2 * h).square().sum(1) / 2 + 0.15 * h.square().sum(1))
    assert len(calls) == 1
    assert terms.parts["penalty"].tolist() == [0] * 4


def test_small_curvature_is_the_first_order_penalty(seed: int) -> None:
    """β/2 log|I + JᵀJ/β| → ½‖J‖²: β cancels."""
    model = Autoencoder(nn.Linear(5, 3), nn.Linear(3, 5), latents=3)
    with torch.no_grad():
        model.decoder.weight.mul_(1e-4)
    expected = 0.5 * model.decoder.weight.square().sum()
    for beta in (0.5, 5.0):
        penalty = GRAE(beta)(model, torch.randn(2, 5))["penalty"]
        torch.testing.assert_close(penalty, expected.expand(2).detach(), rtol=1e-6, atol=0)


def test_structures_order_the_objective(seed: int) -> None:
    model = Autoencoder(nn.Linear(5, 4), MLPDecoder(4, (5,), hidden=(8,)), latents=4)
    x = torch.randn(6, 5)
    full, blocks, diagonal = (GRAE(0.2, structure=s)(model, x).total for s in (Full(), BlockDiagonal(2), Diagonal()))
    assert (full < blocks).all()
    assert (blocks < diagonal).all()


def test_sampled_columns_average_to_the_diagonal_objective(seed: int) -> None:
    draws = 5000
    model = Autoencoder(nn.Linear(5, 4), MLPDecoder(4, (5,), hidden=(8,)), latents=4)
    x = torch.randn(1, 5)
    exact = GRAE(0.2, structure=Diagonal())(model, x).total.item()
    approximate = GRAE(0.2, structure=Diagonal(), estimator=Columns(1))
    first, again, other = (
        approximate(model, x.expand(draws, -1), torch.Generator().manual_seed(s)).total for s in (seed, seed, 55)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert abs(first.mean() - exact) < 5 * first.std() / draws**0.5


def test_chunks_change_nothing(seed: int) -> None:
    model = Autoencoder(nn.Linear(5, 4), MLPDecoder(4, (5,), hidden=(8,)), latents=4)
    x = torch.randn(3, 5)
    values = [GRAE(0.2, estimator=Exact(c))(model, x).total for c in (None, 1, 3)]
    torch.testing.assert_close(values[1], values[0])
    torch.testing.assert_close(values[2], values[0])


@pytest.mark.usefixtures("as_shipped")
def test_a_tensor_is_told_from_the_number_that_it_shows() -> None:
    with pytest.raises(InputError, match=r"^beta is tensor\(0.2000\); expected .*, not a Tensor: give float"):
        GRAE(torch.tensor(0.2))
    with pytest.raises(InputError, match=r"> 0$"):
        GRAE(np.float64(-1))


@pytest.mark.parametrize("beta", [0, 0.0, -0.1, math.nan, math.inf, "0.2", None, True])
@pytest.mark.usefixtures("as_shipped")
def test_bad_beta(beta: object) -> None:
    with pytest.raises(InputError, match=r"beta is .*expected a finite number > 0"):
        GRAE(beta)


@pytest.mark.usefixtures("as_shipped")
def test_bad_arguments() -> None:
    for weight in (-0.1, math.nan, math.inf, "1"):
        with pytest.raises(InputError, match=r"encoder_weight is .*>= 0"):
            GRAE(0.1, encoder_weight=weight)
        with pytest.raises(InputError, match=r"decoder_weight is .*>= 0"):
            GRAE(0.1, decoder_weight=weight)
    for structure in (None, Full()):
        with pytest.raises(InputError, match=r"Columns estimates the penalty of Diagonal\(\), BlockDiagonal"):
            GRAE(0.1, structure=structure, estimator=Columns(1))
    model = Autoencoder(nn.Linear(6, 3), nn.Linear(3, 1), latents=3)
    with pytest.raises(InputError, match=r"\(2, 1\) but the data has \(2, 6\)"):
        GRAE(0.1)(model, torch.randn(2, 6))
