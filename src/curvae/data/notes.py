"""What a person should know about how data were read, though nothing is wrong with it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from torch import distributed as dist

from curvae.terminal import remark

_silent: ContextVar[bool] = ContextVar("silent", default=False)


@contextmanager
def said_already() -> Iterator[None]:
    """Inside this context nothing is noted, because whoever reads the same data first has done so."""
    token = _silent.set(True)
    try:
        yield
    finally:
        _silent.reset(token)


def note(line: str) -> None:
    """Say it on stderr, on one line; of several processes that read the same data the first one does."""
    if not _silent.get() and _speaks():
        remark(f"note: {' '.join(line.split())}")


def _speaks() -> bool:
    """Whether this process is the first, as PyTorch says where the processes are connected, and else their launcher.

    Tasks of srun may be strangers to each other, of which each speaks: one that trains with others has taken srun's
    numbers for a launcher's before it reads data.
    """
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank() == 0
    return os.environ.get("RANK", "0") == "0"
