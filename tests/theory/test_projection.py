"""Four facts that hold for every structure (docs/mathematics.md): projection, ordering, gradient, concavity."""

import itertools

import pytest
import torch
from torch.distributions import MultivariateNormal, kl_divergence

from curvae.posteriors import Banded, BlockDiagonal, Diagonal, Full, Shared, Structure

pytestmark = pytest.mark.usefixtures("float64", "seed")

LATENTS, BATCH = 5, 4
STRUCTURES = [Diagonal(), BlockDiagonal(2), BlockDiagonal(3), Banded(1), Banded(2), Full(), Shared(BlockDiagonal(2))]
every_structure = pytest.mark.parametrize("structure", STRUCTURES, ids=repr)


def curvature() -> torch.Tensor:
    root = 2 * torch.randn(BATCH, 7, LATENTS)
    return root.mT @ root


def noise_cost(structure: Structure, m: torch.Tensor, covariance: torch.Tensor, beta: float) -> torch.Tensor:
    """F = tr(AΣ) − log|Σ| − d, with the shared structure's mean over the data."""
    a = torch.eye(LATENTS) + m / beta
    cost = (a * covariance).sum((1, 2)) - torch.linalg.slogdet(covariance).logabsdet - LATENTS
    return cost.mean().expand(BATCH) if isinstance(structure, Shared) else cost


@every_structure
def test_the_penalty_is_a_projection_of_laplaces_approximation(structure: Structure) -> None:
    m, beta = curvature(), 0.8
    if isinstance(structure, Shared):
        m = m.mean(0, keepdim=True).expand(BATCH, -1, -1)
    best = structure.optimal(m, beta).covariance()
    laplace = MultivariateNormal(torch.zeros(LATENTS), precision_matrix=torch.eye(LATENTS) + m / beta)
    divergence = kl_divergence(MultivariateNormal(torch.zeros(LATENTS), best), laplace)
    log_det = torch.logdet(torch.eye(LATENTS) + m / beta)
    torch.testing.assert_close(structure.penalty(m, beta), log_det + 2 * divergence)


@every_structure
def test_no_member_of_the_family_costs_less(structure: Structure) -> None:
    m, beta = curvature(), 0.8
    least = structure.penalty(m, beta)
    for scale in (0.05, 0.5, 1.0):
        parameters = scale * torch.randn(BATCH, structure.num_parameters(LATENTS))
        if isinstance(structure, Shared):
            parameters = parameters[:1].expand(BATCH, -1)
        covariance = structure.factor(parameters, LATENTS).covariance()
        assert bool((noise_cost(structure, m, covariance, beta) >= least - 1e-9).all())
    best = structure.optimal(m, beta).covariance()
    torch.testing.assert_close(noise_cost(structure, m, best, beta), least)


@every_structure
def test_the_gradient_is_the_optimal_covariance(structure: Structure) -> None:
    m, beta = curvature().requires_grad_(), 0.8
    (gradient,) = torch.autograd.grad(structure.penalty(m, beta).sum(), m)
    best = structure.optimal(m.detach(), beta).covariance()
    torch.testing.assert_close(0.5 * (gradient + gradient.mT), best / beta, rtol=1e-5, atol=1e-7)


@every_structure
def test_concave_along_every_segment(structure: Structure) -> None:
    first, second, beta = curvature(), curvature(), 0.8
    ends = torch.stack([structure.penalty(first, beta), structure.penalty(second, beta)])
    for t in (0.2, 0.5, 0.9):
        between = structure.penalty((1 - t) * first + t * second, beta)
        assert bool((between > (1 - t) * ends[0] + t * ends[1]).all())


def test_the_trace_is_the_family_of_the_prior_alone() -> None:
    """The ordering goes on below diagonal: a multiple of the identity, then the identity itself."""
    m, beta = curvature(), 0.8
    trace = m.diagonal(dim1=1, dim2=2).sum(1) / beta
    identity = torch.eye(LATENTS).expand(BATCH, -1, -1)
    torch.testing.assert_close(noise_cost(Full(), m, identity, beta), trace)
    isotropic = noise_cost(Full(), m, identity * (1 + trace / LATENTS).reciprocal()[:, None, None], beta)
    torch.testing.assert_close(isotropic, LATENTS * (trace / LATENTS).log1p())
    chain = [Full().penalty(m, beta), BlockDiagonal(2).penalty(m, beta), Diagonal().penalty(m, beta), isotropic, trace]
    for less, more in itertools.pairwise(chain):
        assert bool((less < more).all())
