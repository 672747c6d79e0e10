"""Forward-mode products with a decoder's Jacobian."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext

import torch
from torch.func import jvp, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from curvae._checks import positive_int
from curvae._transforms import one_at_a_time
from curvae._typing import Float, Int, Tensor
from curvae.curvature.elementwise import OneSlope
from curvae.curvature.first_use import check_first_use
from curvae.curvature.linear import LinearLayers
from curvae.curvature.rows import CannotFollow, push_rows
from curvae.curvature.statistics import BatchStatistics, FixedStatistics
from curvae.errors import InputError

Decoder = Callable[[Float[Tensor, "B d"]], Float[Tensor, "B *D"]]
"""Any map from latents to the parameters of an observation model, acting on each datum of a batch by itself."""


@one_at_a_time()
def pushforward(
    fn: Decoder, z: Float[Tensor, "B d"], tangents: Float[Tensor, "m d K"], chunk_size: int | None = None
) -> tuple[Float[Tensor, "B *D"], Float[Tensor, "m *D K"]]:
    r"""The decoder's output and $J_g(z)\,v$ for K tangents $v$ of each datum, in one pass.

    The primal is computed once and shared by all tangents. A decoder in train mode with batch normalisation is
    differentiated at this batch's statistics, held fixed, and its running statistics move once
    (:class:`~curvae.curvature.statistics.FixedStatistics`); in eval mode it is the decoder with batch normalisation
    folded into its weights. Dropout, if in train mode, uses one mask for all tangents of a chunk. Differentiable in z
    and in whatever ``fn`` closes over.

    Args:
        fn: decoder, ``[B, d] → [B, *D]``; any module or function that forward mode can follow.
        z: latents.
        tangents: K ≥ 1 directions in latent space for each datum, or for the first m of them: the others are then
            decoded alone, at the same batch statistics, and cost no more than that where the decoder consists of
            common layers (:class:`~curvae.curvature.rows.Rows`).
        chunk_size: push at most this many tangents at a time (default: all at once). Bounds the memory of the
            pass; what autograd keeps for a later backward pass is not bounded by it.

    Returns:
        The output ``[B, *D]`` and the pushed tangents ``[m, *D, K]``.

    Raises:
        InputError: if the shapes do not fit, ``chunk_size`` is not ≥ 1, batch normalisation in train mode gets one
            value for each channel, or at the decoder's first use
            (:func:`~curvae.curvature.first_use.check_first_use`).

    Example:
        >>> eta, columns = pushforward(torch.sin, torch.zeros(1, 2), torch.ones(1, 2, 1))
        >>> columns.squeeze(-1)
        tensor([[1., 1.]])
    """
    _check(z, tangents)
    size = tangents.shape[2] if chunk_size is None else positive_int("chunk_size", chunk_size)
    z = z.contiguous()  # forward mode refuses an expanded tensor
    check_first_use(fn, z)
    statistics = FixedStatistics()
    first, *rest = tangents.movedim(-1, 0).split(size)
    eta, columns, seen = (
        _push(fn, z, first, statistics) if len(tangents) == len(z) else _push_some(fn, z, first, statistics)
    )
    statistics.update_running(seen)
    if rest:
        moved = z[: len(tangents)]
        columns = torch.cat([columns, *(_push(fn, moved, chunk, FixedStatistics(known=seen))[1] for chunk in rest)])
    return eta, columns.movedim(0, -1)


def _check(z: Tensor, tangents: Tensor) -> None:
    given = z.dim() == 2 and tangents.dim() == 3 and tangents.shape[1] == z.shape[1] and tangents.shape[2] > 0
    if not given or not min(1, len(z)) <= len(tangents) <= len(z):
        raise InputError(
            f"z has shape {tuple(z.shape)} and tangents {tuple(tangents.shape)}; expected [B, d] and [B, d, K], "
            "K >= 1, or tangents of the first data alone"
        )


def _push_some(
    fn: Decoder, z: Float[Tensor, "B d"], tangents: Float[Tensor, "K m d"], statistics: FixedStatistics
) -> tuple[Float[Tensor, "B *D"], Float[Tensor, "K m *D"], list[BatchStatistics]]:
    moved = tangents.shape[1]
    try:
        return *push_rows(fn, z, tangents, statistics), statistics.seen
    except CannotFollow:
        statistics.forget()
    still = tangents.new_zeros(len(tangents), len(z) - moved, z.shape[1])
    eta, columns, seen = _push(fn, z, torch.cat([tangents, still], 1), statistics)
    return eta, columns[:, :moved], seen


def _push(
    fn: Decoder, z: Float[Tensor, "B d"], tangents: Float[Tensor, "K B d"], statistics: FixedStatistics
) -> tuple[Float[Tensor, "B *D"], Float[Tensor, "K B *D"], list[BatchStatistics]]:
    # with a single tangent its product with the slope would be one pass more
    activations = OneSlope() if len(tangents) > 1 else nullcontext()

    def observed(point: Float[Tensor, "B d"]) -> tuple[Tensor, list[BatchStatistics]]:
        # of PyTorch's attention kernels only the plain one has a forward-mode derivative
        with statistics, LinearLayers(), activations, sdpa_kernel(SDPBackend.MATH):
            return fn(point), statistics.seen

    def along(tangent: Float[Tensor, "B d"]) -> tuple[Tensor, Tensor, list[BatchStatistics]]:
        return jvp(observed, (z,), (tangent,), has_aux=True)  # type: ignore[return-value]

    if len(tangents) == 1:  # vmap costs a little and buys nothing here
        eta, column, seen = along(tangents[0])
        return eta, column.unsqueeze(0), seen
    return vmap(along, out_dims=(None, 0, None), randomness="same")(tangents)  # type: ignore[arg-type]


def jacobian(fn: Decoder, z: Float[Tensor, "B d"], chunk_size: int | None = None) -> Float[Tensor, "B *D d"]:
    r"""The exact decoder Jacobian $J_g(z)$ of every datum, by d forward-mode products.

    Args:
        fn: decoder, as for :func:`pushforward`.
        z: latents.
        chunk_size: columns computed at a time; bounds memory.

    Raises:
        InputError: as :func:`pushforward`.

    Example:
        >>> weight = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
        >>> jacobian(lambda z: z @ weight.T, torch.zeros(1, 2))
        tensor([[[1., 2.],
                 [3., 4.],
                 [5., 6.]]])
    """
    return pushforward(fn, z, unit_tangents(z), chunk_size)[1]


def columns(fn: Decoder, z: Float[Tensor, "B d"], indices: Int[Tensor, "B K"]) -> Float[Tensor, "B *D K"]:
    r"""Chosen columns $[J_g(z)]_{:c}$ of each datum's Jacobian.

    Args:
        fn: decoder, as for :func:`pushforward`.
        z: latents.
        indices: which columns of each datum, 0 … d − 1.

    Raises:
        InputError: if an index is out of range, or as :func:`pushforward`.

    Example:
        >>> columns(lambda z: 3 * z, torch.zeros(2, 2), torch.tensor([[0], [1]])).squeeze(-1)
        tensor([[3., 0.],
                [0., 3.]])
    """
    return pushforward(fn, z, one_hot_tangents(z, indices))[1]


def unit_tangents(z: Float[Tensor, "B d"]) -> Float[Tensor, "B d d"]:
    """All d unit vectors for every datum."""
    _check_latents(z)
    return torch.eye(z.shape[1], dtype=z.dtype, device=z.device).expand(len(z), -1, -1)


def one_hot_tangents(z: Float[Tensor, "B d"], indices: Int[Tensor, "B K"]) -> Float[Tensor, "B d K"]:
    """The unit vectors with the given indices."""
    _check_latents(z)
    if indices.numel() and not bool(((indices >= 0) & (indices < z.shape[1])).all()):
        raise InputError(
            f"column indices must be 0 … {z.shape[1] - 1}; got {int(indices.min())} … {int(indices.max())}"
        )
    return torch.nn.functional.one_hot(indices, z.shape[1]).to(z.dtype).mT


def _check_latents(z: Tensor) -> None:
    if z.dim() != 2:
        raise InputError(f"z has shape {tuple(z.shape)}; expected [B, d]")
