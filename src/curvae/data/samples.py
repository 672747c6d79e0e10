"""Samples that are read when they are asked for."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch.utils.data._utils.collate import default_collate

from curvae._checks import an_answer, shown
from curvae._repr import OneLine
from curvae._typing import Float, Tensor
from curvae.data.convert import as_samples, plain
from curvae.errors import InputError

Take = Callable[[Any], Any] | str | int
"""A function from a batch to its x, or the key or number of x in it."""

# of samples that are read one by one, so many are looked at to know what they are
_SEEN = 16


class Samples(OneLine):
    """The samples of a map-style data set of torch, read when they are asked for.

    Indexed like a tensor ``[N, *D]`` along its first axis, with float32 values. What a sample draws from the global
    generators of PyTorch, NumPy and Python (augmentations) depends on the batch's indices alone.

    Args:
        source: the data set.
        collate: makes a batch of a list of its entries; default PyTorch's own.
        take: from a batch to its x, or its key or number; default the batch itself, or the first of a tuple.
        indices: which entries, in their order; default all.
        workers: processes that read entries, as a ``DataLoader`` has them.
        condition: the same of the conditions of its samples.
        missing: whether NaN may stand for what was not observed.

    Attributes:
        first: the first few samples.

    Raises:
        InputError: no entries, or batches of which x cannot be taken.

    Example:
        >>> x = Samples([(torch.full((3,), float(i)), i) for i in range(5)])
        >>> len(x), x.shape, x[torch.tensor([4, 0])][:, 0]
        (5, (5, 3), tensor([4., 0.]))
    """

    device = torch.device("cpu")
    dtype = torch.float32

    def __init__(
        self,
        source: Any,
        collate: Callable[[list[Any]], Any] | None = None,
        take: Take | None = None,
        indices: Tensor | None = None,
        workers: int = 0,
        condition: Take | None = None,
        missing: bool = False,
    ) -> None:
        self.source, self.collate, self.take = source, collate or default_collate, take
        self.condition, self.missing = condition, missing
        self.indices = torch.arange(len(source)) if indices is None else indices
        self.workers = workers
        if len(self.indices) == 0:
            raise InputError("the data set is empty; expected at least one sample")
        self.first = self[:_SEEN]
        self.shape = (len(self.indices), *self.first.shape[1:])

    def _told(self) -> dict[str, Any]:
        return {"source": type(self.source).__name__, "shape": tuple(self.shape)}

    @property
    def ndim(self) -> int:
        """As a tensor's."""
        return len(self.shape)

    def numel(self) -> int:
        """As a tensor's."""
        return len(self) * self.first[0].numel()

    def at(self, positions: Tensor) -> Samples:
        """Some of these."""
        chosen = self.indices[positions]
        return Samples(self.source, self.collate, self.take, chosen, self.workers, self.condition, self.missing)

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, which: slice | Tensor) -> Float[Tensor, "B *D"]:
        return self._read(which)[0]

    def pair(self, which: slice | Tensor) -> tuple[Float[Tensor, "B *D"], Tensor]:
        """Some samples and their conditions."""
        x, batch = self._read(which)
        assert self.condition is not None
        return x, as_conditions(taken(batch, self.condition, "condition"), len(x))

    def _read(self, which: slice | Tensor) -> tuple[Float[Tensor, "B *D"], Any]:
        numbers = self.indices[which].tolist()
        with _drawn_from(numbers):
            batch = self.collate([self.source[number] for number in numbers])
            return as_samples(taken(batch, self.take), name="a batch", missing=self.missing), batch


def as_conditions(c: Any, count: int) -> Tensor:
    """Conditions as a model takes them, ``[N, *C]``: floats become float32, whole numbers stay.

    Raises:
        InputError: no finite numbers, or not one row for each sample.

    Example:
        >>> as_conditions(np.array([0.5, 1.0]), 2), as_conditions([3, 4], 2)
        (tensor([0.5000, 1.0000]), tensor([3, 4]))
    """
    if not isinstance(c, Tensor):
        array = plain(c)
        if array.dtype.kind not in "biuf":
            raise InputError(f"the condition holds {array.dtype} values; expected numbers: code classes as whole ones")
        c = torch.from_numpy(np.ascontiguousarray(array.astype(np.float32 if array.dtype.kind in "bf" else np.int64)))
    if c.dim() == 0 or len(c) != count:
        raise InputError(f"the condition has shape {tuple(c.shape)} for {count} samples; expected a row for each")
    c = c.detach().float() if c.is_floating_point() or c.dtype == torch.bool else c.detach().long()
    if not bool(c.isfinite().all()):
        raise InputError("the condition holds NaN or infinity; expected finite numbers for every sample")
    return c


def taken(batch: Any, take: Take | None, name: str = "take") -> Any:
    """A batch's x.

    Raises:
        InputError: it is not said which of several it is, or the function that says so fails.

    Example:
        >>> taken((1, 2), None), taken((1, 2), 1), taken({"image": 3}, "image"), taken({"image": 3}, len)
        (1, 2, 3, 1)
    """
    if take is not None:
        if not callable(take) and isinstance(batch, Tensor | np.ndarray):
            raise InputError(
                f"{name} is {shown(take)} but a batch is {an_answer(batch)}, which has no parts; leave it out"
            )
        try:
            return take(batch) if callable(take) else batch[take]
        except (LookupError, TypeError, AttributeError, ValueError) as error:
            raise InputError(
                f"{name} failed on a batch, {an_answer(batch)}: {type(error).__name__}: {error}; expected the key "
                f"or number of its {'x' if name == 'take' else 'conditions'}, or a function that returns them"
            ) from error
    if isinstance(batch, Mapping):
        raise InputError(f"a batch is {an_answer(batch)}; say which is x with take={next(iter(batch), '…')!r}")
    return batch[0] if isinstance(batch, tuple | list) and len(batch) else batch


@contextmanager
def _drawn_from(numbers: list[int]) -> Iterator[None]:
    """The global generators as a function of some numbers, and back as they were."""
    seed = int(np.random.SeedSequence(numbers).generate_state(1, np.uint32)[0])
    states = torch.get_rng_state(), np.random.get_state(), random.getstate()  # noqa: NPY002
    torch.default_generator.manual_seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    random.seed(seed)
    try:
        yield
    finally:
        torch.set_rng_state(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
        random.setstate(states[2])
