"""How flat and how orthogonal a decoder is: numbers read off its metric at a sample of latents."""

from __future__ import annotations

from collections.abc import Callable

import torch

from curvae._once import with_gradient_of
from curvae._typing import Float, Tensor
from curvae.errors import InputError
from curvae.forward.kernels import root
from curvae.geometry.metric import check_metric, cosines, log_det

_KARCHER_STEPS, _KARCHER_TOLERANCE = 200, 1e-10


def flatness(metrics: Float[Tensor, "N d d"]) -> Float[Tensor, ""]:
    r"""Relative dispersion of the metric over a sample, $\sqrt{\tfrac1N\sum_n\|G_n-\bar G\|_F^2}\,/\,\|\bar G\|_F$.

    $\bar G$ is the mean. 0 if and only if G is the same everywhere, as a shared Σ encourages (§5.2); no upper bound.
    Invariant under rotations of the latents and under a common scale, not under other linear maps of them.

    Args:
        metrics: G at N latents, best drawn where the aggregate posterior lies.

    Raises:
        InputError: if there is no metric, or the mean metric is zero or not finite.

    Example:
        >>> flatness(torch.eye(2).expand(5, 2, 2))
        tensor(0.)
        >>> flatness(torch.tensor([[[1.0]], [[3.0]]]))
        tensor(0.5000)
    """
    _check_sample(metrics)
    mean = metrics.mean(0)
    size = torch.linalg.matrix_norm(mean)
    if not (size > 0 and torch.isfinite(size)):
        raise InputError(f"the mean metric has norm {size.item():.3g}; expected a finite number > 0")
    return root((metrics - mean).square().sum((-2, -1)).mean()) / size


def affine_flatness(metrics: Float[Tensor, "N d d"]) -> Float[Tensor, ""]:
    r"""Dispersion of the metric in the affine-invariant distance, $\sqrt{\tfrac1{Nd}\sum_n\delta(G_n,\hat G)^2}$.

    $\delta(A,B)=\|\log(A^{-1/2}BA^{-1/2})\|_F$ and $\hat G$ is the Karcher mean, which minimises the sum. It is
    unchanged by any linear change of the latents, and it is the root mean square of the log of the factor by which
    squared lengths differ between places: 0 iff flat, 0.1 for about 10 %. Linear in the log, so all d directions
    count alike, strong or weak. Its gradient holds $\hat G$ fixed, which minimises the sum (envelope theorem), so that
    eigenvalues that are equal do no harm; second derivatives are refused.

    Args:
        metrics: G at N latents, positive definite.

    Raises:
        InputError: if there is no metric, or one is not positive definite (a dead latent, say) or not finite.

    Example:
        >>> round(affine_flatness(torch.tensor([[[1.0]], [[torch.e**2]]])).item(), 5)
        1.0
    """
    _check_sample(metrics)
    check_metric(metrics, "leave dead latents out, or use flatness")
    metrics, dtype = metrics.double(), metrics.dtype
    inverse = _inverse_root_of_karcher_mean(metrics)
    whitened = inverse @ metrics @ inverse
    logs = torch.linalg.eigvalsh((whitened + whitened.mT) / 2).log()
    dispersion = logs.square().sum(-1).mean() / metrics.shape[-1]
    return root(with_gradient_of(dispersion, dispersion, "the dispersion around a Karcher mean")).to(dtype)


def hadamard_gap(metric: Float[Tensor, "B d d"]) -> Float[Tensor, " B"]:
    r"""$\sum_i\log G_{ii}-\log|G|\ge0$, what Hadamard's inequality gives away: 0 iff the columns are orthogonal.

    With $I+G/\beta$ in place of G it is the looseness of (14), per sample and in units of β/2. The scale of a column
    does not matter, and a column that is exactly zero counts as orthogonal to all. Infinite where the other columns
    are linearly dependent, to the rounding of the metric's type (as in :func:`~curvae.geometry.log_magnification`).

    Args:
        metric: G (or M) for each sample, positive semi-definite.

    Example:
        >>> hadamard_gap(torch.tensor([[[1.0, 0.6], [0.6, 1.0]], [[4.0, 0.0], [0.0, 0.0]]]))
        tensor([0.4463, 0.0000])
    """
    given_away = -log_det(cosines(metric, dead=1.0), metric)
    return torch.where(given_away <= 0, 0.0, given_away).to(metric.dtype)


def mean_cosine(metric: Float[Tensor, "B d d"]) -> Float[Tensor, " B"]:
    r"""Mean $|\cos|$ of the angles between pairs of Jacobian columns, $|G_{ij}|/\sqrt{G_{ii}G_{jj}}$: 0 … 1.

    0 iff the columns are orthogonal, 1 iff all are parallel. Pairs with a column that is exactly zero are left out, or
    whose square is negative by a rounding of the largest; without any pair the mean is 0. NaN where G is no metric: a
    number on the diagonal is negative beyond that, or a cosine beyond 1.

    Args:
        metric: G (or M) for each sample, positive semi-definite.

    Example:
        >>> mean_cosine(torch.tensor([[[1.0, 0.5], [0.5, 1.0]]]))
        tensor([0.5000])
    """
    sizes = cosines(metric, dead=0.0).abs()
    squares = torch.diagonal(metric, dim1=-2, dim2=-1)
    live = (squares > 0).sum(-1)
    rounding = torch.finfo(metric.dtype).eps ** 0.5
    # a latent out of use, whose posterior is the prior to rounding, is below 0 as often as above
    negative = squares < -rounding * squares.amax(-1, keepdim=True)
    broken = negative.any(-1) | (sizes.detach() > 1 + rounding).any(-1).any(-1)
    total = sizes.sum((-2, -1)) - torch.diagonal(sizes, dim1=-2, dim2=-1).sum(-1)
    return (total / (live * (live - 1)).clamp(min=1)).masked_fill(broken, torch.nan).to(metric.dtype)


def _check_sample(metrics: Tensor) -> None:
    if metrics.dim() != 3 or metrics.shape[1] != metrics.shape[2]:
        raise InputError(f"the metrics have shape {tuple(metrics.shape)}; expected [N, d, d]")
    if not len(metrics):
        raise InputError("there are no metrics; expected at least one")


@torch.no_grad()
def _inverse_root_of_karcher_mean(metrics: Tensor) -> Tensor:
    r"""$\hat G^{-1/2}$ of the mean, where $\log(\hat G^{-1/2}G_n\hat G^{-1/2})$ sum to zero: its own equation."""
    mean = _spectral(_spectral(metrics, torch.log).mean(0), torch.exp)
    for _ in range(_KARCHER_STEPS):
        half, inverse = _spectral(mean, torch.sqrt), _spectral(mean, torch.rsqrt)
        logs = _spectral(inverse @ metrics @ inverse, torch.log)
        gradient = logs.mean(0)
        if torch.linalg.matrix_norm(gradient) < _KARCHER_TOLERANCE:
            break
        mean = half @ _spectral(_step_size(logs) * gradient, torch.exp) @ half
    return inverse


def _step_size(logs: Tensor) -> Tensor:
    # the Hessian's eigenvalues lie in [1, mean of c/2 coth(c/2)], c the width of each log's spectrum (Bini & Iannazzo,
    # Computing the Karcher mean of symmetric positive definite matrices, 2013): the best step for that interval
    eigenvalues = torch.linalg.eigvalsh(logs)
    half = ((eigenvalues[:, -1] - eigenvalues[:, 0]) / 2).clamp(min=1e-6)
    return 2 / (1 + (half / torch.tanh(half)).mean())


def _spectral(matrices: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
    """Apply a function to the eigenvalues of symmetric matrices."""
    eigenvalues, vectors = torch.linalg.eigh((matrices + matrices.mT) / 2)
    return (vectors * function(eigenvalues)[..., None, :]) @ vectors.mT
