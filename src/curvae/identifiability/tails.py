"""Both tails of a scalar distribution on a log scale: log F(z) and log(1 − F(z)).

A c.d.f. alone cannot tell z = 9 from z = 40 under a standard normal: both round to 1. The pair of logarithms can, and
the transforms of Appendix A need nothing else of a distribution.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

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
    Transform,
    TransformedDistribution,
    Uniform,
)

from curvae._typing import Float, Tensor

_LOG_2 = math.log(2.0)


def log_tails(distribution: Distribution, z: Float[Tensor, "*Z"]) -> tuple[Float[Tensor, "*B"], Float[Tensor, "*B"]]:
    """Return ``(log F(z), log(1 − F(z)))`` of a scalar distribution, each to its own full precision.

    Normal, Laplace, Exponential, Uniform, Cauchy, Gumbel and Gamma have closed forms; a ``TransformedDistribution`` of
    invertible scalar transforms (LogNormal, Weibull, Pareto, Kumaraswamy …) is traced back to its base, and a
    ``MixtureSameFamily`` mixes the tails of its components. Any other distribution goes through its own ``cdf``: then
    a tail below about 1e-10 (a normal score beyond 6) has few digits left.

    Components of a mixture may lie apart, such as uniform ones on several intervals: give mixture and components
    ``validate_args=False``, without which PyTorch refuses to say their density.

    Args:
        distribution: a scalar distribution (``event_shape == ()``) whose batch shape broadcasts with ``z``.
        z: points inside the support.

    Returns:
        log F(z) and log(1 − F(z)), in the shape that z and the batch shape broadcast to.

    Raises:
        NotImplementedError: if the distribution is none of those above and has no ``cdf`` (PyTorch's own error).

    Example:
        >>> lower, upper = log_tails(Normal(0.0, 1.0), torch.tensor(40.0, dtype=torch.float64))
        >>> round(upper.item(), 2)
        -804.61
    """
    match distribution:
        case Normal():
            t = (z - distribution.loc) / distribution.scale
            return torch.special.log_ndtr(t), torch.special.log_ndtr(-t)
        case Laplace():
            return _laplace((z - distribution.loc) / distribution.scale)
        case Exponential():
            return _above_zero(lambda t: (torch.log(-torch.expm1(-t)), -t), distribution.rate * z)
        case Uniform():
            width = distribution.high - distribution.low
            return _log_share((z - distribution.low) / width), _log_share((distribution.high - z) / width)
        case Cauchy():
            t, one = (z - distribution.loc) / distribution.scale, torch.ones_like(z)
            return torch.log(torch.atan2(one, -t) / math.pi), torch.log(torch.atan2(one, t) / math.pi)
        case Gumbel():
            t = torch.exp((distribution.loc - z) / distribution.scale)
            return -t, torch.log(-torch.expm1(-t))
        case Gamma():
            t = distribution.rate * z
            shape = distribution.concentration.expand_as(t)
            lower, upper = torch.special.gammainc, torch.special.gammaincc
            return _above_zero(lambda t: (torch.log(lower(shape, t)), torch.log(upper(shape, t))), t)
        case MixtureSameFamily():
            return _mixture(distribution, z)
        case TransformedDistribution() if is_monotone(distribution):
            return _transformed(distribution.base_dist, distribution.transforms, z)
        case _:
            share = distribution.cdf(z)
            sure = share >= 1
            return _log_share(share), torch.log1p(-share.clamp(min=0).masked_fill(sure, 0)).masked_fill(
                sure, -torch.inf
            )


def is_monotone(distribution: TransformedDistribution) -> bool:
    """Tell whether every transform is an invertible map of the real line, so that quantiles map to quantiles.

    Example:
        >>> is_monotone(torch.distributions.LogNormal(0.0, 1.0)), is_monotone(torch.distributions.HalfNormal(1.0))
        (True, False)
    """
    return all(t.bijective and t.domain.event_dim == t.codomain.event_dim == 0 for t in distribution.transforms)


def _above_zero(tails: Callable[[Tensor], tuple[Tensor, Tensor]], t: Tensor) -> tuple[Tensor, Tensor]:
    """Tails of what is positive; another component of a mixture may ask for them below 0."""
    outside = t <= 0
    lower, upper = tails(torch.where(outside, 1.0, t))
    return lower.masked_fill(outside, -torch.inf), upper.masked_fill(outside, 0.0)


def _log_share(share: Tensor) -> Tensor:
    """The logarithm of a share, 0 or 1 beyond these."""
    outside = share <= 0
    return torch.where(outside, 1.0, share).clamp(max=1.0).log().masked_fill(outside, -torch.inf)


def _laplace(t: Tensor) -> tuple[Tensor, Tensor]:
    # where, not abs: the density has a kink at 0, but its c.d.f. has a slope there, which sign(0) = 0 would lose
    distance = torch.where(t < 0, -t, t)
    near, far = torch.log1p(-torch.exp(-distance) / 2), -distance - _LOG_2
    return torch.where(t < 0, far, near), torch.where(t < 0, near, far)


def _mixture(distribution: MixtureSameFamily, z: Tensor) -> tuple[Tensor, Tensor]:
    weights = torch.log_softmax(distribution.mixture_distribution.logits, dim=-1)
    lower, upper = log_tails(distribution.component_distribution, z[..., None])
    return torch.logsumexp(weights + lower, dim=-1), torch.logsumexp(weights + upper, dim=-1)


def _transformed(base: Distribution, transforms: Sequence[Transform], z: Tensor) -> tuple[Tensor, Tensor]:
    """Tails of a base behind transforms; z may lie where the last of these does not reach."""
    if not transforms:
        return log_tails(base, z)
    *others, last = transforms
    below = z <= getattr(last.codomain, "lower_bound", -torch.inf)
    above = z >= getattr(last.codomain, "upper_bound", torch.inf)
    inside = torch.where(below | above, last(torch.ones_like(z)), z)
    lower, upper = _transformed(base, others, last.inv(inside))
    increasing = torch.as_tensor(last.sign, device=z.device) > 0
    lower, upper = torch.where(increasing, lower, upper), torch.where(increasing, upper, lower)
    lower, upper = lower.masked_fill(below, -torch.inf), upper.masked_fill(above, -torch.inf)
    return lower.masked_fill(above, 0.0), upper.masked_fill(below, 0.0)
