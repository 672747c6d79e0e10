"""Batches by number, so that a resumed run sees the ones it would have seen."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch.utils.data import IterableDataset, get_worker_info

from curvae._repr import OneLine
from curvae._typing import Float, Int, Tensor
from curvae.data.paired import Batch, Paired
from curvae.data.pixels import as_float
from curvae.data.samples import Samples
from curvae.errors import InputError


class Batches(OneLine, IterableDataset[Tensor | Batch]):
    """Shuffled float32 batches of one tensor, without end or up to a step.

    Batch number ``s`` depends on ``(seed, s)`` and on nothing else: a run that was stopped before step ``s`` goes on
    with ``start=s`` and sees exactly what it would have seen. Each epoch is a fresh permutation; its last incomplete
    batch is dropped.

    Batches are gathered and made float32 where ``data`` lives. Keep a uint8 set on the accelerator and nothing but
    the permutation crosses to it; keep it in main memory and one float32 batch does, which costs next to nothing beside
    a step; either way nobody downstream meets raw pixels.

    Serves as the dataset of ``DataLoader(…, batch_size=None)``, with the same batches in the same order for any
    number of workers.

    Args:
        data: ``[N, *D]``, uint8 (scaled to [0, 1]) or floating point, on any device, or read one by one; or these with
            conditions, whose batches are :class:`Batch`.
        batch_size: B, at most N.
        seed: a whole number in [0, 2⁶³).
        start: number of the first batch.
        steps: number of the batch to stop before, counted from zero and not from ``start``: ``steps=20_000`` is the
            same for a run and its continuation. None goes on for ever.
        rows: which of a batch's rows to yield, for several processes that share each batch; default all.

    Raises:
        InputError: a value out of range.

    Example:
        >>> data = torch.arange(10, dtype=torch.float32)[:, None]
        >>> run = [batch.flatten().tolist() for batch in Batches(data, batch_size=3, seed=0, steps=9)]
        >>> resumed = [batch.flatten().tolist() for batch in Batches(data, batch_size=3, seed=0, start=4, steps=9)]
        >>> len(run), run[4:] == resumed
        (9, True)
    """

    def __init__(
        self,
        data: Tensor | Samples | Paired,
        batch_size: int,
        seed: int,
        start: int = 0,
        steps: int | None = None,
        rows: Int[Tensor, " b"] | slice | None = None,
    ) -> None:
        if data.ndim == 0 or not 1 <= batch_size <= len(data):
            count = len(data) if data.ndim else 0
            raise InputError(f"batch_size is {batch_size}; expected 1 to {count}, the number of samples")
        if not 0 <= seed < 2**63:
            raise InputError(f"seed is {seed}; expected a whole number in [0, 2^63)")
        if start < 0:
            raise InputError(f"start is {start}; expected a step >= 0")
        if steps is not None and steps < start:
            raise InputError(f"steps is {steps}, fewer than the {start} already done; expected at least {start}")
        self.data, self.batch_size, self.seed, self.start, self.steps = data, batch_size, seed, start, steps
        self.rows = slice(None) if rows is None else rows

    def _told(self) -> dict[str, Any]:
        return vars(self)

    @property
    def per_epoch(self) -> int:
        """Batches in one pass over the data."""
        return len(self.data) // self.batch_size

    def __len__(self) -> int:
        """Batches from ``start`` to ``steps``; a TypeError if there is no end."""
        if self.steps is None:
            raise TypeError("an endless stream of batches has no length; give steps")
        return self.steps - self.start

    def __iter__(self) -> Iterator[Float[Tensor, "B *D"] | Batch]:
        """Yield ``[B, *D]`` batches number ``start``, ``start + 1``, …"""
        epoch, order = -1, torch.empty(0)
        for step in self._numbers():
            if step // self.per_epoch != epoch:
                epoch = step // self.per_epoch
                order = self._order(epoch)
            first = step % self.per_epoch * self.batch_size
            found = self.data[order[first : first + self.batch_size][self.rows]]
            yield found if isinstance(found, Batch) else as_float(found)

    def _numbers(self) -> Iterator[int]:
        # a DataLoader takes one batch from each worker in turn, so every n-th number keeps the order
        worker = get_worker_info()
        offset, stride = (worker.id, worker.num_workers) if worker else (0, 1)
        return itertools.islice(itertools.count(self.start), offset, None if self.steps is None else len(self), stride)

    def _order(self, epoch: int) -> Int[Tensor, " N"]:
        # SeedSequence mixes the two numbers, so that (seed 0, epoch 1) and (seed 1, epoch 0) are strangers
        mixed = int(np.random.SeedSequence([self.seed, epoch]).generate_state(1, np.uint64)[0])
        order = torch.randperm(len(self.data), generator=torch.Generator().manual_seed(mixed))
        return order.to(self.data.device)
