"""What every source becomes: a training and a test tensor, with a digest and the way they were split."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Any

import torch

from curvae._repr import OneLine
from curvae._typing import Tensor
from curvae.data.coding import Coding
from curvae.data.paired import Paired
from curvae.data.pixels import WHITE
from curvae.data.samples import Samples
from curvae.errors import InputError


@dataclass(frozen=True, eq=False, repr=False)
class Dataset(OneLine):
    """A training and a test set that live in memory, that of the CPU: what trains takes them to where it computes.

    Args:
        name: what to call the data in reports.
        train: ``[N, C, H, W]`` uint8 pixels for images, else ``[N, *shape]`` uint8 or float32; in memory, or
            :class:`Samples` that are read when they are asked for.
        test: the same type and per-sample shape, held out.
        split: how the two were parted, fit for JSON: ``{"kind": "standard"}``, or ``{"kind": "seeded", "seed": …,
            "test_fraction": …, "test_indices": […]}`` with positions in the source's own order (files by sorted path);
            also ``"white"`` where pixels were not stored as 0 to 255.
        digest: sha256 of the two tensors' types, shapes and values; computed if not given. The same arrays in the same
            split have the same digest, wherever they came from.
        labels: columns of a table that were named as labels: of each its values for the training and for the test half,
            in their order.
        conditions: of the training and of the test half, ``[N, *C]`` each, in their order (:meth:`with_conditions`).
            Samples that are read one by one bring theirs along.
        coding: how the conditions were made of what the source holds.
        columns: the names of a table's columns, C for samples of shape ``(C,)``.

    Raises:
        InputError: the halves differ in type or shape, are empty, or are neither uint8 nor float32.

    Example:
        >>> data = Dataset("toy", torch.zeros(8, 3), torch.ones(2, 3), {"kind": "standard"})
        >>> data.shape, data.digest[:8]
        ((3,), 'ec9facda')
    """

    name: str
    train: Tensor | Samples
    test: Tensor | Samples
    split: dict[str, Any]
    digest: str = ""
    labels: dict[str, tuple[Any, Any]] | None = None
    conditions: tuple[Tensor, Tensor] | None = None
    coding: Coding | None = None
    columns: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        for half, data in (("train", self.train), ("test", self.test)):
            if data.dtype not in (torch.uint8, torch.float32):
                raise InputError(f"{self.name}: {half} is {data.dtype}; expected uint8 pixels or float32 values")
            if data.ndim < 2 or data.numel() == 0:
                raise InputError(f"{self.name}: {half} has shape {tuple(data.shape)}; expected [N, ...], nothing empty")
        if self.train.dtype != self.test.dtype or self.train.shape[1:] != self.test.shape[1:]:
            raise InputError(
                f"{self.name}: train holds {self.train.dtype} of shape {tuple(self.train.shape[1:])} but test holds "
                f"{self.test.dtype} of shape {tuple(self.test.shape[1:])}; expected the same"
            )
        # a frozen dataclass is filled in this way once, before anybody sees it
        for half in ("train", "test"):
            if isinstance(data := getattr(self, half), Tensor):
                object.__setattr__(self, half, data.cpu())
        if not self.digest:
            object.__setattr__(self, "digest", content_digest(self.train[:], self.test[:]))

    def _told(self) -> dict[str, Any]:
        kind = self.split.get("kind", "given")
        return {"name": self.name, "train": self.train, "test": self.test, "split": kind}

    @property
    def white(self) -> int | None:
        """The number that means 1 where the data are stored: 255, 1 for masks, more for 16 bits; None for floats.

        A property of the whole set, by which anything has to be read that goes into a model trained on it.
        """
        return int(self.split.get("white", WHITE)) if self.train.dtype == torch.uint8 else None

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one sample, e.g. ``(1, 28, 28)``."""
        return tuple(self.train.shape[1:])

    @property
    def conditional(self) -> bool:
        """Whether each sample has a condition."""
        return self.conditions is not None or getattr(self.train, "condition", None) is not None

    def half(self, test: bool = False) -> Tensor | Samples | Paired:
        """The training or the test half, with its conditions if there are any."""
        x = self.test if test else self.train
        return Paired(x, None if self.conditions is None else self.conditions[test]) if self.conditional else x

    def with_conditions(self, train: Tensor, test: Tensor, coding: Coding | None = None) -> Dataset:
        """The same data with a condition for each sample, which its digest then covers, too."""
        digest = hashlib.sha256(f"{self.digest} {content_digest(train, test)}".encode()).hexdigest()
        return replace(self, conditions=(train, test), coding=coding, digest=digest)

    def in_shape(self, shape: tuple[int, ...]) -> Dataset:
        """The same data as version 0.1 read them: images in floats without a channel, or with the channels last.

        Args:
            shape: of one sample; any that is not of this kind leaves the data as they are.

        Example:
            >>> data = Dataset("toy", torch.zeros(8, 3, 9, 9), torch.ones(2, 3, 9, 9), {"kind": "standard"})
            >>> data.in_shape((9, 9, 3)).shape
            (9, 9, 3)
        """
        if self.shape == (1, *shape):
            train, test = self.train[:][:, 0], self.test[:][:, 0]
        elif len(shape) == 3 and self.shape == (shape[2], shape[0], shape[1]) != shape:
            train, test = (half[:].movedim(1, -1).contiguous() for half in (self.train, self.test))
        else:
            return self
        found = Dataset(self.name, train, test, self.split)
        return found if self.conditions is None else found.with_conditions(*self.conditions, self.coding)


def content_digest(*tensors: Tensor) -> str:
    """Sha256 over each tensor's type, shape and bytes, in order; none of them is empty.

    Example:
        >>> content_digest(torch.zeros(2)) == content_digest(torch.zeros(1, 2))
        False
    """
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().data.cast("B"))
    return digest.hexdigest()
