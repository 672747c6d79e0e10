"""Forward-mode products with a decoder's Jacobian."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext

import torch
from torch.func import jvp, vmap

from curvae._checks import a_kind, an_answer, positive_int
from curvae._transforms import in_transform, one_at_a_time
from curvae._typing import Float, Int, Tensor
from curvae.errors import InputError
from curvae.forward.compiled import as_written
from curvae.forward.elementwise import OneSlope
from curvae.forward.first_use import check_first_use
from curvae.forward.kernels import differentiable, without_hooks
from curvae.forward.linear import LinearLayers
from curvae.forward.noise import Noise
from curvae.forward.reverse import ReverseMode, attempt
from curvae.forward.row_rules import CannotFollow
from curvae.forward.rows import ROWS, push_rows
from curvae.forward.statistics import BatchStatistics, Counters, FixedStatistics
from curvae.forward.watched import watched

Decoder = Callable[[Float[Tensor, "B *L"]], Float[Tensor, "B *D"]]
"""Any map from latents to the parameters of an observation model, acting on each sample of a batch by itself."""


@one_at_a_time()
def pushforward(
    fn: Decoder,
    z: Float[Tensor, "B *L"],
    tangents: Float[Tensor, "m *L K"],
    chunk_size: int | None = None,
    chosen: Int[Tensor, " m"] | None = None,
) -> tuple[Float[Tensor, "B *D"], Float[Tensor, "m *D K"]]:
    r"""The decoder's output and $J_g(z)\,v$ for K tangents $v$ of each sample, in one pass.

    The primal is computed once and shared by all tangents. A decoder in train mode with batch normalisation is
    differentiated at this batch's statistics, held fixed, and its running statistics move once
    (:class:`~curvae.forward.statistics.FixedStatistics`); in eval mode it is the decoder with batch normalisation
    folded into its weights. Dropout, if in train mode, uses one mask for all tangents. Differentiable in z and in
    whatever ``fn`` closes over. Where forward mode cannot follow the decoder, reverse mode gives the same
    (:class:`~curvae.forward.reverse.ReverseMode`), at a few times the price: see ``docs/decoders.md``.

    Args:
        fn: decoder, ``[B, *L] → [B, *D]``; any module or function that autograd can differentiate twice. It is
            always called with all of z, in the order given, so it may hold something of each sample (labels, say).
        z: latents, vectors ``[B, d]`` or of any other shape ``[B, *L]``.
        tangents: K ≥ 1 directions in latent space for each sample, or for ``chosen`` ones: the others are then
            decoded alone, at the same batch statistics, and cost no more than that where the decoder consists of
            common layers (:class:`~curvae.forward.rows.Rows`).
        chunk_size: push at most this many tangents at a time (default: all at once). Bounds the memory of the
            pass; what autograd keeps for a later backward pass is not bounded by it.
        chosen: which data the tangents belong to, each at most once; default the first m. On a CPU alone is it looked
            at whether they are: elsewhere every step would wait for the device.

    Returns:
        The output ``[B, *D]`` and the pushed tangents ``[m, *D, K]``.

    Raises:
        InputError: if the shapes do not fit, ``chunk_size`` is not ≥ 1, ``chosen`` are not m different samples, ``fn``
            does not return one tensor or cannot be differentiated, batch normalisation in train mode gets one value
            for each channel, or at the decoder's first use (:func:`~curvae.forward.first_use.check_first_use`).
        DerivativeError: (one of these) in a backward pass, where ``fn`` has no finite second derivatives; inside a
            ``torch.autograd.forward_ad.dual_level()``: the outer derivative of ``torch.func.jvp`` is right.

    Example:
        >>> eta, columns = pushforward(torch.sin, torch.zeros(1, 2), torch.ones(1, 2, 1))
        >>> columns.squeeze(-1)
        tensor([[1., 1.]])
    """
    _check(z, tangents, chosen)
    if chosen is None and len(tangents) < len(z):
        chosen = torch.arange(len(tangents), device=z.device)
    size = tangents.shape[-1] if chunk_size is None else positive_int("chunk_size", chunk_size)
    z = z.contiguous()  # forward mode refuses an expanded tensor
    check_first_use(fn, z)
    z, watch = watched(fn, z)
    noise = Noise(z.device)
    first, *rest = tangents.movedim(-1, 0).split(size)
    eta, columns, seen = _push_chosen(fn, z, first, chosen, noise)
    chunks = [columns]
    for chunk in rest:
        with noise.again():
            chunks.append(_push_chosen(fn, z, chunk, chosen, noise, seen)[1])
    pushed = torch.cat(chunks).movedim(0, -1)
    eta, pushed = watch(eta, pushed)
    return eta, pushed


def _check(z: Tensor, tangents: Tensor, chosen: Tensor | None) -> None:
    given = z.dim() >= 2 and tangents.shape[1:-1] == z.shape[1:] and tangents.shape[-1] > 0
    if not given or not min(1, len(z)) <= len(tangents) <= len(z):
        raise InputError(
            f"z has shape {tuple(z.shape)} and tangents {tuple(tangents.shape)}; expected [B, d] and [B, d, K] (or "
            "[B, *L] and [B, *L, K]), K >= 1, or tangents of the chosen samples alone"
        )
    if chosen is None:
        return
    right = chosen.dim() == 1 and not chosen.is_floating_point() and len(chosen) == len(tangents)
    if right and chosen.device.type == "cpu":
        right = len(set(chosen.tolist()) & set(range(len(z)))) == len(chosen)
    if not right:
        raise InputError(
            f"chosen must be {len(tangents)} different samples, one for each that has tangents, of 0 … {len(z) - 1}"
        )


def _push_chosen(
    fn: Decoder,
    z: Float[Tensor, "B *L"],
    tangents: Float[Tensor, "K m *L"],
    chosen: Int[Tensor, " m"] | None,
    noise: Noise,
    known: list[BatchStatistics] | None = None,
) -> tuple[Float[Tensor, "B *D"], Float[Tensor, "K m *D"], list[BatchStatistics]]:
    """All data in one call, in their order; the running statistics move where the statistics are not known yet."""
    statistics = FixedStatistics(known)
    # inside a caller's transform rows are worth what a part of the batch saves
    if ROWS.on and not (chosen is None and in_transform()):
        try:
            eta, columns = push_rows(fn, z, tangents, chosen, statistics)
        except CannotFollow:
            statistics.forget()
            noise.rewind()
        else:
            statistics.update_running(statistics.seen)
            return eta, columns, statistics.seen
    if chosen is not None:
        tangents = tangents.new_zeros(len(tangents), *z.shape).index_copy(1, chosen, tangents)
    eta, columns, seen = _push(as_written(fn), z, tangents, statistics)
    if known is None:
        statistics.update_running(seen)
    return eta, columns if chosen is None else columns.index_select(1, chosen), seen


def _push(
    fn: Decoder, z: Float[Tensor, "B *L"], tangents: Float[Tensor, "K B *L"], statistics: FixedStatistics
) -> tuple[Float[Tensor, "B *D"], Float[Tensor, "K B *D"], list[BatchStatistics]]:
    counters = Counters()

    def forward() -> tuple[Tensor, Tensor, list[BatchStatistics]]:
        with counters:
            return _push_forward(fn, z, tangents, statistics)

    def reverse(refused: RuntimeError) -> tuple[Tensor, Tensor, list[BatchStatistics]]:
        counters.undo()
        statistics.forget()
        return _push_reverse(fn, z, tangents, statistics, refused)

    return attempt(forward, reverse)


def _push_forward(
    fn: Decoder, z: Float[Tensor, "B *L"], tangents: Float[Tensor, "K B *L"], statistics: FixedStatistics
) -> tuple[Float[Tensor, "B *D"], Float[Tensor, "K B *D"], list[BatchStatistics]]:
    # with a single tangent its product with the slope would be one pass more
    activations = OneSlope() if len(tangents) > 1 else nullcontext()

    def observed(point: Float[Tensor, "B *L"]) -> tuple[Tensor, list[BatchStatistics]]:
        with statistics, LinearLayers(), activations, differentiable(), without_hooks():
            return check_output(fn(point), point), statistics.seen

    def along(tangent: Float[Tensor, "B *L"]) -> tuple[Tensor, Tensor, list[BatchStatistics]]:
        return jvp(observed, (z,), (tangent,), has_aux=True)  # type: ignore[return-value]

    if len(tangents) == 1:  # vmap costs a little and buys nothing here
        eta, column, seen = along(tangents[0])
        return eta, column.unsqueeze(0), seen
    if not in_transform():
        return vmap(along, out_dims=(None, 0, None), randomness="same")(tangents)  # type: ignore[arg-type]
    # inside a caller's vmap it cannot be told that the output is the same for all tangents
    eta, columns, seen = vmap(along, randomness="same")(tangents)
    return eta[0], columns, [BatchStatistics(batch.mean[0], batch.variance[0]) for batch in seen]


def _push_reverse(
    fn: Decoder,
    z: Float[Tensor, "B *L"],
    tangents: Float[Tensor, "K B *L"],
    statistics: FixedStatistics,
    refused: RuntimeError,
) -> tuple[Float[Tensor, "B *D"], Float[Tensor, "K B *D"], list[BatchStatistics]]:
    def decode(point: Float[Tensor, "B *L"], held: FixedStatistics) -> Tensor:
        with held, differentiable():
            return check_output(fn(point), point)

    noise = Noise(z.device)
    linearised = ReverseMode(lambda point: decode(point, statistics), z, refused)
    seen = statistics.seen
    if seen:  # held fixed: seen of z, not of the point at which the derivative is taken
        with noise.again():
            linearised = ReverseMode(lambda point: decode(point, FixedStatistics(known=seen)), z, refused)
    return linearised.output, linearised.push(tangents), seen


def check_output(eta: object, z: Float[Tensor, "B *L"]) -> Tensor:
    """What a decoder has returned for ``z``, if it is one tensor with a row for each sample.

    Raises:
        InputError: it is not.
    """
    if isinstance(eta, torch.Tensor):
        if eta.dim() == 0 or len(eta) != len(z):  # broadcasting would make something of it
            raise InputError(
                f"the decoder returned shape {tuple(eta.shape)} for {len(z)} samples; expected [B, *D], a row for each"
            )
        if not eta.is_floating_point():  # nothing moves whole numbers, and the penalty would be 0
            raise InputError(f"the decoder returned a tensor of {eta.dtype}; expected floating-point numbers")
        return eta
    fields = [name for name, value in getattr(eta, "__dict__", {}).items() if isinstance(value, torch.Tensor)]
    if isinstance(eta, dict | tuple | list) or not fields:
        part = f"[{next(iter(eta), 0) if isinstance(eta, dict) else 0!r}]"
    else:
        part = f".{fields[0]}"
    raise InputError(
        f"the decoder returned {an_answer(eta)}; expected one tensor [B, *D]: pass a function that takes it out, "
        f"e.g. lambda z: decoder(z){part}, or Autoencoder(…, output=lambda answer: answer{part})"
    )


def jacobian(fn: Decoder, z: Float[Tensor, "B *L"], chunk_size: int | None = None) -> Float[Tensor, "B *DL"]:
    r"""The exact decoder Jacobian $J_g(z)$ of every sample, by d forward-mode products: ``[B, *D, *L]``.

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
    return pushforward(fn, z, unit_tangents(z), chunk_size)[1].unflatten(-1, z.shape[1:])


def columns(fn: Decoder, z: Float[Tensor, "B *L"], indices: Int[Tensor, "B K"]) -> Float[Tensor, "B *D K"]:
    r"""Chosen columns $[J_g(z)]_{:c}$ of each sample's Jacobian.

    Args:
        fn: decoder, as for :func:`pushforward`.
        z: latents.
        indices: which columns of each sample, 0 … d − 1 in the order of memory.

    Raises:
        InputError: if an index is out of range, or as :func:`pushforward`.

    Example:
        >>> columns(lambda z: 3 * z, torch.zeros(2, 2), torch.tensor([[0], [1]])).squeeze(-1)
        tensor([[3., 0.],
                [0., 3.]])
    """
    check_latents(z)
    latents = z.shape[1:].numel()
    # what a transform runs over, vmap over an ensemble say, cannot be asked for its values
    if not in_transform() and indices.numel() and not bool(((indices >= 0) & (indices < latents)).all()):
        raise InputError(f"column indices must be 0 … {latents - 1}; got {int(indices.min())} … {int(indices.max())}")
    return pushforward(fn, z, one_hot_tangents(z, indices))[1]


def unit_tangents(z: Float[Tensor, "B *L"]) -> Float[Tensor, "B *L d"]:
    """All d unit vectors for every sample, d the number of its latents."""
    check_latents(z)
    latents = z.shape[1:].numel()
    return torch.eye(latents, dtype=z.dtype, device=z.device).unflatten(0, z.shape[1:]).expand(*z.shape, -1)


def one_hot_tangents(z: Float[Tensor, "B *L"], indices: Int[Tensor, "B K"]) -> Float[Tensor, "B *L K"]:
    """The unit vectors with the given indices, which count the latents in the order of their memory."""
    check_latents(z)
    latents = z.shape[1:].numel()
    if indices.dim() != 2:
        raise InputError(f"column indices have shape {tuple(indices.shape)}; expected [B, K]")
    none = z.new_zeros(*indices.shape, latents)
    return none.scatter(-1, indices.unsqueeze(-1), 1).mT.unflatten(1, z.shape[1:])


def check_latents(z: Tensor) -> None:
    """Refuse latents that are no real numbers, or none, or without an axis beside the batch's."""
    if not isinstance(z, Tensor) or not z.is_floating_point():
        what = f"a tensor of {z.dtype}" if isinstance(z, Tensor) else a_kind(z)
        raise InputError(f"z is {what}; expected codes [B, *L] as a tensor of floating-point numbers")
    if z.dim() < 2 or 0 in z.shape[1:]:
        raise InputError(f"z has shape {tuple(z.shape)}; expected [B, d] or [B, *L], at least one latent")
