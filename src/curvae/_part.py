"""A batch of which each of several processes has some rows: what is drawn, counted and averaged is of all of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch

from curvae._typing import Tensor
from curvae.errors import InputError


class LostProcessError(Exception):
    """Another process of those that share a batch is not there any more.

    No ``RuntimeError``, for which a pass would be tried another way.
    """


@dataclass(frozen=True)
class Part:
    """Rows ``first`` to ``first + count`` of a batch of ``size``: what one of the processes has that share it."""

    size: int
    first: int
    count: int
    process: int = 0
    processes: int = 1

    @classmethod
    def of(cls, size: int, process: int, processes: int) -> Part:
        """The rows of one process by the fixed rule: one after the other, the first parts one row longer.

        Example:
            >>> [(part.first, part.count) for part in (Part.of(5, process, 2) for process in range(2))]
            [(0, 3), (3, 2)]
        """
        each, more = divmod(size, processes)
        return cls(size, process * each + min(process, more), each + (process < more), process, processes)

    @property
    def rows(self) -> slice:
        """Of the whole batch."""
        return slice(self.first, self.first + self.count)

    def of_all(self, count: int) -> int:
        """How many of something there are in the whole batch, of which this part has ``count``.

        Raises:
            InputError: not as many for each row.
        """
        if count % self.count:
            raise InputError(
                f"a network's layer looks at {count} things of {self.count} samples; on several devices, expected as "
                "many of each sample: train on one"
            )
        return count // self.count * self.size


_part: ContextVar[Part | None] = ContextVar("part", default=None)


def own_part() -> Part | None:
    """The part that this process has of the batch under way; None where it has all of it."""
    return _part.get()


@contextmanager
def part_of(part: Part | None) -> Iterator[None]:
    """Inside this context a batch is a part of a larger one."""
    token = _part.set(part)
    try:
        yield
    finally:
        _part.reset(token)


def drawn(draw: Callable[[int], Tensor], count: int, axis: int = 0) -> Tensor:
    """What ``draw`` gives for ``count`` rows; of a part, its rows of what it gives for the whole batch.

    So several processes, each with a generator in the same state, draw together what one draws.

    Raises:
        InputError: there is a part, of another number of rows.

    Example:
        >>> with part_of(Part(size=4, first=1, count=2)):
        ...     drawn(torch.arange, 2)
        tensor([1, 2])
    """
    part = own_part()
    if part is None:
        return draw(count)
    if count != part.count:
        raise InputError(
            f"random numbers are drawn for {count} rows where the batch has {part.count}; expected some for each "
            "sample: train on one device"
        )
    return draw(part.size).narrow(axis, part.first, part.count)


def mean_over_rows(values: Tensor) -> Tensor:
    """The mean over the first axis, of all rows of the whole batch; differentiable.

    Example:
        >>> mean_over_rows(torch.tensor([1.0, 3.0]))
        tensor(2.)
    """
    part = own_part()
    return values.mean(0) if part is None else summed(values.sum(0)) / part.size


def all_rows(values: Tensor) -> Tensor:
    """The rows of all processes in their order; differentiable.

    Example:
        >>> all_rows(torch.ones(2)).shape
        torch.Size([2])
    """
    part = own_part()
    return values if part is None else summed(_padded(values, part.first, part.size - part.first - part.count))


def of_each_process(row: Tensor) -> Tensor:
    """One row of each process, ``[processes, *S]``; differentiable."""
    part = own_part()
    assert part is not None
    return summed(_padded(row.unsqueeze(0), part.process, part.processes - part.process - 1))


def summed(value: Tensor) -> Tensor:
    """The sum over processes, each of which has the whole of it; so has its gradient."""
    return _Summed.apply(value)  # type: ignore[no-untyped-call]


def add_up(value: Tensor) -> Tensor:
    """The sum over processes, in place and without gradients.

    Raises:
        LostProcessError: another process is gone.
    """
    try:
        torch.distributed.all_reduce(value)
    except RuntimeError as error:
        raise LostProcessError(str(error)) from error
    return value


def _padded(rows: Tensor, before: int, after: int) -> Tensor:
    zeros = (rows.new_zeros(count, *rows.shape[1:]) for count in (before, after))
    return torch.cat([next(zeros), rows, next(zeros)])


class _Summed(torch.autograd.Function):
    """A sum over processes is linear, and its own transpose."""

    @staticmethod
    def forward(value: Tensor) -> Tensor:
        return add_up(value.detach().clone(memory_format=torch.contiguous_format))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Nothing to keep."""

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # noqa: ARG004
        return summed(gradient)

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor) -> Tensor:  # noqa: ARG004
        return summed(tangent)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None], value: Tensor) -> tuple[Tensor, int | None]:  # noqa: ARG004
        return summed(value), in_dims[0]
