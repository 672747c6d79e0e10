"""Riemannian metrics on latent space: pulled back through a decoder, or read off a posterior (§5.2)."""

from __future__ import annotations

from collections.abc import Callable

import torch

from curvae._checks import positive
from curvae._precision import full_precision
from curvae._rank import finite_or_zero, negligible
from curvae._typing import Bool, Float, Tensor
from curvae.curvature import pushforward
from curvae.curvature.gauss_newton import gram
from curvae.errors import InputError
from curvae.forward.pushforward import Decoder, unit_tangents
from curvae.forward.statistics import unmoved
from curvae.likelihoods import Likelihood
from curvae.likelihoods.gaussian import or_gaussian

Metric = Callable[[Float[Tensor, "B d"]], Float[Tensor, "B d d"]]
"""A field of symmetric positive (semi-)definite matrices: latents to G(z)."""


def pullback(
    decoder: Decoder,
    z: Float[Tensor, "B d"],
    likelihood: Likelihood | None = None,
    x: Tensor | None = None,
    chunk_size: int | None = None,
) -> Float[Tensor, "B d d"]:
    r"""The pull-back metric $G(z)=J_g^\top J_g$ of §5.2, or $G=-J_g^\top H_{p_x}J_g$ under an observation model.

    The first measures movements of the latents by how far the decoder's output moves; the second by how well the
    observation model tells the two apart. Without ``x`` the model is taken at its own mean, which makes G the Fisher
    information: $-H_{p_x}$ is linear in x, or free of it, for every model here.

    Args:
        decoder: $g$, ``[B, d] → [B, *D]``, in eval mode if it normalises over the batch.
        z: latents.
        likelihood: observation model; default: the Gaussian with σ = 1.
        x: observations at which to take the curvature; default: the mean of the observation model.
        chunk_size: Jacobian columns computed at a time; bounds memory.

    Returns:
        G(z), symmetric positive semi-definite (definite where J has full column rank); differentiable in z.

    Example:
        >>> pullback(lambda z: torch.stack([z[:, 0] ** 2, 3 * z[:, 1]], dim=1), torch.tensor([[1.0, 5.0]]))
        tensor([[[4., 0.],
                 [0., 9.]]])
    """
    likelihood = or_gaussian(likelihood)
    eta, columns = pushforward(unmoved(decoder), z, unit_tangents(z), chunk_size)
    with full_precision(z):
        eta, columns = eta.to(z.dtype), columns.to(z.dtype)
        return gram(likelihood.whiten(eta, likelihood.mean(eta) if x is None else x, columns)).to(z.dtype)


def from_covariance(covariance: Float[Tensor, "B d d"], beta: float) -> Float[Tensor, "B d d"]:
    r"""The metric $G=\beta(\Sigma^{-1}-I)$ that a trained posterior induces, with no Jacobian (§5.2, from (11)).

    It equals :func:`pullback` where Σ is the optimum (11) of a full covariance; for a trained posterior it is as good
    as the training was. Nothing is clamped: a Σ wider than the prior gives negative eigenvalues.

    Args:
        covariance: Σ of q(z|x), one per sample (``posterior.covariance()``).
        beta: β of the training.

    Returns:
        G at the posterior's mean, symmetric; NaN for a covariance that is not finite.

    Raises:
        InputError: if β is not positive, or a covariance not square.
        torch.linalg.LinAlgError: if a covariance is not positive definite.

    Example:
        >>> metric = from_covariance(torch.diag(torch.tensor([0.2, 0.5])).expand(1, 2, 2), beta=0.5)
        >>> torch.diagonal(metric, dim1=1, dim2=2)
        tensor([[2.0000, 0.5000]])
    """
    _check_square("the covariances have", covariance)
    finite, broken = finite_or_zero(covariance)
    usable = torch.where(broken[:, None, None], torch.eye(covariance.shape[-1]).to(covariance), finite)
    precision = torch.cholesky_inverse(torch.linalg.cholesky(usable))
    return from_precision(precision.masked_fill(broken[:, None, None], torch.nan), beta)


def from_precision(precision: Float[Tensor, "B d d"], beta: float) -> Float[Tensor, "B d d"]:
    r"""$G=\beta(\Sigma^{-1}-I)$ as :func:`from_covariance`, from the precision $\Sigma^{-1}$.

    Raises:
        InputError: if β is not positive.

    Example:
        >>> from_precision(torch.tensor([[[5.0]]]), beta=0.5)
        tensor([[[2.]]])
    """
    eye = torch.eye(precision.shape[-1], dtype=precision.dtype, device=precision.device)
    return positive("beta", beta) * (precision - eye)


def log_magnification(metric: Float[Tensor, "B d d"]) -> Float[Tensor, " B"]:
    r"""The logarithm of the volume (magnification) factor, $\tfrac12\log|G(z)|$.

    $\sqrt{|G|}\,dz$ is the volume that the decoder gives to a latent cell $dz$. A singular G has −∞: one that, with the
    latents brought to columns of length one, has an eigenvalue within rounding of zero. A G that is not finite or has a
    negative eigenvalue is no metric and has NaN.

    Example:
        >>> log_magnification(torch.diag(torch.tensor([4.0, 9.0])).expand(1, 2, 2)).exp()
        tensor([6.])
    """
    squares = torch.diagonal(metric, dim1=-2, dim2=-1).double()
    positive_or_one = torch.where(squares > 0, squares, 1.0)
    return ((log_det(cosines(metric, dead=0.0), metric) + positive_or_one.log().sum(-1)) / 2).to(metric.dtype)


def log_magnification_of(decoder: Decoder, z: Float[Tensor, "B d"]) -> Float[Tensor, " B"]:
    r"""$\tfrac12\log|J_g^\top J_g|=\sum_i\log\sigma_i(J_g)$ from the Jacobian's singular values.

    The same as :func:`log_magnification` of :func:`pullback`, for decoders so badly conditioned that the Gram matrix,
    which squares the condition number, has lost the answer and counts as singular. A Jacobian is singular, and has −∞,
    where a singular value of its columns, brought to length one, is within rounding of zero.

    Example:
        >>> log_magnification_of(lambda z: z * torch.tensor([2.0, 1e-15]), torch.zeros(1, 2))
        tensor([-33.8456])
    """
    columns = pushforward(unmoved(decoder), z, unit_tangents(z))[1].flatten(1, -2)
    if columns.shape[1] < columns.shape[2]:  # fewer outputs than latents: some directions have no volume
        return columns.new_full((len(columns),), -torch.inf)
    lengths = torch.linalg.vector_norm(columns, dim=1, dtype=torch.float64)
    lengths = torch.where(lengths > 0, lengths, 1.0)
    unit, broken = finite_or_zero(columns / lengths.unsqueeze(1))
    singular = negligible(torch.linalg.svdvals(unit.detach()), columns.dtype).any(-1)
    unit = torch.where(singular[:, None, None], torch.eye(*unit.shape[1:]).to(unit), unit)
    volume = torch.linalg.qr(unit).R.diagonal(dim1=-2, dim2=-1).abs().log().sum(-1) + lengths.log().sum(-1)
    return volume.masked_fill(singular, -torch.inf).masked_fill(broken, torch.nan).to(columns.dtype)


def _check_square(what: str, matrices: Tensor) -> None:
    if matrices.dim() < 2 or matrices.shape[-2] != matrices.shape[-1] or matrices.shape[-1] == 0:
        raise InputError(f"{what} shape {tuple(matrices.shape)}; expected square matrices [B, d, d], d >= 1")


def cosines(metric: Float[Tensor, "*N d d"], dead: float) -> Float[Tensor, "*N d d"]:
    """The metric with unit diagonal, in float64; columns of zeros keep zeros and get ``dead`` on the diagonal."""
    _check_square("the metrics have", metric)
    metric = metric.double()
    squares = torch.diagonal(metric, dim1=-2, dim2=-1)
    live = squares > 0
    inverse = torch.where(live, squares, 1.0).rsqrt() * live
    scaled = metric * inverse[..., :, None] * inverse[..., None, :]
    return scaled + torch.diag_embed(torch.where(live | squares.isnan(), 0.0, dead).to(metric))


def log_det(cosine: Float[Tensor, "*N d d"], metric: Float[Tensor, "*N d d"]) -> Float[Tensor, "*N"]:
    r"""$\log|C|$ of a metric's :func:`cosines`: −∞ where it is singular, NaN where it is not a metric."""
    singular, broken = degenerate(cosine, metric)
    usable = torch.where((singular | broken)[..., None, None], torch.eye(cosine.shape[-1]).to(cosine), cosine)
    return torch.linalg.slogdet(usable).logabsdet.masked_fill(singular, -torch.inf).masked_fill(broken, torch.nan)


def degenerate(
    cosine: Float[Tensor, "*N d d"], metric: Float[Tensor, "*N d d"]
) -> tuple[Bool[Tensor, "*N"], Bool[Tensor, "*N"]]:
    """Which metrics are singular to the rounding of their type, and which are not positive semi-definite or finite."""
    finite, broken = finite_or_zero(cosine.detach())
    spectrum = torch.linalg.eigvalsh(finite)
    squares = torch.diagonal(metric.detach(), dim1=-2, dim2=-1)
    # numbers below the type's smallest normal one have fewer digits
    tiny = torch.finfo(metric.dtype).tiny / torch.where(squares > 0, squares, torch.inf).amin(-1, keepdim=True)
    zero = negligible(spectrum, metric.dtype, tiny.clamp(min=1))
    broken = broken | ((spectrum < 0) & ~zero).any(-1) | (squares < 0).any(-1)
    return zero.any(-1) & ~broken, broken


def check_field(metrics: Float[Tensor, "N d d"], z: Float[Tensor, "N d"]) -> Float[Tensor, "N d d"]:
    """What a metric returned for latents, if it has the shape of metrics at each of them.

    Raises:
        InputError: it has another one.
    """
    if metrics.shape != (*z.shape, z.shape[1]):
        raise InputError(
            f"the metric returned shape {tuple(metrics.shape)} for latents {tuple(z.shape)}; expected a matrix for "
            "each of them, [N, d, d]"
        )
    return metrics


def check_metric(metrics: Float[Tensor, "N d d"], advice: str) -> None:
    """Refuse metrics that are not positive definite beyond rounding.

    Raises:
        InputError: one is not.
    """
    singular, broken = degenerate(cosines(metrics.detach(), dead=0.0), metrics)
    if bool((singular | broken).any()):
        worst = metrics.detach()[singular | broken][0].double()
        smallest = float(torch.linalg.eigvalsh(worst)[0]) if bool(worst.isfinite().all()) else float("nan")
        raise InputError(
            f"a metric has smallest eigenvalue {smallest:.3g}, zero to rounding or below; expected > 0: {advice}"
        )
