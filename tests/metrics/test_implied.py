"""The posterior that a deterministic autoencoder implies, against (7), (13) and dense algebra."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import hessian, jacrev

from curvae import Autoencoder
from curvae.curvature.second_differences import second_differences
from curvae.errors import IndefiniteError, InputError
from curvae.likelihoods import Bernoulli, BernoulliLogits, Gaussian, Likelihood
from curvae.metrics import Implied, evaluate
from curvae.objectives import GRAE, Taylor
from curvae.posteriors import BlockDiagonal, Diagonal, Full, Shared, Structure

pytestmark = pytest.mark.usefixtures("float64", "seed")


def model() -> Autoencoder:
    decoder = nn.Sequential(nn.Linear(3, 8), nn.ELU(), nn.Linear(8, 5))
    return Autoencoder(nn.Linear(5, 3), decoder, latents=3)


@pytest.mark.covering
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


@pytest.mark.parametrize("likelihood", [Gaussian(0.5), BernoulliLogits()], ids=repr)
def test_widths_by_second_differences_by_hand(likelihood: Likelihood) -> None:
    grae, x, beta = model(), torch.rand(4, 5), 0.5
    first = Implied(grae, beta, likelihood, Diagonal()).posterior(x)
    q = Implied(grae, beta, likelihood, Diagonal(), curvature="differences").posterior(x)
    torch.testing.assert_close(q.mean, first.mean)
    for i in range(4):
        for c in range(3):
            step = torch.eye(3)[c] * (3 * first.covariance()[i, c, c]).sqrt()
            ends = [likelihood.nll(grae.decode((q.mean[i] + s * step)[None]), x[i : i + 1]) for s in (1, -1, 0)]
            curvature = (ends[0] + ends[1] - 2 * ends[2]) / step[c] ** 2
            torch.testing.assert_close(q.covariance()[i, c, c], 1 / (1 + curvature[0] / beta))


def test_second_differences_see_small_probabilities() -> None:
    """As 1 − (1 − p) they would be lost in float32, and count as exp(−100)."""
    steep = nn.Linear(1, 1).requires_grad_(False)
    steep.weight.fill_(25)
    steep.bias.fill_(4)
    z, x, likelihood = torch.zeros(1, 1).float(), torch.ones(1, 1).float(), Bernoulli()
    sure = nn.Sequential(steep, nn.Sigmoid())
    exact = second_differences(sure, z.double(), x.double(), likelihood, torch.ones(1, 1))
    found = second_differences(sure.float(), z, x, likelihood, torch.ones(1, 1).float())
    torch.testing.assert_close(found.double(), exact, rtol=1e-4, atol=0)


def test_second_differences_of_an_affine_decoder_are_gauss_newtons() -> None:
    grae, x = Autoencoder(nn.Linear(5, 3), nn.Linear(3, 5), latents=3), torch.randn(4, 5)
    found, expected = (
        Implied(grae, 0.2, structure=Diagonal(), curvature=curvature).posterior(x).covariance()  # type: ignore[arg-type]
        for curvature in ("differences", "gauss-newton")
    )
    torch.testing.assert_close(found, expected)


def test_second_differences_are_nearer_to_what_noise_costs() -> None:
    """(2) by Gauss-Hermite quadrature is lower at their widths, about modes, where residuals meet a bent decoder."""
    decoder = nn.Sequential(nn.Linear(1, 20), nn.Tanh(), nn.Linear(20, 5))
    with torch.no_grad():
        decoder[0].weight.mul_(3)
    grae, beta = Autoencoder(nn.Linear(5, 1), decoder, latents=1), 4.0
    x = torch.randn(40, 5)
    nodes, weights = (torch.tensor(part) for part in np.polynomial.hermite_e.hermegauss(40))
    values = []
    for curvature in ("gauss-newton", "differences"):
        implied = Implied(grae, beta, structure=Diagonal(), curvature=curvature, refine=20)  # type: ignore[arg-type]
        q = implied.posterior(x)
        points = [q.mean + q.factor.apply(torch.full_like(q.mean, float(node))) for node in nodes]
        nlls = torch.stack([Gaussian().nll(grae.decode(point), x) for point in points])
        values.append(weights @ nlls / weights.sum() + beta * q.kl())
    assert values[1].mean() < values[0].mean()


def test_second_differences_need_a_diagonal_and_a_minimum() -> None:
    with pytest.raises(InputError, match=r"^curvature 'differences' is for structure Diagonal\(\); got Full\(\)$"):
        Implied(model(), 0.2, curvature="differences")
    bowl = Autoencoder(nn.Linear(1, 1), nn.Identity(), latents=1)
    bowl.decode = torch.square  # type: ignore[method-assign]
    with torch.no_grad():
        bowl.encoder.weight.zero_()
        bowl.encoder.bias.zero_()
    with pytest.raises(IndefiniteError):
        Implied(bowl, 0.2, structure=Diagonal(), curvature="differences").posterior(torch.full((2, 1), 5.0))


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


@pytest.mark.cases(1)
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


def test_steps_in_inference_mode() -> None:
    implied, x = Implied(model(), 0.2, Gaussian(0.5), refine=2), torch.rand(4, 5)
    expected = implied.posterior(x).mean
    with torch.inference_mode():
        torch.testing.assert_close(implied.posterior(x.clone()).mean, expected)


def test_steps_of_latents_that_the_decoder_does_not_tell_apart() -> None:
    """In float32 β is then below the rounding of M; and a broken sample is broken alone."""
    decoder = nn.Linear(6, 20)
    with torch.no_grad():
        decoder.weight.copy_(10 * torch.randn(20, 1) @ torch.randn(1, 6))
    grae, x = Autoencoder(nn.Linear(20, 6), decoder, latents=6).float(), torch.randn(5, 20, dtype=torch.float32)
    x[0, 0] = torch.nan
    found = Implied(grae, 1e-6, refine=2).posterior(x).mean
    assert found.isfinite().all(1).tolist() == [False] + [True] * 4
    direction, residual = decoder.weight[:, 0] / decoder.weight[:, 0].norm(), x[1:] - decoder.bias
    least = residual.square().sum(1) - (residual @ direction).square()
    torch.testing.assert_close((x[1:] - grae.decode(found[1:])).square().sum(1), least, rtol=1e-3, atol=0.0)


def test_latents_of_several_axes_are_refined() -> None:
    decoder = nn.Sequential(nn.Flatten(), nn.Linear(8, 5))
    flat = Autoencoder(nn.Linear(5, 8), decoder, latents=8)
    shaped = Autoencoder(
        nn.Sequential(flat.encoder, nn.Unflatten(1, (2, 2, 2))), decoder, latents=(2, 2, 2), features=2
    )
    x = torch.randn(4, 5)
    found = Implied(shaped, 0.2, refine=1).posterior(x).mean
    torch.testing.assert_close(found.flatten(1), Implied(flat, 0.2, refine=1).posterior(x).mean)


@pytest.mark.usefixtures("as_shipped")
@pytest.mark.parametrize("refine", [-1, True, 1.5])
def test_steps_are_a_whole_number(refine: object) -> None:
    with pytest.raises(InputError, match="refine is .*; expected a whole number >= 0"):
        Implied(model(), 0.3, refine=refine)  # type: ignore[arg-type]


def test_objectives_are_measured_at_the_mode_that_the_posterior_has() -> None:
    grae, x, beta = model(), 2 * torch.randn(6, 5), 0.2
    implied = Implied(grae, beta, refine=2)
    found = evaluate(implied, x, beta, Gaussian(), Full(), generator=torch.Generator())
    assert found.taylor.mean == pytest.approx(float(Taylor(beta)(implied, x).total.mean().detach()))
    mode = implied.posterior(x).mean.detach()
    assert found.mse.mean == pytest.approx(float((grae.decode(mode) - x).square().mean()))
    assert found.gap_error < 1e-9
