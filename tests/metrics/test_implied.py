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


def test_one_step_of_a_linear_model_is_bayes() -> None:
    weight, beta, sigma = torch.randn(5, 3), 0.3, 0.7
    decoder = nn.Linear(3, 5)
    decoder.weight.data, decoder.bias.data = weight, torch.randn(5)
    grae, x = Autoencoder(nn.Linear(5, 3), decoder, latents=3), torch.randn(6, 5)
    precision = torch.eye(3) + weight.T @ weight / (beta * sigma**2)
    q = Implied(grae, beta, Gaussian(sigma), refine=1).posterior(x)
    mean = (x - decoder.bias) @ weight / (beta * sigma**2) @ precision.inverse()
    torch.testing.assert_close(q.mean, mean)
    torch.testing.assert_close(q.precision(), precision.expand(6, 3, 3))


@pytest.mark.parametrize("likelihood", [Gaussian(0.1), BernoulliLogits()], ids=repr)
def test_refined_means_are_the_modes(likelihood: Likelihood) -> None:
    grae, x, beta = model(), torch.rand(6, 5).round(), 0.3

    def density(z: torch.Tensor) -> torch.Tensor:
        return -likelihood.nll(grae.decode(z), x) / beta - 0.5 * z.square().sum(1)

    before = density(grae.encode(x))
    for steps in (1, 2, 40):
        found = Implied(grae, beta, likelihood, refine=steps).posterior(x).mean
        after = density(found)
        assert bool((after >= before).all())
        before = after
    mode = found.clone().requires_grad_()
    density(mode).sum().backward()
    assert mode.grad is not None
    assert mode.grad.abs().max() < 1e-5
    assert not found.requires_grad


def test_latents_of_several_axes_are_refined() -> None:
    decoder = nn.Sequential(nn.Flatten(), nn.Linear(8, 5))
    flat = Autoencoder(nn.Linear(5, 8), decoder, latents=8)
    shaped = Autoencoder(
        nn.Sequential(flat.encoder, nn.Unflatten(1, (2, 2, 2))), decoder, latents=(2, 2, 2), features=2
    )
    x = torch.randn(4, 5)
    found = Implied(shaped, 0.2, refine=1).posterior(x).mean
    torch.testing.assert_close(found.flatten(1), Implied(flat, 0.2, refine=1).posterior(x).mean)


@pytest.mark.parametrize("refine", [-1, True, 1.5])
def test_steps_are_a_whole_number(refine: object) -> None:
    with pytest.raises(InputError, match="refine is"):
        Implied(model(), 0.3, refine=refine)  # type: ignore[arg-type]
