"""Densities against outside libraries, extreme logits, and the noise scale that is β."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
import scipy.stats
import torch
from torch import nn

from curvae import Autoencoder, objectives, posteriors
from curvae.errors import InputError
from curvae.likelihoods import ContinuousBernoulli, Gaussian, Laplace, LearnedGaussian, NegativeBinomial, StudentT

pytestmark = pytest.mark.usefixtures("float64")


def test_continuous_bernoulli_against_torch_distributions(seed):
    eta, x = 5 * torch.randn(7, 3), torch.rand(7, 3)
    outside = torch.distributions.ContinuousBernoulli(logits=eta)
    torch.testing.assert_close(ContinuousBernoulli().log_prob(eta, x), outside.log_prob(x).sum(1), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(ContinuousBernoulli().mean(eta), outside.mean, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(ContinuousBernoulli().curvature(eta, x), outside.variance, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("size", [0.0, 1e-9, 1e-4, 0.59999, 0.6, 0.60001, 3.0, 40.0, 800.0])
@pytest.mark.parametrize("sign", [1, -1])
def test_continuous_bernoulli_integrates_to_one_and_joins_smoothly(size, sign):
    """The density by quadrature; mean and variance too; no jump where the series takes over at |η| = 0.6."""
    eta = torch.full((1, 1), sign * size)
    # a grid that is fine at both ends, where large |η| puts the mass
    half = torch.cat([torch.zeros(1), torch.logspace(-12, np.log10(0.5), 40_001)])
    grid = torch.cat([half, (1 - half).flip(0)[1:]])
    model = ContinuousBernoulli()
    density = model.log_prob(eta.expand(len(grid), 1), grid[:, None]).exp()
    mean = torch.trapezoid(density * grid, grid)
    torch.testing.assert_close(torch.trapezoid(density, grid), torch.tensor(1.0), rtol=1e-6, atol=0)
    torch.testing.assert_close(model.mean(eta).squeeze(), mean, rtol=1e-6, atol=1e-9)
    variance = torch.trapezoid(density * (grid - mean).square(), grid)
    torch.testing.assert_close(model.curvature(eta, eta).squeeze(), variance, rtol=1e-5, atol=0)


@pytest.mark.parametrize("size", [0.05, -0.3, 0.59, -0.61, 2.0])
def test_continuous_bernoulli_keeps_its_digits_in_derivatives(size: float) -> None:
    """Variance and mean, and their slopes, which train a decoder; below |η| = 0.6 they are series."""
    eta = torch.tensor([[size]], requires_grad=True)
    model = ContinuousBernoulli()
    with mpmath.workdps(40):
        expected = [mpmath.diff(lambda e: mpmath.log((mpmath.exp(e) - 1) / e), size, order) for order in (1, 2, 3)]
    found = [model.mean(eta), model.curvature(eta, eta)]
    found.append(torch.autograd.grad(found[1], eta)[0])
    for one, other in zip(found, expected, strict=True):
        assert abs(one.item() / float(other) - 1) < 1e-9


@pytest.mark.parametrize("size", [0.0, 2e-6, 1e-4, 0.5, 40.0])
def test_continuous_bernoulli_draws_in_float32_are_those_of_its_distribution(size: float) -> None:
    """Not multiples of a rounding unit over η."""
    generator = torch.Generator().manual_seed(0)
    draws = ContinuousBernoulli().sample(torch.full((4000, 1), -size, dtype=torch.float32), generator).squeeze()
    assert len(draws.unique()) > 3900
    outside = scipy.stats.truncexpon(size, scale=1 / size).cdf if size else scipy.stats.uniform().cdf
    assert scipy.stats.kstest(draws.double().numpy(), outside).pvalue > 1e-3


def test_negative_binomial_against_scipy(seed):
    eta, r = torch.randn(5, 4), 1.7
    x = torch.poisson(3 * torch.rand(5, 4))
    p = r / (r + eta.exp().numpy())
    outside = scipy.stats.nbinom.logpmf(x.numpy(), r, p).sum(1)
    torch.testing.assert_close(NegativeBinomial(r).log_prob(eta, x), torch.from_numpy(outside))


def test_heavy_tails_against_scipy(seed):
    eta, x = torch.randn(5, 4), 4 * torch.randn(5, 4)
    outside = scipy.stats.laplace.logpdf(x, eta, 0.8).sum(1)
    torch.testing.assert_close(Laplace(0.8).log_prob(eta, x), torch.from_numpy(outside))
    outside = scipy.stats.t.logpdf(x, 3.3, eta, 0.8).sum(1)
    torch.testing.assert_close(StudentT(3.3, 0.8).log_prob(eta, x), torch.from_numpy(outside))


def test_the_fitted_noise_scale_is_the_likelihoods_maximum(seed):
    eta, x = torch.randn(6, 4), torch.randn(6, 4)
    likelihood = LearnedGaussian().double()
    likelihood.fit(eta, x)
    (gradient,) = torch.autograd.grad(likelihood.nll(eta, x).sum(), likelihood.log_sigma)
    assert gradient.abs() < 1e-10
    fixed = Gaussian(likelihood.sigma.item())
    torch.testing.assert_close(likelihood.log_prob(eta, x), fixed.log_prob(eta, x))
    with pytest.raises(InputError, match="best noise scale is 0"):
        likelihood.fit(x, x)


@pytest.mark.parametrize("structure", [posteriors.Diagonal(), posteriors.Full()], ids=str)
@pytest.mark.parametrize("objective", [objectives.BetaVAE, objectives.Taylor, objectives.GRAE])
def test_beta_and_the_noise_variance_are_the_same_knob(objective, structure, seed):
    """L(β, σ) = L(βσ², 1) / σ², for the noise scale fixed or learned."""
    torch.manual_seed(seed)
    decoder = nn.Sequential(nn.Linear(2, 6), nn.Tanh(), nn.Linear(6, 4))
    model = Autoencoder(nn.Linear(4, 5), decoder, 2, structure)
    x, beta, sigma = torch.randn(3, 4), 0.7, 0.3
    extra = {"structure": structure} if objective is objectives.GRAE else {}

    def total(beta, likelihood):
        return objective(beta, likelihood, **extra)(model, x, torch.Generator().manual_seed(seed)).total

    unit = total(beta * sigma**2, Gaussian()) / sigma**2
    torch.testing.assert_close(total(beta, Gaussian(sigma)), unit)
    learned = LearnedGaussian(sigma).double()
    torch.testing.assert_close(total(beta, learned), unit + 4 * learned.log_sigma)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Laplace(0.0), "scale is 0.0"),
        (lambda: StudentT(-1.0), "dof is -1.0"),
        (lambda: StudentT(1.0, float("nan")), "scale is nan"),
        (lambda: NegativeBinomial(0.0), "dispersion is 0.0"),
        (lambda: LearnedGaussian(0.0), "sigma is 0.0"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(InputError, match=message):
        make()
