"""PyTorch's function transforms and its compiler."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch


def in_transform() -> bool:
    """Whether a transform of ``torch.func`` (``vmap``, ``jvp``, ``grad`` …) is running."""
    # PyTorch has no public way to ask
    return torch._C._functorch.peek_interpreter_stack() is not None


def is_batched(gradient: torch.Tensor) -> bool:
    """Whether a gradient stands for several at once (``is_grads_batched``, ``vmap``) and has no values to read."""
    return in_transform() or torch._C._functorch.is_legacy_batchedtensor(gradient)


def uncompiled() -> AbstractContextManager[object]:
    """Let compiled code run as it was written, and compile nothing anew."""
    # to import it takes a second, and then nothing is compiled
    if "torch._dynamo" not in sys.modules or torch.compiler.is_compiling():
        return nullcontext()
    return torch.compiler.set_stance("force_eager")


_lock = threading.RLock()


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Let one thread at a time into what uses forward-mode differentiation; the others wait.

    PyTorch counts the levels of forward mode for the whole process: two threads inside it read and delete each other's
    tangents. A pass may hold another one, so a thread that is inside is let in again. Every pass of this library goes
    through here; a ``torch.func.jvp`` that a caller runs in another thread at the same time cannot.
    """
    with _lock:
        yield


def _renew() -> None:
    global _lock
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):  # a forked child must not wait for a thread that it does not have
    os.register_at_fork(after_in_child=_renew)
