"""Banded precision: exact pattern, numerical optimum, envelope gradient."""

from __future__ import annotations

import pytest
import torch
from torch.distributions import MultivariateNormal

from curvae.errors import IndefiniteError, InputError
from curvae.posteriors import Banded, Diagonal, Full, Normal
from curvae.posteriors.banded import BandedFactor

BATCH, LATENTS, BETA = 3, 5, 0.3


def curvature(seed: int, rank: int = 7) -> torch.Tensor:
    root = torch.randn(BATCH, rank, LATENTS, generator=torch.Generator().manual_seed(seed), dtype=torch.double)
    return root.mT @ root


def parameters(structure: Banded, seed: int) -> torch.Tensor:
    shape = (BATCH, structure.num_parameters(LATENTS))
    return 0.5 * torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.double)


@pytest.mark.cases(2)
@pytest.mark.parametrize("width", [1, 2, 4, 9])
def test_the_distribution_is_the_one_of_its_dense_matrices(width):
    structure = Banded(width)
    factor = structure.factor(parameters(structure, width), LATENTS)
    mean = torch.randn(BATCH, LATENTS, dtype=torch.double)
    q = Normal(mean, factor)
    dense = MultivariateNormal(mean, precision_matrix=q.precision())
    z = torch.randn(4, BATCH, LATENTS, dtype=torch.double)
    torch.testing.assert_close(q.log_prob(z), dense.log_prob(z))
    torch.testing.assert_close(q.covariance(), dense.covariance_matrix)
    prior = MultivariateNormal(torch.zeros(LATENTS).double(), torch.eye(LATENTS).double())
    torch.testing.assert_close(q.kl(), torch.distributions.kl_divergence(dense, prior.expand((BATCH,))))
    torch.testing.assert_close(factor.solve(factor.apply(z)), z)
    draws = q.rsample(torch.Generator().manual_seed(0), (200_000,))
    sample = torch.einsum("sbi,sbj->bij", draws - mean, draws - mean) / len(draws)
    torch.testing.assert_close(sample, q.covariance(), rtol=0.05, atol=0.05 * float(q.covariance().abs().max()))


@pytest.mark.parametrize("width", [1, 2, 3])
def test_precision_is_exactly_zero_off_the_band(width):
    structure = Banded(width)
    precision = structure.factor(parameters(structure, 1), LATENTS).precision()
    offset = torch.arange(LATENTS)
    far = (offset[:, None] - offset).abs() > width
    assert (precision[:, far] == 0).all()
    assert (precision[:, ~far] != 0).all()
    assert structure.num_parameters(LATENTS) == int((~far).sum() + LATENTS) // 2


def test_zeros_are_the_identity():
    structure = Banded(2)
    factor = structure.factor(torch.zeros(1, structure.num_parameters(LATENTS)), LATENTS)
    assert torch.equal(factor.covariance()[0], torch.eye(LATENTS))


@pytest.mark.parametrize("width", [1, 2])
def test_optimum_beats_its_neighbours_and_lies_between_full_and_diagonal(seed, width):
    structure, m = Banded(width), curvature(seed)
    target = torch.eye(LATENTS, dtype=torch.double) + m / BETA

    def value(factor):
        return (target * factor.covariance()).sum((-1, -2)) - factor.log_det() - LATENTS

    best = structure.optimal(m, BETA)
    penalty = structure.penalty(m, BETA)
    torch.testing.assert_close(value(best), penalty)
    precision = best.precision()
    # stationarity in the precision P on its band: (P⁻¹ A P⁻¹)_ij = (P⁻¹)_ij
    covariance = best.covariance()
    slope = structure.restrict(covariance - covariance @ target @ covariance)
    assert slope.abs().max() < 1e-6 * covariance.abs().max()
    assert torch.equal(structure.restrict(precision), precision)
    assert (Full().penalty(m, BETA) <= penalty + 1e-9).all()
    assert (penalty <= Diagonal().penalty(m, BETA) + 1e-9).all()


def test_a_banded_curvature_has_the_closed_form():
    structure = Banded(1)
    m = structure.restrict(curvature(3)) + 20 * torch.eye(LATENTS, dtype=torch.double)
    torch.testing.assert_close(structure.penalty(m, BETA), Full().penalty(m, BETA))
    torch.testing.assert_close(
        structure.optimal(m, BETA).covariance(), Full().optimal(m, BETA).covariance(), rtol=1e-5, atol=1e-7
    )


def test_full_width_is_the_full_structure():
    m = curvature(4)
    torch.testing.assert_close(Banded(LATENTS - 1).penalty(m, BETA), Full().penalty(m, BETA))


def test_gradient_is_that_of_the_minimum():
    structure, m = Banded(1), curvature(5)[:1].requires_grad_()
    (gradient,) = torch.autograd.grad(structure.penalty(m, BETA).sum(), m)
    direction = torch.randn_like(m)
    direction = direction + direction.mT
    step = 1e-4
    with torch.no_grad():
        difference = structure.penalty(m + step * direction, BETA) - structure.penalty(m - step * direction, BETA)
    torch.testing.assert_close((gradient * direction).sum(), difference.sum() / (2 * step), rtol=1e-6, atol=1e-8)


def steep(seed: int, latents: int = 6) -> torch.Tensor:
    """Jacobians whose singular values span three decades, in no axis of the latents."""
    generator = torch.Generator().manual_seed(seed)
    columns = torch.randn(BATCH, 20, latents, generator=generator, dtype=torch.double)
    turn = torch.linalg.qr(torch.randn(latents, latents, generator=generator, dtype=torch.double)).Q
    return columns * torch.logspace(0, -3, latents, dtype=torch.double) @ turn


@pytest.mark.cases(2)
@pytest.mark.parametrize("beta", [1e-2, 1e-4, 1e-6])
@pytest.mark.parametrize("width", [1, 2])
def test_small_beta_reaches_a_minimum(width, beta):
    """A local one: there is more than one; which is found does not depend on what else is in the batch."""
    structure, root = Banded(width), steep(width)
    m = root.mT @ root
    penalty = structure.penalty(m, beta)
    alone = torch.cat([structure.penalty(one, beta) for one in m.split(1)])
    torch.testing.assert_close(penalty, alone, rtol=1e-9, atol=0)
    torch.testing.assert_close(penalty, structure.penalty_of_root(root, beta), rtol=0.02, atol=0)
    # no small movement of the band's entries finds anything better
    root, target = structure.optimal(m, beta).root, torch.eye(m.shape[-1], dtype=torch.double) + m / beta
    for _ in range(100):
        step = 1e-3 * root * torch.randn_like(root)
        moved = BandedFactor(root + step)
        value = (target * moved.covariance()).sum((-1, -2)) - moved.log_det() - m.shape[-1]
        assert (value >= penalty * (1 - 1e-9)).all()


@pytest.mark.cases(1)
@pytest.mark.parametrize("width", [1, 2])
def test_extreme_beta_is_finite_and_between_full_and_diagonal(width):
    structure = Banded(width)
    for root in (steep(0), steep(1)[:, :3], steep(2).float(), torch.zeros(2, 4, 6), steep(3)[..., :1]):
        for beta in (1e-10, 1e4):
            leaf = root.clone().requires_grad_()
            penalty = structure.penalty_of_root(leaf, beta)
            (gradient,) = torch.autograd.grad(penalty.sum(), leaf)
            assert penalty.dtype == root.dtype
            assert gradient.isfinite().all()
            assert (penalty >= Full().penalty_of_root(root, beta) * (1 - 1e-6)).all()
            assert (penalty <= Diagonal().penalty_of_root(root, beta) * (1 + 1e-6)).all()


def test_gradient_from_the_columns():
    root = steep(4)[:1].requires_grad_()
    m = (root.mT @ root).detach().requires_grad_()
    (outer,) = torch.autograd.grad(Banded(1).penalty(m, BETA).sum(), m)
    (gradient,) = torch.autograd.grad(Banded(1).penalty_of_root(root, BETA).sum(), root)
    torch.testing.assert_close(gradient, 2 * root.detach() @ outer, rtol=1e-6, atol=1e-8)


def test_a_diverged_sample_hurts_nobody_else():
    root = torch.cat([steep(5), torch.full((1, 20, 6), torch.nan, dtype=torch.double)])
    alone = Banded(1).penalty_of_root(root[:BATCH], BETA)
    for penalty in (Banded(1).penalty_of_root(root, BETA), Banded(1).penalty(root.mT @ root, BETA)):
        torch.testing.assert_close(penalty[:BATCH], alone)
        assert penalty[BATCH].isnan()


def test_an_indefinite_matrix_has_no_best_precision():
    """Its band alone may be positive definite: (8) still falls without end along the negative direction."""
    indefinite = torch.tensor([[[0.0, 0.0, -1.2], [0.0, 0.0, 0.0], [-1.2, 0.0, 0.0]]])
    assert (torch.linalg.eigvalsh(torch.eye(3) + Banded(1).restrict(indefinite)) > 0).all()
    with pytest.raises(IndefiniteError, match=r"eigenvalue -1.2 <= -beta = -1"):
        Banded(1).penalty(indefinite, 1.0)


def test_bad_input():
    with pytest.raises(InputError, match="bandwidth is 0"):
        Banded(0)
    with pytest.raises(InputError, match=r"Banded\(1\) of 5 latents takes 9 parameters per sample; got 4"):
        Banded(1).factor(torch.zeros(1, 4), LATENTS)
