"""Differences of a decoder's outputs, from its forward passes alone: what any decoder can do."""

from __future__ import annotations

import weakref
from collections.abc import Hashable
from contextlib import nullcontext
from typing import Any

import torch
from torch import nn

from curvae._precision import full_precision
from curvae._transforms import in_transform, one_at_a_time, recording, uncompiled
from curvae._typing import Float, Int, Tensor
from curvae.conditioned import Conditioned
from curvae.errors import InputError
from curvae.forward.checkpoints import noticed_checkpoints, without_checkpoints
from curvae.forward.compiled import is_opaque, layers_of
from curvae.forward.first_use import buffers_kept, checked
from curvae.forward.hidden import MIXES
from curvae.forward.identity import identity
from curvae.forward.noise import Noise
from curvae.forward.pushforward import Decoder, check_latents, check_output
from curvae.forward.statistics import Counters, FixedStatistics

_alone: dict[Hashable, tuple[weakref.ref[Any], bool]] = {}


_SHIFTS = (
    "the decoder draws as many random numbers as its latents say (RReLU in train mode does, one for each negative "
    "input), so that a step would meet other noise; use eval mode, another layer, or an estimator of derivatives "
    "such as Columns"
)


class Differences:
    r"""$g(z)$, and $g(z+v)-g(z)$ for as many steps $v$ as wanted; differentiable in all of them and in the decoder.

    :meth:`moved` is $g(z+v)$ itself, which has small numbers that a difference from larger ones loses.

    Only forward passes are made, so the decoder may be compiled, scripted or end in kernels without forward mode. Batch
    normalisation in train mode keeps the statistics of z, through which gradients flow, and moves once, as in
    :func:`~curvae.curvature.pushforward`; a compiled or scripted decoder hides it and is refused with it, and a
    checkpointed layer with it is not recomputed in the backward pass. Dropout has one mask. Autocast is off: a
    difference of rounded outputs is mostly rounding.

    Steps of some samples alone cost no more than these, unless the decoder holds something of each sample or draws
    random numbers: that is found out at its first use, and all samples are then decoded each time.

    Args:
        fn: decoder, as for :func:`~curvae.curvature.pushforward`.
        z: latents.

    Raises:
        InputError: z has no axis of latents, ``fn`` does not return one tensor, hides batch normalisation in train
            mode, or (at its first use) mixes the samples of a batch.

    Attributes:
        eta: $g(z)$.

    Example:
        >>> move = Differences(torch.square, torch.ones(1, 2))
        >>> move(torch.tensor([[[1.0], [0.5]]])).squeeze(-1)
        tensor([[3.0000, 1.2500]])
    """

    @one_at_a_time(derivatives=False)
    def __init__(self, fn: Decoder, z: Float[Tensor, "B *L"]) -> None:
        check_latents(z)
        self.z, self._opaque = z, _opaque(fn)
        self._fn, self._noise, self._plain = fn, Noise(z.device), False
        statistics, counters = FixedStatistics(derivatives=False), Counters()
        # without batch normalisation nothing counts, and the compiler would compile what the mode does at each layer
        with noticed_checkpoints() as met, nullcontext() if self._opaque else counters:
            self.eta = self._under(statistics, z)
        # a layer that runs again in the backward pass would do so with other statistics, and move its own again
        if met and statistics.seen:
            counters.undo()
            statistics.forget()
            self._noise.rewind()
            self._plain = True
            self.eta = self._under(statistics, z)
        draws = self._noise.drawn()  # asked each time: values need not show it, as where a dropout drops nothing
        statistics.update_running(statistics.seen)
        self._seen = statistics.seen
        self._follows_part = self._look() and not draws

    @one_at_a_time(derivatives=False)
    def __call__(
        self, steps: Float[Tensor, "m *L K"], chosen: Int[Tensor, " m"] | None = None
    ) -> Float[Tensor, "m *D K"]:
        """The differences for K steps of each sample, or of ``chosen`` ones."""
        eta = self.eta if chosen is None else self.eta.index_select(0, chosen)
        moved = [self.moved(step, chosen) - eta for step in steps.unbind(-1)]
        return torch.stack(moved, -1)

    @one_at_a_time(derivatives=False)
    def moved(self, step: Float[Tensor, "m *L"], chosen: Int[Tensor, " m"] | None = None) -> Float[Tensor, "m *D"]:
        """The outputs after one step of each sample, or of ``chosen`` ones."""
        if chosen is None:
            return self._decode(self.z + step)
        if self._follows_part:
            return self._decode(self.z.index_select(0, chosen) + step, chosen)
        steps = torch.zeros_like(self.z).index_copy(0, chosen, step)
        return self._decode(self.z + steps).index_select(0, chosen)

    def _decode(self, point: Float[Tensor, "N *L"], chosen: Tensor | None = None) -> Float[Tensor, "N *D"]:
        """Of all samples, or of chosen ones, whose conditions a conditional model then has alone."""
        owner, fn = getattr(self._fn, "__self__", None), self._fn
        if chosen is not None and isinstance(owner, Conditioned):
            fn = owner.rows(chosen).decode
        with self._noise.again():
            return self._under(FixedStatistics(known=self._seen, derivatives=False), point, fn)

    def _under(
        self, statistics: FixedStatistics, point: Float[Tensor, "N *L"], fn: Decoder | None = None
    ) -> Float[Tensor, "N *D"]:
        held = nullcontext() if self._opaque else statistics
        with full_precision(point), without_checkpoints() if self._plain else nullcontext(), held:
            return check_output((self._fn if fn is None else fn)(point), point).to(point.dtype)

    def _look(self) -> bool:
        """Whether samples can be decoded without the others, found out at the first use.

        Raises:
            InputError: the latents of some samples move the outputs of others.
        """
        if in_transform() or len(self.z) < 2:
            return False
        owner, key = identity(self._fn)
        known = _alone.get(key)
        if owner is not None and known is not None and known[0]() is owner:
            return known[1]
        if recording(self.z.device):
            return False
        # looking costs a few calls without gradients, which the compiler would take a minute to prepare for
        with torch.no_grad(), uncompiled() if self._opaque else nullcontext(), buffers_kept(self._fn):
            follows = self._examined()
        if owner is not None:
            _alone[key] = weakref.ref(owner, lambda _: _alone.pop(key, None)), follows
        return follows

    def _examined(self) -> bool:
        half = torch.arange(len(self.z), device=self.z.device) % 2 == 0
        if not _close(self._decode(self.z), self.eta):
            return False  # it changes from call to call
        step = half.view(-1, *[1] * (self.z.dim() - 1)) * self.z.std().clamp(min=0.1)
        if checked() and not _close(self._decode(self.z + step)[~half], self.eta[~half]):
            raise InputError(_SHIFTS if self._shifts(step) else MIXES)
        try:
            return _close(self._decode(self.z[half], half), self.eta[half])
        except (RuntimeError, IndexError, ValueError):  # it holds something of every sample, of another shape
            return False

    def _shifts(self, step: Float[Tensor, "B *L"]) -> bool:
        """Whether a pass draws more random numbers, or fewer, after a step."""
        known = FixedStatistics(known=self._seen, derivatives=False)
        with self._noise.again():
            self._under(known, self.z)
            after = Noise(self.z.device)
        with self._noise.again():
            self._under(known, self.z + step)
            return after.drawn()


def _close(one: Tensor, other: Tensor) -> bool:
    tolerance = 1000 * torch.finfo(other.dtype).eps
    return one.shape == other.shape and bool((one - other).norm() <= tolerance * other.norm())


def _opaque(fn: Decoder) -> bool:
    """Whether part of a decoder is compiled or scripted, so that its functions cannot be seen.

    Raises:
        InputError: so it is, and some layer of the decoder normalises by the batch.
    """
    layers = layers_of(fn)
    found = any(map(is_opaque, (fn, *layers)))
    if found and any(layer.training and is_batch_norm(layer) for layer in layers):
        raise InputError(
            "the decoder is compiled or scripted, in part at least, and has batch normalisation in train mode, whose "
            "statistics cannot be held fixed then; use the decoder as it was before, or another normalisation"
        )
    return found


def is_batch_norm(layer: nn.Module) -> bool:
    """By its name: a scripted layer is of no class of its own."""
    return "BatchNorm" in getattr(layer, "original_name", type(layer).__name__)
