"""The posterior against PyTorch's own multivariate normal."""

from __future__ import annotations

import pytest
import torch
from torch.distributions import MultivariateNormal, kl_divergence

from curvae.posteriors import Banded, BlockDiagonal, Diagonal, Full, Normal, Shared, Structure

pytestmark = pytest.mark.usefixtures("float64")

STRUCTURES = [
    Diagonal(),
    BlockDiagonal(1),
    BlockDiagonal(2),
    BlockDiagonal(3),
    BlockDiagonal(6),
    Full(),
    Banded(1),
    Banded(3),
    Shared(BlockDiagonal(2)),
]


@pytest.fixture(params=STRUCTURES, ids=str)
def structure(request: pytest.FixtureRequest) -> Structure:
    return request.param


def _random(structure: Structure, batch: int = 4) -> tuple[Normal, MultivariateNormal]:
    q = Normal(torch.randn(batch, 5), structure.factor(0.7 * torch.randn(batch, structure.num_parameters(5)), 5))
    dense = q.factor.dense()
    return q, MultivariateNormal(q.mean, covariance_matrix=dense @ dense.mT)


def test_densities(structure: Structure, seed: int) -> None:
    q, reference = _random(structure)
    torch.testing.assert_close(q.covariance(), reference.covariance_matrix)
    torch.testing.assert_close(q.precision(), reference.precision_matrix)
    for leading in ((), (3,), (2, 3)):
        z = torch.randn(*leading, 4, 5)
        torch.testing.assert_close(q.log_prob(z), reference.log_prob(z))
    prior = MultivariateNormal(torch.zeros(5), torch.eye(5))
    torch.testing.assert_close(q.kl(), kl_divergence(reference, prior))


def test_samples_have_the_posteriors_moments(structure: Structure, seed: int) -> None:
    draws = 40_000
    q, reference = _random(structure, batch=2)
    z = q.rsample(torch.Generator().manual_seed(seed), (draws,))
    assert z.shape == (draws, 2, 5)
    centred = reference.scale_tril.inverse() @ (z - q.mean).unsqueeze(-1)  # standard normal if all is well
    centred = centred.squeeze(-1)
    assert (centred.mean(0).abs() * draws**0.5).max() < 5
    second = torch.einsum("sbi,sbj->bij", centred, centred) / draws
    assert ((second - torch.eye(5)).abs() * (draws / 2) ** 0.5).max() < 5


def test_samples_are_reproducible_and_shaped(structure: Structure, seed: int) -> None:
    q, _ = _random(structure)
    before = torch.random.get_rng_state()
    first, again = (q.rsample(torch.Generator().manual_seed(seed)) for _ in range(2))
    assert torch.equal(before, torch.random.get_rng_state())
    assert torch.equal(first, again)
    assert first.shape == (4, 5)
    assert q.rsample(samples=(2, 3)).shape == (2, 3, 4, 5)
    assert not torch.equal(q.rsample(), q.rsample())


def test_samples_are_reparameterised(structure: Structure, seed: int) -> None:
    """z = h + Lε with ε known from the generator: gradients through z are those of that formula."""
    parameters = (0.5 * torch.randn(3, structure.num_parameters(5))).requires_grad_()
    mean, weight = torch.randn(3, 5, requires_grad=True), torch.randn(3, 5)
    noise = torch.randn(3, 5, generator=torch.Generator().manual_seed(seed))
    z = Normal(mean, structure.factor(parameters, 5)).rsample(torch.Generator().manual_seed(seed))
    dense = structure.factor(parameters, 5).dense()
    expected = mean + torch.einsum("bij,bj->bi", dense, noise)
    torch.testing.assert_close(z, expected)
    got = torch.autograd.grad((weight * z.sin()).sum(), (mean, parameters))
    torch.testing.assert_close(got, torch.autograd.grad((weight * expected.sin()).sum(), (mean, parameters)))


def test_gradients_of_the_divergence(structure: Structure, seed: int) -> None:
    parameters = (0.5 * torch.randn(3, structure.num_parameters(5))).requires_grad_()
    mean = torch.randn(3, 5, requires_grad=True)
    dense = structure.factor(parameters, 5).dense()
    reference = MultivariateNormal(mean, scale_tril=dense)
    expected = kl_divergence(reference, MultivariateNormal(torch.zeros(5), torch.eye(5))).sum()
    got = Normal(mean, structure.factor(parameters, 5)).kl().sum()
    torch.testing.assert_close(
        torch.autograd.grad(got, (mean, parameters)), torch.autograd.grad(expected, (mean, parameters))
    )
