"""One switch for each piece that exists for a CPU's speed alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class Switch:
    """Whether a piece is used; it is on unless somebody measures or debugs without it.

    The switch holds for the whole process, so it is for benchmarks and tests, not for use while other threads train.

    Example:
        >>> piece = Switch()
        >>> with piece.off():
        ...     piece.on
        False
        >>> piece.on
        True
    """

    def __init__(self) -> None:
        self.on = True

    @contextmanager
    def off(self) -> Iterator[None]:
        """Do without the piece inside; PyTorch's own way then computes the same."""
        before, self.on = self.on, False
        try:
            yield
        finally:
            self.on = before
