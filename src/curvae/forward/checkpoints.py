"""Layers under ``torch.utils.checkpoint`` inside a derivative."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from torch.utils import checkpoint

_plainly: ContextVar[bool] = ContextVar("plainly", default=False)
_met: ContextVar[list[str] | None] = ContextVar("met", default=None)
_lock = threading.Lock()
_inside = 0


@contextmanager
def without_checkpoints() -> Iterator[None]:
    """Inside this context, and for this thread, ``torch.utils.checkpoint`` runs a layer as if it were not there.

    It would run the layer anew in the backward pass, which comes long after and outside of everything that a decoder is
    differentiated in: the tangents are gone by then, a batch's statistics free again (and moved once more), kernels
    others. At best PyTorch notices.

    Example:
        >>> import torch
        >>> ran, x = [], torch.ones(1, requires_grad=True)
        >>> with without_checkpoints():
        ...     y = checkpoint.checkpoint(lambda x: ran.append(1) or x.square(), x, use_reentrant=False)
        >>> y.backward()
        >>> len(ran)
        1
    """
    _count(1)
    token = _plainly.set(True)
    try:
        yield
    finally:
        _plainly.reset(token)
        _count(-1)


@contextmanager
def noticed_checkpoints() -> Iterator[list[str]]:
    """Inside this context, and for this thread, what ``torch.utils.checkpoint`` is asked to do is also written down.

    Example:
        >>> import torch
        >>> with noticed_checkpoints() as met:
        ...     y = checkpoint.checkpoint(torch.square, torch.ones(1), use_reentrant=False)
        >>> len(met)
        1
    """
    _count(1)
    met: list[str] = []
    token = _met.set(met)
    try:
        yield met
    finally:
        _met.reset(token)
        _count(-1)


def _note(kind: str) -> None:
    met = _met.get()
    if met is not None:
        met.append(kind)


class _Reentrant(checkpoint.CheckpointFunction):
    @classmethod
    def apply(cls, function: Callable[..., Any], preserve: bool, *args: Any) -> Any:
        """The layer alone, or what PyTorch does with it."""
        _note("reentrant")
        return function(*args) if _plainly.get() else _ORIGINAL["CheckpointFunction"].apply(function, preserve, *args)


def _not_reentrant(*args: Any, **options: Any) -> Iterator[None]:
    """What happens before and after the layer, which ``checkpoint`` calls in between."""
    _note("not reentrant")
    if _plainly.get():
        yield
    else:
        yield from _ORIGINAL["_checkpoint_without_reentrant_generator"](*args, **options)


# PyTorch looks these two up by name at every call; it has no public switch
_REPLACED = {"CheckpointFunction": _Reentrant, "_checkpoint_without_reentrant_generator": _not_reentrant}
_ORIGINAL: dict[str, Any] = {name: getattr(checkpoint, name) for name in _REPLACED}


def _count(step: int) -> None:
    """Replace the two as long as some thread is inside."""
    global _inside
    with _lock:
        _inside += step
        for name, replacement in (_REPLACED if _inside else _ORIGINAL).items():
            setattr(checkpoint, name, replacement)
