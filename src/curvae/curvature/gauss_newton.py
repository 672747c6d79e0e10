"""Gauss–Newton curvature of the log-likelihood in the latents."""

from __future__ import annotations

from curvae._precision import full_precision
from curvae._typing import Float, Int, Tensor
from curvae.errors import InputError
from curvae.forward.pushforward import Decoder, pushforward, unit_tangents
from curvae.likelihoods import Likelihood


def gauss_newton(
    fn: Decoder, z: Float[Tensor, "B d"], x: Tensor, likelihood: Likelihood, chunk_size: int | None = None
) -> Float[Tensor, "B d d"]:
    r"""$M(z)=-J_g^\top H_{p_x}J_g$, the first term of (5), positive semi-definite.

    Args:
        fn: decoder.
        z: latents, usually the posterior's means.
        x: observations.
        likelihood: observation model; it whitens the Jacobian's columns.
        chunk_size: columns computed at a time.

    Example:
        >>> import torch
        >>> from curvae.likelihoods import Gaussian
        >>> gauss_newton(lambda z: 3 * z, torch.zeros(1, 2), torch.zeros(1, 2), Gaussian())
        tensor([[[9., 0.],
                 [0., 9.]]])
    """
    return gram(whitened(fn, z, x, likelihood, unit_tangents(z), chunk_size)[1]).to(z.dtype)


def whitened(
    fn: Decoder,
    z: Float[Tensor, "B d"],
    x: Tensor,
    likelihood: Likelihood,
    tangents: Float[Tensor, "m d K"],
    chunk_size: int | None = None,
    chosen: Int[Tensor, " m"] | None = None,
) -> tuple[Float[Tensor, "B *D"], Float[Tensor, "m *E K"]]:
    r"""The decoder's output $\eta$ and $T=L\,J_g(z)\,v$ for each tangent $v$, so that $T^\top T=v^\top Mv$.

    As in :func:`~curvae.curvature.pushforward`, only ``chosen`` data may have tangents. The axes E are those of D, or
    a single one of size 1 where the decoder gives one number for each sample, D = ().
    """
    eta, pushed = pushforward(fn, z, tangents, chunk_size, chosen)
    with full_precision(z):
        eta, pushed = eta.to(z.dtype), pushed.to(z.dtype)
        at, data = (eta, x) if chosen is None else (eta.index_select(0, chosen), x.index_select(0, chosen))
        white = likelihood.whiten(at, data, pushed)
    if white.shape != pushed.shape:
        raise InputError(
            f"{likelihood}.whiten gave shape {tuple(white.shape)} for tangents of shape {tuple(pushed.shape)}; "
            "it has to act on the data that it is given"
        )
    return eta, white if white.dim() > 2 else white.unsqueeze(1)


def gram(tangents: Float[Tensor, "B *D K"]) -> Float[Tensor, "B K K"]:
    r"""$T^\top T$ in float64, because a Gram matrix squares the condition number."""
    with full_precision(tangents):
        flat = _flat(tangents).double()
        return flat.mT @ flat


def column_norms(tangents: Float[Tensor, "B *D K"]) -> Float[Tensor, "B K"]:
    r"""$\|T_{:k}\|^2$: the diagonal of :func:`gram` without the rest."""
    with full_precision(tangents):
        return _flat(tangents).square().sum(1)


def _flat(tangents: Float[Tensor, "B *D K"]) -> Float[Tensor, "B D K"]:
    return tangents.flatten(1, -2) if tangents.dim() > 2 else tangents.unsqueeze(1)
