"""Samples with a condition each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch

from curvae._repr import OneLine, line
from curvae._typing import Float, Tensor
from curvae.data.pixels import as_float
from curvae.data.samples import Samples


class Batch(NamedTuple):
    """Some samples and their conditions, in the same order. Methods are those of a tensor, on both.

    Attributes:
        x: ``[B, *D]``.
        c: ``[B, *C]``; floating-point numbers follow the type of x, whole ones stay.

    Example:
        >>> batch = Batch(torch.zeros(5, 2), torch.arange(5))
        >>> [part.c.tolist() for part in batch.split(3)], batch.to(torch.float64).c.dtype
        ([[0, 1, 2], [3, 4]], torch.int64)
    """

    x: Float[Tensor, "B *D"]
    c: Tensor

    def __repr__(self) -> str:
        return line(type(self).__name__, **self._asdict())

    def to(self, *where: Any) -> Batch:
        """On another device and in another type of floating-point numbers."""
        whole = [one for one in where if not isinstance(one, torch.dtype)]
        c = self.c.to(*where) if self.c.is_floating_point() else self.c.to(*whole) if whole else self.c
        return Batch(self.x.to(*where), c)

    def chunk(self, pieces: int) -> Iterator[Batch]:
        """So many pieces."""
        return map(Batch, self.x.chunk(pieces), self.c.chunk(pieces))

    def split(self, size: int) -> Iterator[Batch]:
        """Pieces of that size."""
        return map(Batch, self.x.split(size), self.c.split(size))


class Paired(OneLine):
    """Samples ``[N, *D]`` and conditions ``[N, *C]``, indexed along their first axis; an entry is a :class:`Batch`.

    There are no conditions beside samples that are read with theirs.

    Example:
        >>> pair = Paired(torch.tensor([[0], [255]], dtype=torch.uint8), torch.tensor([7, 8]))
        >>> pair[torch.tensor([1])], pair[:1].c
        (Batch(x=float32 [1, 1], c=int64 [1]), tensor([7]))
    """

    def __init__(self, x: Tensor | Samples, c: Tensor | None) -> None:
        self.x, self.c = x, c
        self.ndim, self.device, self.workers = x.ndim, x.device, int(getattr(x, "workers", 0))

    def _told(self) -> dict[str, Any]:
        return {"x": self.x, "c": self.c}

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, which: slice | Tensor) -> Batch:
        if self.c is None:
            assert isinstance(self.x, Samples)
            return Batch(*self.x.pair(which))
        return Batch(as_float(self.x[which]), self.c[which])

    def to(self, device: torch.device) -> Paired:
        """On another device, where it is in memory."""
        return self if self.c is None or isinstance(self.x, Samples) else Paired(self.x.to(device), self.c.to(device))


def values(samples: Tensor | Batch) -> Float[Tensor, "B *D"]:
    """The x of a batch, with conditions or without.

    Example:
        >>> values(Batch(torch.zeros(1, 2), torch.ones(1))), values(torch.zeros(1, 2))
        (tensor([[0., 0.]]), tensor([[0., 0.]]))
    """
    return samples.x if isinstance(samples, Batch) else samples
