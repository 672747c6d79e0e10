"""One covariance for all data."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from curvae import Autoencoder, objectives
from curvae.curvature import hessian
from curvae.errors import IndefiniteError
from curvae.likelihoods import Gaussian
from curvae.posteriors import BlockDiagonal, Diagonal, Full, Normal, Shared

STRUCTURES = [Diagonal(), BlockDiagonal(2), Full()]
BATCH, LATENTS, BETA = 6, 3, 0.4


@pytest.mark.parametrize("structure", STRUCTURES, ids=str)
def test_the_posterior_has_one_covariance_that_learns(structure):
    torch.manual_seed(0)
    model = Autoencoder(nn.Linear(4, 8), nn.Linear(LATENTS, 4), LATENTS, Shared(structure))
    x = torch.randn(BATCH, 4)
    covariance = model.posterior(x).covariance()
    assert torch.equal(covariance, torch.eye(LATENTS).expand(BATCH, -1, -1))
    objectives.Taylor(BETA)(model, x).mean().backward()
    assert model.factor_head.values.grad.abs().min() > 0


@pytest.mark.parametrize("structure", STRUCTURES, ids=str)
def test_optimum_minimises_the_mean_of_8_over_the_data(structure):
    root = torch.randn(BATCH, 5, LATENTS, dtype=torch.double)
    m = root.mT @ root
    shared = Shared(structure)
    zeros = torch.zeros(BATCH, LATENTS, dtype=torch.double)

    def value(factor):
        kl = Normal(zeros, factor).kl()
        return (0.5 * (m * factor.covariance()).sum((-1, -2)) + BETA * kl).mean()

    best = shared.optimal(m, BETA)
    torch.testing.assert_close(value(best), 0.5 * BETA * shared.penalty(m, BETA).mean())
    own = torch.zeros(1, shared.num_parameters(LATENTS), dtype=torch.double, requires_grad=True)
    optimiser = torch.optim.LBFGS(
        [own], max_iter=300, tolerance_grad=1e-12, tolerance_change=0, line_search_fn="strong_wolfe"
    )

    def closure():
        optimiser.zero_grad()
        loss = value(shared.factor(own.expand(BATCH, -1), LATENTS))
        loss.backward()
        return loss

    optimiser.step(closure)
    torch.testing.assert_close(shared.factor(own, LATENTS).covariance()[0], best.covariance()[0], rtol=1e-5, atol=1e-7)


def test_the_exact_hessian_need_only_be_definite_on_average():
    """(10) with one covariance sees the mean Hessian; a single sample's may be indefinite."""
    torch.manual_seed(0)
    decoder = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 4))
    model = Autoencoder(nn.Linear(4, 2), decoder, 2).double()
    x = 3 * torch.randn(12, 4, dtype=torch.double)
    minus = -hessian(model.decode, model.encode(x), x, Gaussian()).detach()
    beta = 0.5 * float(
        torch.linalg.eigvalsh(minus).min().abs() + torch.linalg.eigvalsh(minus.mean(0)).min().clamp(max=0).abs()
    )
    assert torch.linalg.eigvalsh(minus).min() < -beta < torch.linalg.eigvalsh(minus.mean(0)).min()
    got = objectives.GRAE(beta, structure=Shared(Full()), curvature="hessian")(model, x)["penalty"]
    expected = 0.5 * beta * torch.logdet(torch.eye(2, dtype=torch.double) + minus.mean(0) / beta)
    torch.testing.assert_close(got, expected.expand(12))
    with pytest.raises(IndefiniteError):
        objectives.GRAE(beta, structure=Full(), curvature="hessian")(model, x)


def test_a_grae_with_shared_structure_costs_at_least_its_own_structures():
    """One covariance for all cannot beat one for each: the log-determinant of the mean is above the mean's."""
    torch.manual_seed(1)
    decoder = nn.Sequential(nn.Linear(LATENTS, 8), nn.Tanh(), nn.Linear(8, 4))
    model = Autoencoder(nn.Linear(4, LATENTS), decoder, LATENTS).double()
    x = torch.randn(BATCH, 4, dtype=torch.double)
    for structure in STRUCTURES:
        own = objectives.GRAE(BETA, structure=structure)(model, x)["penalty"].mean()
        shared = objectives.GRAE(BETA, structure=Shared(structure))(model, x)["penalty"].mean()
        assert shared > own
