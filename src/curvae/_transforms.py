"""PyTorch's function transforms and its compiler."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch._functorch import eager_transforms
from torch.autograd import forward_ad

from curvae.errors import DerivativeError


def in_transform() -> bool:
    """Whether a transform of ``torch.func`` (``vmap``, ``jvp``, ``grad`` …) is running."""
    # PyTorch has no public way to ask
    return torch._C._functorch.peek_interpreter_stack() is not None


def is_batched(gradient: torch.Tensor) -> bool:
    """Whether a gradient stands for several at once (``is_grads_batched``, ``vmap``) and has no values to read."""
    return in_transform() or torch._C._functorch.is_legacy_batchedtensor(gradient)


def recording(device: torch.device) -> bool:
    """Whether a CUDA graph is being recorded: nothing may wait for the device, or ask for its generators' state."""
    return device.type == "cuda" and torch.cuda.is_current_stream_capturing()


def uncompiled() -> AbstractContextManager[object]:
    """Let compiled code run as it was written, and compile nothing anew."""
    # to import it takes a second, and then nothing is compiled
    if "torch._dynamo" not in sys.modules or torch.compiler.is_compiling():
        return nullcontext()
    return torch.compiler.set_stance("force_eager")


_lock = threading.RLock()


@contextmanager
def one_at_a_time(derivatives: bool = True) -> Iterator[None]:
    """Let one thread at a time into what uses forward-mode differentiation; the others wait.

    PyTorch counts the levels of forward mode for the whole process: two threads inside it read and delete each other's
    tangents. A pass may hold another one, so a thread that is inside is let in again. Every pass of this library goes
    through here; a ``torch.func.jvp`` that a caller runs in another thread at the same time cannot.

    Raises:
        DerivativeError: the pass takes ``derivatives``, and a caller has opened a level of forward mode. PyTorch nests
            none in it, and what stands in for forward mode would lose the caller's tangents without a word.
    """
    with _lock:
        # PyTorch has no public way to ask, and may rename these; a level that torch.func has opened is counted by it
        level, nested = getattr(forward_ad, "_current_level", -1), getattr(eager_transforms, "JVP_NESTING", 0)
        if derivatives and level >= 0 and not nested:
            raise DerivativeError(
                "a decoder cannot be differentiated inside torch.autograd.forward_ad.dual_level(), whose tangents "
                "would be lost; take the outer derivative with torch.func.jvp"
            )
        yield


def _renew() -> None:
    global _lock
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):  # a forked child must not wait for a thread that it does not have
    os.register_at_fork(after_in_child=_renew)
