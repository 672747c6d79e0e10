"""Normal scores: Φ⁻¹∘F of a scalar distribution, and the way back F⁻¹∘Φ, accurate far into both tails."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch.distributions import (
    Cauchy,
    Distribution,
    Exponential,
    Gamma,
    Gumbel,
    Laplace,
    MixtureSameFamily,
    Normal,
    TransformedDistribution,
    Uniform,
)

from curvae._typing import Float, Tensor
from curvae.identifiability.tails import is_monotone, log_tails

_LOG_2, _LOG_2PI = math.log(2.0), math.log(2 * math.pi)
_BISECTIONS, _REFINEMENTS = 60, 4

# x -> (residual, slope): an increasing function whose zero is wanted, and its derivative
Equation = Callable[[Tensor], tuple[Tensor, Tensor]]


def normal_score(distribution: Distribution, z: Float[Tensor, "*Z"]) -> Float[Tensor, "*B"]:
    """Map a draw of a scalar distribution to a standard normal one, n = Φ⁻¹(F(z)) (Appendix A).

    Args:
        distribution: scalar, continuous (see :func:`~curvae.identifiability.tails.log_tails` for how far into the
            tails each family stays exact).
        z: points strictly inside the support.

    Returns:
        Normal scores; differentiable in ``z`` and in the distribution's parameters, up to third derivatives.

    Example:
        >>> normal_score(Exponential(2.0), torch.tensor([0.1, 1.0, 30.0], dtype=torch.float64))
        tensor([-0.9105,  1.1015, 10.6496], dtype=torch.float64)
    """
    if isinstance(distribution, Normal):
        return (z - distribution.loc) / distribution.scale
    lower, upper = log_tails(distribution, z)
    # the smaller tail carries the digits
    below = lower < upper
    score = _inverse_log_ndtr(torch.where(below, lower, upper))
    return torch.where(below, score, -score)


def quantile(distribution: Distribution, n: Float[Tensor, "*Z"]) -> Float[Tensor, "*B"]:
    """Map a standard normal draw to one of a scalar distribution, z = F⁻¹(Φ(n)): the inverse of :func:`normal_score`.

    Closed form where there is one. Gamma and mixtures are inverted numerically: bisection on the logarithm of the
    smaller tail (a mixture's quantile lies between those of its components), then Newton; derivatives follow from the
    implicit function theorem. Any other distribution uses its own ``icdf``, good up to \\|n\\| of about 6.

    Args:
        distribution: scalar, continuous.
        n: normal scores.

    Returns:
        Points of the distribution's support; differentiable in ``n`` and in the parameters, up to third derivatives.

    Raises:
        NotImplementedError: if the distribution is none of those above and has no ``icdf`` (PyTorch's own error).

    Example:
        >>> n = torch.tensor([-30.0, 0.0, 30.0], dtype=torch.float64)
        >>> quantile(Laplace(0.0, 1.0), n)
        tensor([-453.6281,    0.0000,  453.6281], dtype=torch.float64)
    """
    match distribution:
        case Normal():
            return distribution.loc + distribution.scale * n
        case Exponential():
            return -torch.special.log_ndtr(-n) / distribution.rate
        case Gumbel():
            return distribution.loc - distribution.scale * torch.log(-torch.special.log_ndtr(n))
        case Laplace():
            return distribution.loc + distribution.scale * _odd(lambda m: _LOG_2 + torch.special.log_ndtr(m), n)
        case Cauchy():
            centred = _odd(lambda m: -1 / torch.tan(math.pi * _ndtr(m)), n)
            return distribution.loc + distribution.scale * centred
        case Uniform():
            low, high = distribution.low, distribution.high
            return torch.where(n < 0, low + (high - low) * _ndtr(n), high - (high - low) * _ndtr(-n))
        case Gamma():
            return _gamma_quantile(distribution, n)
        case MixtureSameFamily():
            ends = quantile(distribution.component_distribution, n[..., None]).detach()
            return _solve(_equation(distribution, n), ends.amin(-1), ends.amax(-1))
        case TransformedDistribution() if is_monotone(distribution):
            return _transformed_quantile(distribution, n)
        case _:
            return distribution.icdf(_ndtr(n))


def has_quantiles(distribution: Distribution) -> bool:
    """Tell whether :func:`normal_score` and :func:`quantile` can work with a distribution.

    Example:
        >>> has_quantiles(torch.distributions.LogNormal(0.0, 1.0)), has_quantiles(torch.distributions.StudentT(3.0))
        (True, False)
    """
    match distribution:
        case Normal() | Laplace() | Exponential() | Uniform() | Cauchy() | Gumbel() | Gamma():
            return True
        case MixtureSameFamily():
            return has_quantiles(distribution.component_distribution)
        case TransformedDistribution() if is_monotone(distribution):
            return has_quantiles(distribution.base_dist)
        case _:
            # a non-monotone TransformedDistribution inherits a cdf, but not a right one
            kind = type(distribution)
            inherited = (Distribution.cdf, TransformedDistribution.cdf, Distribution.icdf, TransformedDistribution.icdf)
            return kind.cdf not in inherited and kind.icdf not in inherited


def _ndtr(n: Tensor) -> Tensor:
    # torch.special.ndtr is ½(1 + erf), which has lost every digit of the lower tail by n = −8
    return torch.special.erfc(-n / math.sqrt(2.0)) / 2


def _odd(half: Callable[[Tensor], Tensor], n: Tensor) -> Tensor:
    """Extend a function known (accurately) for n ≤ 0 to an odd one."""
    value = half(torch.where(n < 0, n, -n))
    return torch.where(n < 0, value, -value)


def _transformed_quantile(distribution: TransformedDistribution, n: Tensor) -> Tensor:
    for transform in distribution.transforms:
        n = n * transform.sign
    z = quantile(distribution.base_dist, n)
    for transform in distribution.transforms:
        z = transform(z)
    return z


def _gamma_quantile(distribution: Gamma, n: Tensor) -> Tensor:
    # in y = log(rate z), so that the lower tail of a small concentration (z ~ 1e-100) is as reachable as the upper
    standard = Gamma(distribution.concentration, torch.ones_like(distribution.concentration), validate_args=False)
    target = _equation(standard, n)

    def equation(y: Tensor) -> tuple[Tensor, Tensor]:
        residual, slope = target(torch.exp(y))
        return residual, slope * torch.exp(y)

    edge = math.log(torch.finfo(n.dtype).tiny)
    low = torch.full_like(n + distribution.concentration.detach(), edge)
    return torch.exp(_solve(equation, low, -low)) / distribution.rate


def _equation(distribution: Distribution, n: Tensor) -> Equation:
    """F(z) = Φ(n), written with the logarithm of whichever tail is the smaller one at n."""
    below = n < 0
    target = torch.special.log_ndtr(torch.where(below, n, -n))

    def equation(z: Tensor) -> tuple[Tensor, Tensor]:
        lower, upper = log_tails(distribution, z)
        tail = torch.where(below, lower, upper)
        return torch.where(below, tail - target, target - tail), torch.exp(distribution.log_prob(z) - tail)

    return equation


def _solve(equation: Equation, low: Tensor, high: Tensor) -> Tensor:
    """Find the zero between ``low`` and ``high``; the iterations are off the graph, the derivatives exact."""
    with torch.no_grad():
        low, high = low.detach(), high.detach()
        for _ in range(_BISECTIONS):
            middle = _between(low, high)
            above = equation(middle)[0] > 0
            low, high = torch.where(above, low, middle), torch.where(above, middle, high)
        x = _between(low, high)
        for _ in range(_REFINEMENTS):
            step = _newton(equation, x)
            x = torch.where((step >= low) & (step <= high), step, x)
    return _attach(equation, x.detach())


def _between(low: Tensor, high: Tensor) -> Tensor:
    # the geometric mean inside one sign: a quantile of 1e-100 is then found to the same relative precision as one of 1
    geometric = torch.sqrt(low.abs()) * torch.sqrt(high.abs())
    arithmetic = low + (high - low) / 2
    return torch.where(low > 0, geometric, torch.where(high < 0, -geometric, arithmetic))


def _newton(equation: Equation, x: Tensor) -> Tensor:
    residual, slope = equation(x)
    # between two far components F is flat to rounding and the zero has no definite place: stay
    return x - residual / torch.where(slope > 0, slope, torch.inf)


def _attach(equation: Equation, x: Tensor) -> Tensor:
    """Give a solution its derivatives: the implicit function theorem as Newton steps.

    At a zero a Newton step does not move, and its first derivative is that of the solution; as the error of Newton's
    method squares at each step, so does the order: two steps carry exact derivatives up to the third.
    """
    return _newton(equation, _newton(equation, x))


def _inverse_log_ndtr(log_p: Tensor) -> Tensor:
    """Solve log Φ(n) = log_p for n, for log_p ≤ log ½ however small."""

    def equation(n: Tensor) -> tuple[Tensor, Tensor]:
        value = torch.special.log_ndtr(n)
        return value - log_p, torch.exp(-(n * n + _LOG_2PI) / 2 - value)

    with torch.no_grad():
        # log Φ is concave and increasing: Newton converges from anywhere, here from its leading tail behaviour
        far = -torch.sqrt(torch.clamp(-2 * log_p - _LOG_2PI - torch.log(torch.clamp(-2 * log_p, min=1.0)), min=0.0))
        near = torch.special.ndtri(torch.exp(log_p))
        n = torch.where(log_p > math.log(torch.finfo(log_p.dtype).tiny) / 2, near, far)
        for _ in range(_REFINEMENTS):
            n = _newton(equation, n)
    # a point on the very edge of the support has no finite score
    return torch.where(torch.isinf(log_p), log_p, _attach(equation, n.detach()))
