r"""Length and energy of curves in latent space, as the decoder or a metric sees them.

A curve is T ≥ 2 points ``[B, T, d]``, passed at the times $0, \frac1{T-1}, \dots, 1$. Its energy is
$E=\frac12\int_0^1|\dot\gamma|^2dt$ and its length $L=\int_0^1|\dot\gamma|dt$, so that $L^2\le2E$, with equality at
constant speed.
"""

from __future__ import annotations

import torch

from curvae._typing import Float, Tensor
from curvae.errors import InputError
from curvae.forward.kernels import root
from curvae.forward.pushforward import Decoder
from curvae.forward.statistics import unmoved
from curvae.geometry.metric import Metric, check_field


def length(decoder: Decoder, curve: Float[Tensor, "B T d"]) -> Float[Tensor, " B"]:
    r"""Length of the decoded curve, $\sum_t\|g(z_{t+1})-g(z_t)\|$.

    The length of the polygon through the decoded points: a lower bound of the curve's own length, converging to it
    with the square of the spacing.

    Args:
        decoder: $g$, ``[B, d] → [B, *D]``, in eval mode if it normalises over the batch.
        curve: latents along each curve.

    Raises:
        InputError: if the curve is not ``[B, T, d]`` of floating-point numbers with T ≥ 2.

    Example:
        >>> length(lambda z: 3 * z, torch.tensor([[[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]]]))
        tensor([6.])
    """
    return root(_decoded_steps(decoder, curve)).sum(-1)


def energy(decoder: Decoder, curve: Float[Tensor, "B T d"]) -> Float[Tensor, " B"]:
    r"""Energy of the decoded curve, $\frac{T-1}2\sum_t\|g(z_{t+1})-g(z_t)\|^2$.

    Args:
        decoder: as for :func:`length`.
        curve: latents along each curve.

    Raises:
        InputError: as :func:`length`.

    Example:
        >>> energy(lambda z: 3 * z, torch.tensor([[[0.0], [0.5], [1.0]]]))
        tensor([4.5000])
    """
    return _decoded_steps(decoder, curve).sum(-1) * (curve.shape[1] - 1) / 2


def metric_length(metric: Metric, curve: Float[Tensor, "B T d"]) -> Float[Tensor, " B"]:
    r"""Length under a metric, $\sum_t\sqrt{\Delta_t^\top G(\bar z_t)\,\Delta_t}$, $\bar z_t$ a step's midpoint.

    NaN where a step's square is negative beyond rounding, which that of no metric is.

    Args:
        metric: ``[B, d] → [B, d, d]``, for instance ``lambda z: pullback(decoder, z)`` or one from a posterior.
        curve: latents along each curve.

    Raises:
        InputError: as :func:`length`, or a metric of another shape.

    Example:
        >>> flat = torch.diag(torch.tensor([4.0, 1.0]))
        >>> metric_length(lambda z: flat.expand(len(z), 2, 2), torch.tensor([[[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]]]))
        tensor([3.])
    """
    squares, sizes = _metric_steps(metric, curve)
    rounding = 8 * torch.finfo(squares.dtype).eps * sizes
    return root(torch.where(squares.abs() <= rounding, 0.0, squares)).sum(-1)


def metric_energy(metric: Metric, curve: Float[Tensor, "B T d"]) -> Float[Tensor, " B"]:
    r"""Energy under a metric, $\frac{T-1}2\sum_t\Delta_t^\top G(\bar z_t)\,\Delta_t$.

    Args:
        metric: as for :func:`metric_length`.
        curve: latents along each curve.

    Raises:
        InputError: as :func:`metric_length`.

    Example:
        >>> metric_energy(lambda z: torch.eye(1).expand(len(z), 1, 1), torch.tensor([[[0.0], [0.5], [1.0]]]))
        tensor([0.5000])
    """
    return _metric_steps(metric, curve)[0].sum(-1) * (curve.shape[1] - 1) / 2


def _decoded_steps(decoder: Decoder, curve: Tensor) -> Tensor:
    """Squared lengths of the decoded steps, [B, T − 1]."""
    _check_curve(curve)
    decoded = unmoved(decoder)(curve.flatten(0, 1)).unflatten(0, curve.shape[:2]).flatten(2)
    return decoded.diff(dim=1).square().sum(-1)


def _metric_steps(metric: Metric, curve: Tensor) -> tuple[Tensor, Tensor]:
    """Squared lengths of the steps under the metric at their midpoints, [B, T − 1], and the most that they may be."""
    _check_curve(curve)
    steps, midpoints = curve.diff(dim=1), (curve[:, 1:] + curve[:, :-1]) / 2
    at = check_field(unmoved(metric)(midpoints.flatten(0, 1)), midpoints.flatten(0, 1)).unflatten(0, steps.shape[:2])
    columns = torch.diagonal(at.detach(), dim1=-2, dim2=-1).abs().sqrt()
    return torch.einsum("bti,btij,btj->bt", steps, at, steps), (steps.detach().abs() * columns).sum(-1).square()


def _check_curve(curve: Tensor) -> None:
    if curve.dim() != 3 or curve.shape[1] < 2:
        raise InputError(f"the curve has shape {tuple(curve.shape)}; expected [B, T, d] with T >= 2 points")
    if not curve.is_floating_point():
        raise InputError(f"the curve is of {curve.dtype}; expected floating-point latents: curve.float()")
