"""Which objectives see a rotation of the latents."""

from __future__ import annotations

import pytest
import scipy.stats
import torch
from torch import Tensor, nn

from curvae import Autoencoder
from curvae.curvature import gauss_newton
from curvae.likelihoods import BernoulliLogits, Gaussian, Likelihood
from curvae.nn import MLPDecoder
from curvae.objectives import GRAE
from curvae.posteriors import BlockDiagonal, Diagonal, Full, Structure

pytestmark = pytest.mark.usefixtures("float64")

LATENTS, BETA = 4, 0.3


def _values(structure: Structure, likelihood: Likelihood, rotation: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """The objective of a random model, and of the same model with encoder and decoder rotated against each other."""
    torch.manual_seed(seed)
    encoder, decoder = nn.Linear(6, LATENTS), MLPDecoder(LATENTS, (6,), hidden=(8,))
    x = torch.randint(2, (5, 6)).double()
    decoder.layers[0].weight.data.mul_(4)  # columns that are far from orthogonal and not short
    turn, back = nn.Linear(LATENTS, LATENTS, bias=False), nn.Linear(LATENTS, LATENTS, bias=False)
    with torch.no_grad():
        turn.weight.copy_(rotation)
        back.weight.copy_(rotation.T)
    plain = Autoencoder(encoder, decoder, latents=LATENTS)
    rotated = Autoencoder(nn.Sequential(encoder, turn), nn.Sequential(back, decoder), latents=LATENTS)
    torch.testing.assert_close(plain(x), rotated(x))
    objective = GRAE(BETA, likelihood, structure)
    return objective(plain, x).total, objective(rotated, x).total


def _rotation(seed: int, size: int = LATENTS) -> Tensor:
    return torch.from_numpy(scipy.stats.special_ortho_group.rvs(size, random_state=seed))


@pytest.mark.cases(1)
@pytest.mark.parametrize("likelihood", [Gaussian(), BernoulliLogits()], ids=repr)
def test_full_covariance_sees_no_rotation_and_the_others_do(likelihood: Likelihood, seed: int) -> None:
    plain, rotated = _values(Full(), likelihood, _rotation(seed), seed)
    torch.testing.assert_close(plain, rotated, rtol=1e-11, atol=0)
    for structure in (Diagonal(), BlockDiagonal(2), BlockDiagonal(3)):
        plain, rotated = _values(structure, likelihood, _rotation(seed), seed)
        assert ((plain - rotated).abs() > 1e-6 * plain).all()


def test_permutations_and_reflections_stay_invisible(seed: int) -> None:
    signed = torch.eye(LATENTS)[torch.randperm(LATENTS)] * torch.tensor([1.0, -1.0, -1.0, 1.0])
    torch.testing.assert_close(*_values(Diagonal(), Gaussian(), signed, seed))


def test_rotations_within_blocks_stay_invisible(seed: int) -> None:
    within = torch.block_diag(_rotation(seed, 2), _rotation(seed + 9, 2))
    torch.testing.assert_close(*_values(BlockDiagonal(2), Gaussian(), within, seed))
    plain, rotated = _values(Diagonal(), Gaussian(), within, seed)
    assert ((plain - rotated).abs() > 1e-6 * plain).all()


def test_the_diagonal_objective_is_lowest_where_columns_are_orthogonal(seed: int) -> None:
    """Of all rotations, the one onto M's eigenvectors reaches the full objective: equality in (14)."""
    torch.manual_seed(seed)
    decoder, z, x = nn.Linear(LATENTS, 6), torch.randn(1, LATENTS), torch.randn(1, 6)
    vectors = torch.linalg.eigh(gauss_newton(decoder, z, x, Gaussian())[0]).eigenvectors
    full = Full().penalty(gauss_newton(decoder, z, x, Gaussian()), BETA)
    for i in range(10):
        rotation = vectors if i == 0 else _rotation(100 * seed + i)
        rotated = gauss_newton(lambda z, r=rotation: decoder(z @ r.T), z, x, Gaussian())
        diagonal = Diagonal().penalty(rotated, BETA)
        if i == 0:
            torch.testing.assert_close(diagonal, full)
        else:
            assert diagonal > full + 1e-4
