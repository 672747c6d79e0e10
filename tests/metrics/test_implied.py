"""The posterior that a deterministic autoencoder implies, against (7), (13) and dense algebra."""

import pytest
import torch
from torch import nn
from torch.func import hessian, jacrev

from curvae import Autoencoder
from curvae.errors import InputError
from curvae.likelihoods import BernoulliLogits, Gaussian, Likelihood
from curvae.metrics import Implied
from curvae.objectives import GRAE, Taylor
from curvae.posteriors import BlockDiagonal, Diagonal, Full, Shared, Structure

pytestmark = pytest.mark.usefixtures("float64", "seed")


def model() -> Autoencoder:
    decoder = nn.Sequential(nn.Linear(3, 8), nn.ELU(), nn.Linear(8, 5))
    return Autoencoder(nn.Linear(5, 3), decoder, latents=3)


@pytest.mark.parametrize("structure", [Diagonal(), BlockDiagonal(2), Full(), Shared(Full())], ids=repr)
@pytest.mark.parametrize("likelihood", [Gaussian(0.5), BernoulliLogits()], ids=repr)
def test_taylor_with_the_implied_posterior_is_the_closed_form(structure: Structure, likelihood: Likelihood) -> None:
    grae, x = model(), torch.rand(6, 5)
    taylor = Taylor(0.3, likelihood)(Implied(grae, 0.3, likelihood, structure), x).total
    closed = GRAE(0.3, likelihood, structure)(grae, x).total
    if isinstance(structure, Shared):  # one Σ for all data: equal on average only
        taylor, closed = taylor.mean(), closed.mean()
    torch.testing.assert_close(taylor, closed)


def test_covariance_is_11_by_dense_algebra() -> None:
    grae, x, beta = model(), torch.randn(4, 5), 0.2
    q = Implied(grae, beta).posterior(x)
    for i in range(4):
        jacobian = jacrev(grae.decoder)(q.mean[i])
        oracle = torch.linalg.inv(torch.eye(3) + jacobian.mT @ jacobian / beta)
        torch.testing.assert_close(q.covariance()[i], oracle)


def test_covariance_with_the_exact_hessian_is_9() -> None:
    grae, x, beta = model(), torch.rand(4, 5), 20.0
    likelihood = BernoulliLogits()
    q = Implied(grae, beta, likelihood, curvature="hessian").posterior(x)

    def log_p(z: torch.Tensor, sample: torch.Tensor) -> torch.Tensor:
        return -likelihood.nll(grae.decode(z[None]), sample[None])[0]

    for i in range(4):
        oracle = torch.linalg.inv(torch.eye(3) - hessian(log_p)(q.mean[i], x[i]) / beta)
        torch.testing.assert_close(q.covariance()[i], oracle)


def test_bad_arguments() -> None:
    with pytest.raises(InputError, match="beta is -1"):
        Implied(model(), -1.0)
