"""What separates (7) from (13), and when nothing does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from curvae.curvature import gauss_newton
from curvae.likelihoods import BernoulliLogits, Gaussian, Likelihood, Poisson
from curvae.nn import MLPDecoder
from curvae.objectives import GRAE, Taylor
from curvae.posteriors import BlockDiagonal, Diagonal, Factor, Full, Normal, Structure

pytestmark = pytest.mark.usefixtures("float64")

BATCH, LATENTS, BETA = 5, 4, 0.3


@dataclass(frozen=True)
class Given:
    """A decoder with codes and covariances from outside."""

    decode: Callable[[Tensor], Tensor]
    mean: Tensor
    factor: Factor

    def posterior(self, x: Tensor) -> Normal:
        return Normal(self.mean, self.factor)

    def encode(self, x: Tensor) -> Tensor:
        return self.mean


@pytest.fixture(params=[Diagonal(), BlockDiagonal(2), BlockDiagonal(3), Full()], ids=str)
def structure(request: pytest.FixtureRequest) -> Structure:
    return request.param


@pytest.fixture(params=[Gaussian(), BernoulliLogits(), Poisson()], ids=repr)
def likelihood(request: pytest.FixtureRequest) -> Likelihood:
    return request.param


def _gap(given: Any, x: Tensor, likelihood: Likelihood, structure: Structure) -> Tensor:
    return Taylor(BETA, likelihood)(given, x).total - GRAE(BETA, likelihood, structure)(given, x).total


@pytest.mark.covering
def test_gap_of_any_posterior(structure: Structure, likelihood: Likelihood, seed: int) -> None:
    """β/2 [tr((I + M/β) Σ) − log|(I + M/β) Σ| − d] ≥ 0, with M's entries inside the structure only."""
    decoder, x = MLPDecoder(LATENTS, (6,), hidden=(8,)), torch.randint(2, (BATCH, 6)).double()
    factor = structure.factor(torch.randn(BATCH, structure.num_parameters(LATENTS)), LATENTS)
    given = Given(decoder, torch.randn(BATCH, LATENTS), factor)
    size = structure.size if isinstance(structure, BlockDiagonal) else 1 if isinstance(structure, Diagonal) else LATENTS
    block = torch.arange(LATENTS) // size
    curvature = gauss_newton(decoder, given.mean, x, likelihood) * (block[:, None] == block)
    product = (torch.eye(LATENTS) + curvature / BETA) @ factor.covariance()
    formula = BETA / 2 * (torch.einsum("bii->b", product) - torch.linalg.slogdet(product).logabsdet - LATENTS)
    gap = _gap(given, x, likelihood, structure)
    torch.testing.assert_close(gap, formula)
    assert (gap > 1e-3).all()


@pytest.mark.covering
def test_no_gap_at_the_optimum_and_only_there(structure: Structure, likelihood: Likelihood, seed: int) -> None:
    decoder, x = MLPDecoder(LATENTS, (6,), hidden=(8,)), torch.randint(2, (BATCH, 6)).double()
    mean = torch.randn(BATCH, LATENTS)
    optimal = structure.optimal(gauss_newton(decoder, mean, x, likelihood), BETA)
    gap = _gap(Given(decoder, mean, optimal), x, likelihood, structure)
    torch.testing.assert_close(gap, torch.zeros(BATCH), rtol=0, atol=1e-12)
    scaled = Full().factor(torch.zeros(BATCH, 10), LATENTS)
    object.__setattr__(scaled, "blocks", 1.05 * optimal.dense()[:, None])
    assert (_gap(Given(decoder, mean, scaled), x, likelihood, structure) > 1e-4).all()


def test_linear_decoders_agree(structure: Structure, seed: int) -> None:
    """For a linear decoder (7) is (2)'s expectation; at the optimal posterior it is (13), or its like."""
    decoder, x = nn.Linear(LATENTS, 6), torch.randn(BATCH, 6)
    mean = torch.randn(BATCH, LATENTS)
    curvature = (decoder.weight.T @ decoder.weight).expand(BATCH, -1, -1)
    given = Given(decoder, mean, structure.optimal(curvature, BETA))
    taylor, grae = Taylor(BETA)(given, x).total, GRAE(BETA, structure=structure)(given, x).total
    torch.testing.assert_close(taylor, grae)
    # E‖x − Az − b‖² = ‖x − Ah − b‖² + tr(A Σ Aᵀ), by hand
    covariance = given.factor.covariance()
    spread = torch.einsum("ij,bjk,ik->b", decoder.weight, covariance, decoder.weight)
    expectation = 0.5 * ((x - decoder(mean)) ** 2).sum(1) + 0.5 * spread + BETA * Normal(mean, given.factor).kl()
    torch.testing.assert_close(taylor, expectation)
