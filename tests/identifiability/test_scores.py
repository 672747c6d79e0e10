import math

import numpy as np
import pytest
import torch
from scipy import special, stats
from torch import distributions as td

from curvae.identifiability.scores import has_quantiles, normal_score, quantile
from curvae.identifiability.tails import log_tails

D = torch.float64


def t(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=D)


def mixture_of(components: td.Distribution, validate_args: bool | None = None) -> td.MixtureSameFamily:
    return td.MixtureSameFamily(td.Categorical(t(0.3, 0.7)), components, validate_args)


FAMILIES = {
    "normal": td.Normal(t(0.3), t(2.0)),
    "laplace": td.Laplace(t(0.3), t(2.0)),
    "exponential": td.Exponential(t(3.0)),
    "cauchy": td.Cauchy(t(0.0), t(2.0)),
    "gumbel": td.Gumbel(t(0.3), t(2.0)),
    "lognormal": td.LogNormal(t(0.3), t(0.5)),
    "weibull": td.Weibull(t(1.5), t(2.0)),
    "reflected": td.TransformedDistribution(td.Exponential(t(3.0)), [td.AffineTransform(0.0, -1.0)]),
    "gamma": td.Gamma(t(0.7), t(2.0)),
    "normal mixture": mixture_of(td.Normal(t(-3.0, 2.0), t(0.5, 1.5))),
    "gamma mixture": mixture_of(td.Gamma(t(3.0, 2.0), t(0.5, 4.0))),
    "uniform": td.Uniform(t(0.0), t(4.0)),
    "uniform mixture": mixture_of(td.Uniform(t(0.0, 0.5), t(1.0, 3.0), validate_args=False), validate_args=False),
    "half-normal": td.HalfNormal(t(2.0)),
}
# how far out (in normal scores) a draw keeps its digits: beyond, a float near the edge of the support cannot hold them,
# or, for the half-normal, the distribution's own cdf
REACH = dict.fromkeys(FAMILIES, 35.0) | {"gamma": 20.0, "gamma mixture": 30.0}
REACH |= dict.fromkeys(("uniform", "uniform mixture", "half-normal"), 4.0)
ORACLES = {
    "laplace": stats.laplace(0.3, 2.0),
    "exponential": stats.expon(scale=1 / 3),
    "cauchy": stats.cauchy(0.0, 2.0),
    "gumbel": stats.gumbel_r(0.3, 2.0),
    "lognormal": stats.lognorm(0.5, scale=np.exp(0.3)),
    "weibull": stats.weibull_min(2.0, scale=1.5),
    "gamma": stats.gamma(0.7, scale=0.5),
    "uniform": stats.uniform(0.0, 4.0),
    "half-normal": stats.halfnorm(scale=2.0),
}


@pytest.mark.parametrize("name", FAMILIES)
def test_round_trip_far_into_both_tails(name: str) -> None:
    n = torch.linspace(-REACH[name], REACH[name], 301, dtype=D)
    tolerance = 1e-10 if REACH[name] == 4.0 else 1e-13
    torch.testing.assert_close(normal_score(FAMILIES[name], quantile(FAMILIES[name], n)), n, rtol=0, atol=tolerance)


@pytest.mark.parametrize("name", ORACLES)
def test_quantiles_against_scipy(name: str) -> None:
    distribution, oracle = FAMILIES[name], ORACLES[name]
    n = torch.linspace(-5.0, 0.0, 50, dtype=D)
    # upper tails through isf, which keeps its digits
    np.testing.assert_allclose(quantile(distribution, n), oracle.ppf(special.ndtr(n.numpy())), rtol=1e-9, atol=1e-15)
    np.testing.assert_allclose(quantile(distribution, -n), oracle.isf(special.ndtr(n.numpy())), rtol=1e-9, atol=1e-15)


def test_scores_against_scipy_at_probabilities_that_underflow() -> None:
    # P(Laplace < −z) = e^−z / 2, down to e^−1e6
    z = -torch.logspace(0, 6, 400, dtype=D)
    expected = special.ndtri_exp(z.numpy() - np.log(2))
    np.testing.assert_allclose(normal_score(td.Laplace(t(0.0), t(1.0)), z), expected, rtol=1e-12)


@pytest.mark.parametrize("name", FAMILIES)
def test_first_derivatives_are_density_ratios(name: str) -> None:
    distribution, normal = FAMILIES[name], td.Normal(t(0.0), t(1.0))
    n = torch.linspace(-3.3, 3.1, 40, dtype=D, requires_grad=True)
    z = quantile(distribution, n)
    (slope,) = torch.autograd.grad(z.sum(), n)
    expected = torch.exp(normal.log_prob(n) - distribution.log_prob(z)).detach()
    torch.testing.assert_close(slope, expected, rtol=1e-10, atol=1e-13)
    z = z.detach().requires_grad_()
    (slope,) = torch.autograd.grad(normal_score(distribution, z).sum(), z)
    torch.testing.assert_close(slope, 1 / expected, rtol=1e-10, atol=1e-13)


def test_mixture_quantile_derivatives_in_point_and_parameters_up_to_the_second() -> None:
    def draw(n: torch.Tensor, logits: torch.Tensor, means: torch.Tensor, log_scales: torch.Tensor) -> torch.Tensor:
        parts = td.Normal(means, torch.exp(log_scales), validate_args=False)
        return quantile(td.MixtureSameFamily(td.Categorical(logits=logits), parts), n)

    arguments = [t(-2.0, 0.2, 1.5), t(0.1, -0.4), t(-1.0, 1.3), t(0.2, -0.3)]
    arguments = [a.requires_grad_() for a in arguments]
    assert torch.autograd.gradcheck(draw, arguments)
    assert torch.autograd.gradgradcheck(draw, arguments)


@pytest.mark.filterwarnings("ignore:There is a performance drop")
def test_forward_mode_and_vmap_agree_with_reverse_mode() -> None:
    mixture = td.MixtureSameFamily(
        td.Categorical(t(0.3, 0.7), validate_args=False),
        td.Normal(t(-3.0, 2.0), t(0.5, 1.5), validate_args=False),
        validate_args=False,
    )
    n = torch.randn(7, generator=torch.Generator().manual_seed(1), dtype=D)
    reverse = torch.func.jacrev(lambda v: quantile(mixture, v))(n)
    torch.testing.assert_close(torch.func.jacfwd(lambda v: quantile(mixture, v))(n), reverse)
    single = torch.func.vmap(torch.func.grad(lambda v: quantile(mixture, v)))(n)
    torch.testing.assert_close(single, torch.diagonal(reverse))


def test_the_edge_of_the_support_scores_infinity() -> None:
    assert normal_score(td.Exponential(t(1.0)), t(0.0)).item() == -torch.inf
    assert normal_score(td.Uniform(t(0.0), t(1.0)), t(1.0)).item() == torch.inf


def test_a_gap_between_components_gives_no_nan() -> None:
    mixture = td.MixtureSameFamily(td.Categorical(t(0.5, 0.5)), td.Normal(t(-50.0, 50.0), t(0.1, 0.1)))
    n = t(-1e-3, 0.0, 1e-3).requires_grad_()
    z = quantile(mixture, n)
    (slope,) = torch.autograd.grad(z.sum(), n)
    assert torch.isfinite(z).all()
    assert torch.isfinite(slope).all()
    assert (z[0] < -49) & (z[2] > 49)


def test_components_that_lie_apart_leave_each_other_alone() -> None:
    mixture = mixture_of(td.Uniform(t(0.0, 2.0), t(1.0, 3.0), validate_args=False), validate_args=False)
    z = t(0.25, 0.9, 2.1, 2.9)
    torch.testing.assert_close(normal_score(mixture, z), td.Normal(t(0.0), t(1.0)).icdf(t(0.075, 0.27, 0.37, 0.93)))
    torch.testing.assert_close(quantile(mixture, normal_score(mixture, z)), z)
    # Pareto's laws and shifted ones are exponential behind a transform
    shifted = td.TransformedDistribution(td.Exponential(t(1.0, 2.0)), [td.AffineTransform(t(0.0, 1.0), t(1.0))])
    score = normal_score(mixture_of(shifted), t(0.5))
    torch.testing.assert_close(score, td.Normal(t(0.0), t(1.0)).icdf(0.3 * (1 - (-t(0.5)).exp())))


@pytest.mark.parametrize(
    "law",
    [
        td.LogNormal(t(0.0), t(1.0), validate_args=False),
        td.Pareto(t(1.0), t(2.0), validate_args=False),
        td.Kumaraswamy(t(2.0), t(3.0), validate_args=False),
        td.HalfNormal(t(1.0), validate_args=False),
    ],
    ids=lambda law: type(law).__name__,
)
def test_behind_a_transform_components_lie_apart_too(law: td.Distribution) -> None:
    """Beside one that has its mass below 0, and one that has it where the law has ended or not begun."""
    apart = td.AffineTransform(t(0.0, -1.0, 20.0), t(1.0, -1.0, 1.0))
    shifted = td.TransformedDistribution(law.expand((3,)), [apart], validate_args=False)
    mixture = td.MixtureSameFamily(td.Categorical(t(0.2, 0.5, 0.3)), shifted, validate_args=False)
    z = t(-1.75, 1.75, 0.75, 21.5).requires_grad_()
    lower, upper = log_tails(mixture, z)

    def share(at: torch.Tensor) -> torch.Tensor:
        bounds = (1.0 if isinstance(law, td.Pareto) else 0.0), (1.0 if isinstance(law, td.Kumaraswamy) else math.inf)
        inside = (at > bounds[0]) & (at < bounds[1])
        return torch.where(
            inside, law.cdf(torch.where(inside, at, 1.5 if bounds[1] > 1 else 0.5)), (at >= bounds[1]) * 1.0
        )

    points = z.detach()
    expected = 0.2 * share(points) + 0.5 * (1 - share(-1 - points)) + 0.3 * share(points - 20)
    torch.testing.assert_close(lower.exp(), expected)
    torch.testing.assert_close(upper.exp(), 1 - expected)
    (slope,) = torch.autograd.grad(lower.sum() + upper.sum(), z)
    assert slope.isfinite().all()


def test_float32_stays_float32_and_close() -> None:
    mixture32 = td.MixtureSameFamily(
        td.Categorical(torch.tensor([0.3, 0.7])), td.Normal(torch.tensor([-3.0, 2.0]), torch.tensor([0.5, 1.5]))
    )
    n = torch.linspace(-5, 5, 50)
    z = quantile(mixture32, n)
    assert z.dtype == torch.float32
    torch.testing.assert_close(z.double(), quantile(FAMILIES["normal mixture"], n.double()), rtol=1e-5, atol=1e-5)


def test_which_distributions_can_be_used() -> None:
    assert has_quantiles(mixture_of(td.Gamma(t(1.0, 2.0), t(1.0, 1.0))))
    assert has_quantiles(td.Kumaraswamy(t(2.0), t(3.0)))
    assert not has_quantiles(td.Beta(t(2.0), t(3.0)))
    # not monotone: PyTorch's inherited cdf would be wrong here
    assert not has_quantiles(td.TransformedDistribution(td.Normal(t(0.0), t(1.0)), [td.AbsTransform()]))
