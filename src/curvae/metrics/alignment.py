"""How near a posterior's precision is to what the decoder implies."""

from __future__ import annotations

import math

import torch

from curvae._typing import Float, Tensor
from curvae.posteriors import Normal

_ROUNDING = 1e-12
"""Variance over mean square of what is constant: float32 leaves 1e-14 of its own, the difference of sums 1e-16."""


def relative_distance(precision: Float[Tensor, "B d d"], target: Float[Tensor, "B d d"]) -> Float[Tensor, " B"]:
    r"""$\|P-Q\|_F/\|Q\|_F$ for each sample.

    Args:
        precision: $P$, for example $\Sigma^{-1}_{z\mid x}$.
        target: $Q$, for example $I+\tfrac1\beta M$, which (11) says a full posterior should have.

    Example:
        >>> relative_distance(2 * torch.eye(3)[None], torch.eye(3)[None])
        tensor([1.])
    """
    return torch.linalg.matrix_norm(precision - target) / torch.linalg.matrix_norm(target)


def off_diagonal_moments(precision: Float[Tensor, "B d d"], target: Float[Tensor, "B d d"]) -> Float[Tensor, "B 6"]:
    """What :func:`correlation` needs of each sample's entries below the diagonal, so that no matrix need be kept.

    Args:
        precision: symmetric matrices.
        target: as many.

    Returns:
        Their number, the sums of p, q, p², q² and pq, in float64.
    """
    latents = precision.shape[-1]
    rows, columns = torch.tril_indices(latents, latents, offset=-1, device=precision.device)
    p, q = (side[:, rows, columns].double() for side in (precision, target))
    return torch.stack([torch.ones_like(p), p, q, p * p, q * q, p * q], dim=-1).sum(1)


def correlation(moments: Float[Tensor, "N 6"]) -> float | None:
    """Pearson's correlation over all data and pairs of latents.

    Args:
        moments: of :func:`off_diagonal_moments`.

    Returns:
        The correlation in [−1, 1], or None where one side does not vary beyond rounding: the precision of a mean-field
        posterior, or of a shared one of two latents.

    Example:
        >>> matrices = torch.tensor([[[1.0, 2.0], [2.0, 1.0]], [[1.0, 3.0], [3.0, 1.0]]])
        >>> round(correlation(off_diagonal_moments(matrices, 5 * matrices)), 6)
        1.0
        >>> correlation(off_diagonal_moments(torch.eye(2).expand(2, 2, 2), matrices)) is None
        True
    """
    count, p, q, pp, qq, pq = moments.sum(0).tolist()
    if count == 0:
        return None
    variances = (pp / count - (p / count) ** 2, qq / count - (q / count) ** 2)
    if variances[0] <= _ROUNDING * pp / count or variances[1] <= _ROUNDING * qq / count:
        return None
    value = (pq / count - p * q / count**2) / math.sqrt(variances[0] * variances[1])
    return max(-1.0, min(1.0, value))


def gap(implied: Float[Tensor, "B d d"], q: Normal, beta: float) -> Float[Tensor, " B"]:
    r"""How far (7) lies above (13): $\tfrac\beta2[\mathrm{tr}(Q\Sigma)-\log|Q\Sigma|-d]$ with $Q=I+\tfrac1\beta M$.

    Args:
        implied: $Q$.
        q: the posterior with covariance $\Sigma$.
        beta: β, > 0.

    Returns:
        ≥ 0, and 0 exactly where $\Sigma=Q^{-1}$ (11).

    Example:
        >>> from curvae.posteriors import Full
        >>> q = Normal(torch.zeros(1, 2), Full().factor(torch.zeros(1, 3), latents=2))
        >>> gap(torch.eye(2)[None], q, beta=0.2)
        tensor([0.])
    """
    root = q.factor.dense()
    product = root.mT @ implied @ root
    trace = product.diagonal(dim1=-2, dim2=-1).sum(-1)
    return 0.5 * beta * (trace - torch.linalg.slogdet(product).logabsdet - implied.shape[-1])
