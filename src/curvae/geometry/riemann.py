"""Curvature of a metric on latent space, by differentiating it forward (§5.2 names curvature as a use)."""

from __future__ import annotations

import torch

from curvae._rank import NOISE
from curvae._typing import Float, Tensor
from curvae.curvature import jacobian, unchecked
from curvae.errors import InputError
from curvae.forward.statistics import unmoved
from curvae.geometry.metric import Metric, check_field, check_metric

_ADVICE = "curvature needs an invertible metric, so leave dead latents out"


def christoffel(metric: Metric, z: Float[Tensor, "B d"]) -> Float[Tensor, "B d d d"]:
    r"""$\Gamma^k_{ij}=\tfrac12G^{kl}(\partial_iG_{jl}+\partial_jG_{il}-\partial_lG_{ij})$, indexed ``[b, k, i, j]``.

    A geodesic obeys $\ddot z^k+\Gamma^k_{ij}\dot z^i\dot z^j=0$.

    Args:
        metric: differentiable, positive definite at z. It acts on each row by itself.
        z: latents.

    Raises:
        InputError: if a metric is singular, to rounding, or of another shape, or z is not ``[B, d]``.

    Example:
        The polar plane, $G=\mathrm{diag}(1, r^2)$, has $\Gamma^r_{\theta\theta}=-r$:

        >>> def polar(z):
        ...     return torch.diag_embed(torch.stack([torch.ones_like(z[:, 0]), z[:, 0] ** 2], dim=1))
        >>> christoffel(polar, torch.tensor([[2.0, 0.3]]))[0, 0]
        tensor([[ 0.,  0.],
                [ 0., -2.]])
    """
    _check_latents(z)
    metric = unmoved(metric)
    check_metric(check_field(metric(z), z), _ADVICE)
    return _christoffel(metric, z)


def _christoffel(metric: Metric, z: Float[Tensor, "B d"]) -> Float[Tensor, "B d d d"]:
    partial = jacobian(metric, z)  # [b, i, j, l] = ∂_l G_ij
    lowered = partial.permute(0, 2, 3, 1) + partial.permute(0, 2, 1, 3) - partial.permute(0, 3, 1, 2)
    d = z.shape[1]
    return (torch.linalg.solve(metric(z), lowered.flatten(2)) / 2).unflatten(2, (d, d))


def riemann(metric: Metric, z: Float[Tensor, "B d"]) -> Float[Tensor, "B d d d d"]:
    r"""The curvature tensor, $R_{lkij}=\langle R(\partial_i,\partial_j)\partial_k,\partial_l\rangle$.

    All indices are lowered, in the order ``[b, l, k, i, j]``, and the sign is that of
    $R(\partial_i,\partial_j)\partial_k=\nabla_i\nabla_j\partial_k-\nabla_j\nabla_i\partial_k$.

    Costs d² forward passes through the metric, and d⁴ numbers: for small d. Needs a twice differentiable metric; a
    piecewise-linear decoder is flat wherever it is differentiable.

    Raises:
        InputError: as :func:`christoffel`.

    Example:
        The hyperbolic plane, $G=I/y^2$, has $R_{xyxy}=-|G|$:

        >>> def hyperbolic(z):
        ...     return torch.eye(2).to(z) / z[:, 1, None, None] ** 2
        >>> riemann(hyperbolic, torch.tensor([[0.0, 0.5]]))[0, 0, 1]
        tensor([[  0., -16.],
                [ 16.,   0.]])
    """
    metric = unmoved(metric)
    gamma = christoffel(metric, z)
    with unchecked():  # the metric has been looked at, and this is made of it
        partial = jacobian(lambda point: _christoffel(metric, point), z)  # [b, l, j, k, i] = ∂_i Γ^l_jk
    half = partial.permute(0, 1, 3, 4, 2) + torch.einsum("blim,bmjk->blkij", gamma, gamma)
    raised = half - half.transpose(-1, -2)
    return torch.einsum("blm,bmkij->blkij", metric(z), raised)


def sectional_curvature(
    metric: Metric,
    z: Float[Tensor, "B d"],
    u: Float[Tensor, "B d"] | None = None,
    v: Float[Tensor, "B d"] | None = None,
) -> Float[Tensor, " B"]:
    r"""Sectional curvature $K=\langle R(u,v)v,u\rangle/(|u|^2|v|^2-\langle u,v\rangle^2)$ of the plane through u and v.

    For d = 2 it is the Gaussian curvature, the same for all u and v, which may then be left out. In the inverse
    square of the unit of length: $1/r^2$ on a sphere. Zero everywhere for a flat metric, in any coordinates.

    Args:
        metric: twice differentiable, positive definite at z.
        z: latents.
        u: first direction of the plane, linearly independent of v; ``[1, d]`` for all latents alike.
        v: second direction.

    Raises:
        InputError: if d = 1, d > 2 and a direction is missing, directions are not like z or span no plane beyond
            rounding, or as :func:`christoffel`.

    Example:
        >>> from curvae.geometry import pullback
        >>> def sphere(z):  # of radius 2
        ...     return 2 * torch.stack([z[:, 0].sin() * z[:, 1].cos(), z[:, 0].sin() * z[:, 1].sin(), z[:, 0].cos()], 1)
        >>> sectional_curvature(lambda z: pullback(sphere, z), torch.tensor([[1.0, 0.5]], dtype=torch.float64))
        tensor([0.2500], dtype=torch.float64)
    """
    _check_latents(z)
    d = z.shape[1]
    if u is None and v is None and d == 2:
        u, v = torch.eye(2, dtype=z.dtype, device=z.device).unsqueeze(1).expand(-1, len(z), -1)
    if u is None or v is None or d < 2:
        raise InputError(f"a plane needs d >= 2 and two directions u and v, but d is {d}; give both")
    for name, direction in (("u", u), ("v", v)):
        if direction.shape not in (z.shape, (1, d)) or direction.dtype != z.dtype:
            raise InputError(
                f"{name} is {direction.dtype} {list(direction.shape)}; expected a direction for each of the latents, "
                f"{z.dtype} {list(z.shape)}"
            )
    numerator = torch.einsum("blkij,bl,bk,bi,bj->b", riemann(metric, z), u, v, u, v)
    g = unmoved(metric)(z)
    uu, vv, uv = (torch.einsum("bi,bij,bj->b", a, g, b) for a, b in ((u, u), (v, v), (u, v)))
    area = uu * vv - uv.square()
    flat = ~(area.detach() > NOISE * torch.finfo(z.dtype).eps * (uu * vv).detach())
    if bool(flat.any()):
        raise InputError(
            f"u and v of sample {int(flat.nonzero()[0])} span no plane beyond rounding; give two directions"
        )
    return numerator / area


def _check_latents(z: Tensor) -> None:
    if z.dim() != 2:
        raise InputError(
            f"z has shape {tuple(z.shape)}; expected [B, d]: flatten latents of several axes, and unflatten them in "
            "the decoder of the metric"
        )
