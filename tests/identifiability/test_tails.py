import mpmath
import numpy as np
import pytest
import torch
from scipy import stats
from torch import distributions as td

from curvae.identifiability.tails import log_tails

D = torch.float64


def t(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=D)


CASES = {
    "normal": (td.Normal(t(0.3), t(2.0)), stats.norm(0.3, 2.0), (-60.0, 60.0)),
    "laplace": (td.Laplace(t(0.3), t(2.0)), stats.laplace(0.3, 2.0), (-900.0, 900.0)),
    "exponential": (td.Exponential(t(3.0)), stats.expon(scale=1 / 3), (1e-30, 200.0)),
    "uniform": (td.Uniform(t(0.0), t(4.0)), stats.uniform(0.0, 4.0), (1e-30, 4 - 1e-9)),
    "cauchy": (td.Cauchy(t(0.3), t(2.0)), stats.cauchy(0.3, 2.0), (-1e8, 1e8)),
    "gumbel": (td.Gumbel(t(0.3), t(2.0)), stats.gumbel_r(0.3, 2.0), (-10.0, 900.0)),
    "gamma": (td.Gamma(t(0.7), t(2.0)), stats.gamma(0.7, scale=0.5), (1e-30, 200.0)),
    "lognormal": (td.LogNormal(t(0.3), t(0.5)), stats.lognorm(0.5, scale=np.exp(0.3)), (1e-6, 1e6)),
    "weibull": (td.Weibull(t(1.5), t(2.0)), stats.weibull_min(2.0, scale=1.5), (1e-12, 30.0)),
    # a decreasing transform swaps the tails
    "reflected": (
        td.TransformedDistribution(td.Exponential(t(3.0)), [td.AffineTransform(0.0, -1.0)]),
        None,
        (-200.0, -1e-30),
    ),
    # through its own cdf
    "half-normal": (td.HalfNormal(t(2.0)), stats.halfnorm(scale=2.0), (1e-3, 8.0)),
}


@pytest.mark.parametrize("name", CASES)
def test_both_tails_against_scipy(name: str) -> None:
    distribution, oracle, (low, high) = CASES[name]
    grid = np.linspace(0.001, 0.999, 57)
    z = np.concatenate([[low, high], low + (high - low) * grid, (oracle or stats.uniform(low, high - low)).ppf(grid)])
    lower, upper = log_tails(distribution, torch.from_numpy(z))
    if oracle is None:
        expected = stats.expon(scale=1 / 3).logsf(-z), stats.expon(scale=1 / 3).logcdf(-z)
    else:
        expected = oracle.logcdf(z), oracle.logsf(z)
    # SciPy's own logcdf of Cauchy and Gumbel rounds near 1, hence the absolute part
    np.testing.assert_allclose(lower.numpy(), expected[0], rtol=1e-11, atol=3e-16)
    np.testing.assert_allclose(upper.numpy(), expected[1], rtol=1e-11, atol=3e-16)


def test_mixture_tails_against_fifty_digits() -> None:
    weights, means, scales = (0.3, 0.7), (-3.0, 2.0), (0.5, 1.5)
    mixture = td.MixtureSameFamily(td.Categorical(t(*weights)), td.Normal(t(*means), t(*scales)))
    z = t(-40.0, -12.0, -3.0, 0.1, 5.0, 40.0)
    lower, upper = log_tails(mixture, z)
    mpmath.mp.dps = 50
    for i, point in enumerate(z.tolist()):
        for sign, computed in ((1, lower[i].item()), (-1, upper[i].item())):
            total = sum(
                mpmath.mpf(w) * mpmath.erfc(-sign * (mpmath.mpf(point) - m) / (s * mpmath.sqrt(2))) / 2
                for w, m, s in zip(weights, means, scales, strict=True)
            )
            assert computed == pytest.approx(float(mpmath.log(total)), rel=1e-12, abs=1e-15)


@pytest.mark.parametrize("name", CASES)
def test_slopes_are_the_density(name: str) -> None:
    distribution = CASES[name][0]
    uniform = torch.rand(40, generator=torch.Generator().manual_seed(3), dtype=D)
    z = (-uniform if name == "reflected" else uniform).requires_grad_()
    density = torch.exp(distribution.log_prob(z)).detach()
    for tail, expected in zip(log_tails(distribution, z), (density, -density), strict=True):
        (slope,) = torch.autograd.grad(torch.exp(tail).sum(), z, retain_graph=True)
        torch.testing.assert_close(slope, expected, rtol=1e-11, atol=1e-15)


def test_laplace_has_its_slope_at_the_kink() -> None:
    z = torch.zeros(1, dtype=D, requires_grad=True)
    lower, upper = log_tails(td.Laplace(t(0.0), t(1.0)), z)
    for tail, expected in ((lower, 1.0), (upper, -1.0)):
        (slope,) = torch.autograd.grad(tail.sum(), z, retain_graph=True)
        assert slope.item() == pytest.approx(expected, abs=1e-15)
