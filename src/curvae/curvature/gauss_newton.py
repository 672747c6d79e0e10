"""Gauss–Newton curvature of the log-likelihood in the latents."""

from __future__ import annotations

from curvae._precision import full_precision
from curvae._typing import Float, Tensor
from curvae.curvature.linearised import Linearised
from curvae.forward.pushforward import Decoder, unit_tangents
from curvae.likelihoods import Likelihood


def gauss_newton(
    fn: Decoder, z: Float[Tensor, "B *L"], x: Tensor, likelihood: Likelihood, chunk_size: int | None = None
) -> Float[Tensor, "B d d"]:
    r"""$M(z)=-J_g^\top H_{p_x}J_g$, the first term of (5), positive semi-definite.

    Args:
        fn: decoder.
        z: latents, usually the posterior's means.
        x: observations.
        likelihood: observation model; it whitens the Jacobian's columns.
        chunk_size: columns computed at a time.

    Raises:
        InputError: latents, data or a decoder that do not go together, or derivatives that cannot be had.

    Example:
        >>> import torch
        >>> from curvae.likelihoods import Gaussian
        >>> gauss_newton(lambda z: 3 * z, torch.zeros(1, 2), torch.zeros(1, 2), Gaussian())
        tensor([[[9., 0.],
                 [0., 9.]]])
    """
    at = Linearised(fn, z, x, likelihood)
    return gram(at.push(unit_tangents(at.latents), chunk_size)[1]).to(z.dtype)


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
