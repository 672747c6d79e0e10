"""Training and test halves: as published, or drawn from a seed where a source has none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float64, Shaped

from curvae._typing import Int, Tensor
from curvae.errors import InputError

STANDARD: dict[str, Any] = {"kind": "standard"}


class Halves(NamedTuple):
    """What a source yields: two arrays of the same type and per-sample shape, how they were parted, perhaps a digest.

    The digest, where a source knows it already, is ``dataset.content_digest`` of the two. Labels are columns that go
    with each half. ``columns`` are the names of a table's.
    """

    train: Shaped[np.ndarray, "N *D"]
    test: Shaped[np.ndarray, "M *D"]
    split: dict[str, Any]
    digest: str = ""
    labels: dict[str, tuple[Any, Any]] | None = None
    columns: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Split:
    """A seeded split: a share of the data, drawn without replacement, is held out.

    Args:
        seed: a whole number in [0, 2⁶³).
        test_fraction: in (0, 1); at least one sample goes to each side.

    Raises:
        InputError: a value out of range.

    Example:
        >>> train, test = Split(seed=0, test_fraction=0.25).indices(8, "toy")
        >>> len(train), len(test), sorted([*train.tolist(), *test.tolist()])
        (6, 2, [0, 1, 2, 3, 4, 5, 6, 7])
    """

    seed: int = 0
    test_fraction: float = 0.1

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**63:
            raise InputError(f"split_seed is {self.seed}; expected a whole number in [0, 2^63)")
        if not 0 < self.test_fraction < 1:
            raise InputError(f"test_fraction is {self.test_fraction}; expected a number between 0 and 1")

    def indices(self, count: int, what: str) -> tuple[Int[Tensor, " n"], Int[Tensor, " m"]]:
        """Ascending positions of the training and of the test data among ``count``.

        Raises:
            InputError: fewer than two data.
        """
        if count < 2:
            raise InputError(f"{what} holds {count} sample(s); expected at least 2, to split off a test set")
        held_out = min(max(round(count * self.test_fraction), 1), count - 1)
        order = torch.randperm(count, generator=torch.Generator().manual_seed(self.seed))
        return order[held_out:].sort().values, order[:held_out].sort().values

    def record(self, test: Int[Tensor, " m"]) -> dict[str, Any]:
        """The description that is stored with a run; ``test`` are the positions held out."""
        return {
            "kind": "seeded",
            "seed": self.seed,
            "test_fraction": self.test_fraction,
            "test_indices": test.tolist(),
        }

    def apply(self, array: Shaped[np.ndarray, "N *D"], what: str) -> Halves:
        """Split ``array`` ``[N, …]`` along its first axis; ``what`` names it in the error."""
        train, test = self.indices(len(array), what)
        return Halves(array[train.numpy()], array[test.numpy()], self.record(test))


@dataclass(frozen=True)
class Whole(Split):
    """No split: training samples and then held-out ones are those of the source in its own order.

    The last sample stands for those held out, as every set has some; a single one stands on both sides.

    Example:
        >>> [half.tolist() for half in Whole().indices(3, "toy")], [half.tolist() for half in Whole().indices(1, "toy")]
        ([[0, 1], [2]], [[0], [0]])
    """

    def indices(self, count: int, what: str) -> tuple[Int[Tensor, " n"], Int[Tensor, " m"]]:
        """All but the last position, and the last."""
        if count == 0:
            raise InputError(f"{what} holds no samples; expected at least one")
        order = torch.arange(count)
        return order[: max(count - 1, 1)], order[-1:]

    def record(self, test: Int[Tensor, " m"]) -> dict[str, Any]:
        """Whether there is one sample alone."""
        return {"kind": "whole", "alone": test.tolist() == [0]}


def head_and_tail(rows: Shaped[np.ndarray, "N *D"]) -> tuple[Shaped[np.ndarray, "n *D"], Shaped[np.ndarray, "m *D"]]:
    """Training and test half of what was drawn in random order: the last tenth, at least one, is held out.

    Example:
        >>> [len(half) for half in head_and_tail(np.zeros((50, 3)))]
        [45, 5]
    """
    train = len(rows) - max(1, len(rows) // 10)
    return rows[:train], rows[train:]


def uniform_draws(what: str, count: int, seed: int, columns: int) -> Float64[np.ndarray, "N F"]:
    """What a drawn set's factors are made of, uniform in [0, 1); the first rows of a seed are the same for every count.

    Raises:
        InputError: ``count`` or ``seed`` is out of range; the line calls the set ``what``.

    Example:
        >>> bool((uniform_draws("sprites", 9, 0, 5)[:3] == uniform_draws("sprites", 3, 0, 5)).all())
        True
    """
    if not 2 <= count <= 1_000_000:
        raise InputError(f"the number of {what} is {count}; expected 2 to 1000000")
    if not 0 <= seed < 2**63:
        raise InputError(f"{what}' seed is {seed}; expected a whole number in [0, 2^63)")
    return np.random.default_rng(seed).random((count, columns))
