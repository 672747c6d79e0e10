"""What is known of each sample, as the numbers that a network takes: the one rule for conditions."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Shaped

from curvae._checks import shown, some
from curvae._repr import OneLine
from curvae._typing import Float, Tensor
from curvae.errors import InputError

KINDS = ("classes", "number")
# whole numbers of more values are quantities, and texts of more values are names
_MOST_WHOLE, _MOST_CLASSES = 100, 1000


@dataclass(frozen=True)
class Column:
    """One thing that is known of each sample.

    Attributes:
        name: of the column, array or labels.
        classes: all values, as text; of a number None.
        mean: of a number over the training half.
        std: of a number over the training half.
    """

    name: str
    classes: tuple[str, ...] | None = None
    mean: float = 0.0
    std: float = 1.0

    @property
    def size(self) -> int:
        """How many numbers it becomes."""
        return 1 if self.classes is None else len(self.classes)

    def code(self, values: Shaped[np.ndarray, " N"]) -> Float[Tensor, "N C"]:
        """A number less its mean over its standard deviation; of a class 1 in its own place and 0 in the others.

        Raises:
            InputError: a class that is none of these, or what is no finite number.
        """
        if self.classes is None:
            numbers = _numbers(self.name, values)
            return torch.from_numpy((numbers - self.mean) / self.std).float()[:, None]
        # tables were once read with the spaces before a text, and the command line takes them off
        numbered = list(zip(self.classes, range(len(self.classes)), strict=True))
        place = {name.strip(): number for name, number in numbered} | dict(numbered)
        found = [place.get(text, -1) for text in _texts(values)]
        if -1 in found:
            bad = found.index(-1)
            given = shown(_texts(values[bad : bad + 1])[0])
            raise InputError(f"{self.name} is {given}; expected one of {some(self.classes, 8)}")
        return torch.nn.functional.one_hot(torch.tensor(found), len(self.classes)).float()

    def apart(self, text: str) -> list[str]:
        """Values with commas between them; of classes with commas the longest there are.

        Example:
            >>> Column("city", ("Paris, TX", "Rome")).apart("Rome,city=Paris, TX")
            ['Rome', 'Paris, TX']
        """
        known, pieces, found = set(self.classes or ()), text.split(","), list[str]()
        longest = 1 + max((name.count(",") for name in known), default=0)
        while pieces:
            tries = [",".join(pieces[:count]).strip().removeprefix(f"{self.name}=") for count in range(1, longest + 1)]
            count = next((count for count in range(longest, 1, -1) if tries[count - 1] in known), 1)
            found.append(tries[count - 1])
            pieces = pieces[count:]
        return found

    def told(self) -> str:
        """In words."""
        if self.classes is None:
            return f"{self.name} (a number, mean {self.mean:.4g}, standard deviation {self.std:.4g})"
        return f"{self.name} ({len(self.classes)} classes: {some(self.classes, 6)})"


@dataclass(frozen=True, repr=False)
class Coding(OneLine):
    """How conditions become numbers: classes one-hot, numbers standardised, side by side.

    Texts, truth values and whole numbers of at most 100 different values are classes; other numbers are numbers. A
    name may say otherwise, ``age:number`` or ``batch:classes``.

    Example:
        >>> known = {"sex": np.array(["f", "m", "f"]), "age": np.array([20.0, 30.0, 40.0])}
        >>> coding = Coding.of(("sex", "age"), known, known)
        >>> coding.size, coding.code({"sex": ["m"], "age": [30.0]})
        (3, tensor([[0., 1., 0.]]))
    """

    columns: tuple[Column, ...]

    def _told(self) -> dict[str, Any]:
        return {"size": self.size, "columns": self.told()}

    @classmethod
    def of(cls, names: Sequence[str], train: Mapping[str, Any], test: Mapping[str, Any]) -> Coding:
        """The coding of some data: classes of both halves, mean and standard deviation of the training half.

        Args:
            names: of the columns, each perhaps with its kind behind a colon.
            train: the columns' values, by name without kind.
            test: the same of the held-out half.

        Raises:
            InputError: missing values, a number that does not vary, too many classes.
        """
        return cls(tuple(_column(*kind_of(text), train, test) for text in names))

    @property
    def size(self) -> int:
        """How many numbers a condition becomes."""
        return sum(column.size for column in self.columns)

    @property
    def names(self) -> tuple[str, ...]:
        """Of the columns."""
        return tuple(column.name for column in self.columns)

    @property
    def texts(self) -> tuple[str, ...]:
        """Names of the columns that were text: some class is no number or truth value, so that "01" is not 1.

        Example:
            >>> Coding((Column("plate", ("01", "x")), Column("batch", ("1", "2")), Column("age"))).texts
            ('plate',)
        """
        return tuple(one.name for one in self.columns if any(map(_is_text, one.classes or ())))

    def code(self, values: Mapping[str, Any]) -> Float[Tensor, "N C"]:
        """Conditions from the values of each column.

        Raises:
            InputError: a column is missing, columns of different lengths, or values that cannot be coded.
        """
        missing = [name for name in self.names if name not in values]
        if missing:
            raise InputError(f"the condition has no {missing[0]}; expected {', '.join(self.names)}")
        each = [np.atleast_1d(np.asarray(values[name])) for name in self.names]
        if any(one.ndim != 1 or len(one) != len(each[0]) for one in each):
            shapes = ", ".join(f"{name} {list(one.shape)}" for name, one in zip(self.names, each, strict=True))
            raise InputError(f"the condition has {shapes}; expected one value for each sample")
        return torch.cat([column.code(one) for column, one in zip(self.columns, each, strict=True)], 1)

    def of_values(self, values: Any) -> Float[Tensor, "N C"]:
        """Conditions as a person gives them: values of the one column, or of several by name.

        Raises:
            InputError: as :meth:`code`.

        Example:
            >>> Coding((Column("labels", ("0", "1")),)).of_values([1, 0])
            tensor([[0., 1.],
                    [1., 0.]])
        """
        if hasattr(values, "columns"):  # a data frame
            values = {str(name): values[name] for name in values.columns}
        if isinstance(values, Mapping):
            return self.code(values)
        if len(self.columns) > 1:
            raise InputError(f"the condition is {shown(values)}; expected values by name: {', '.join(self.names)}")
        if isinstance(values, Tensor):
            values = values.detach().cpu().numpy()
        return self.code({self.names[0]: values})

    def parse(self, text: str) -> Float[Tensor, "N C"]:
        """Conditions from the command line: ``3``, ``0,1,2``, or of several columns ``sex=m,age=30``.

        Classes may have commas themselves: the longest text that is one is taken.

        Raises:
            InputError: it says not what is expected.

        Example:
            >>> Coding((Column("labels", ("cat", "dog")),)).parse("dog,cat")
            tensor([[0., 1.],
                    [1., 0.]])
        """
        if len(self.columns) == 1:
            return self.code({self.names[0]: np.array(self.columns[0].apart(text))})
        names = "|".join(map(re.escape, self.names))
        pairs = [part.strip().partition("=") for part in re.split(rf",(?=\s*(?:{names})=)", text)]
        if sorted(name for name, _, _ in pairs) != sorted(self.names):
            wanted = ",".join(f"{name}=…" for name in self.names)
            raise InputError(f"the condition is {shown(text)}; expected {wanted}")
        return self.code({name: np.array([value]) for name, _, value in pairs})

    def cycle(self, count: int) -> Float[Tensor, "N C"] | None:
        """The classes of the one column one after the other, as often as needed; None for other conditions.

        Example:
            >>> Coding((Column("labels", ("a", "b")),)).cycle(3)[:, 0]
            tensor([1., 0., 1.])
        """
        if len(self.columns) != 1 or self.columns[0].classes is None:
            return None
        return self.columns[0].code(np.array(list(itertools.islice(itertools.cycle(self.columns[0].classes), count))))

    def told(self) -> str:
        """In words, on one line."""
        return ", ".join(column.told() for column in self.columns)

    def to_json(self) -> list[dict[str, Any]]:
        """For a run folder."""
        return [asdict(column) for column in self.columns]

    @classmethod
    def from_json(cls, columns: Sequence[Mapping[str, Any]]) -> Coding:
        """What :meth:`to_json` wrote."""
        return cls(
            tuple(
                Column(one["name"], one["classes"] and tuple(one["classes"]), float(one["mean"]), float(one["std"]))
                for one in columns
            )
        )


def kind_of(text: str) -> tuple[str, str | None]:
    """A column's name, and its kind where that is said.

    Example:
        >>> kind_of("age:number"), kind_of("cell:type")
        (('age', 'number'), ('cell:type', None))
    """
    name, _, kind = text.rpartition(":")
    return (name, kind) if name and kind in KINDS else (text, None)


def _column(name: str, kind: str | None, train: Mapping[str, Any], test: Mapping[str, Any]) -> Column:
    first, both = np.asarray(train[name]), np.concatenate([np.asarray(train[name]), np.asarray(test[name])])
    for half in (first, both):
        if half.ndim != 1:
            raise InputError(f"condition {name} has shape {list(half.shape)}; expected one value for each sample")
    numeric = both.dtype.kind in "iuf"
    if numeric and both.dtype.kind == "f":
        _numbers(name, both)  # no missing ones
    whole = both.dtype.kind in "iu" and len(np.unique(both)) <= _MOST_WHOLE
    if kind == "number" or (kind is None and numeric and not whole):
        numbers = _numbers(name, first)
        mean, std = float(numbers.mean()), float(numbers.std())
        if not std > 0:
            raise InputError(f"condition {name} is {mean:g} for every training sample and says nothing; leave it out")
        return Column(name, None, mean, std)
    texts = _texts(both)
    bad = next((text for text in texts if text in ("", "nan", "None", "NaT", "<NA>")), None)
    if bad is not None:
        raise InputError(f"condition {name} is missing for some samples ({shown(bad)}); fill it in")
    classes = sorted(set(texts), key=_order)
    if len(classes) > _MOST_CLASSES:
        raise InputError(f"condition {name} has {len(classes)} different values; expected at most {_MOST_CLASSES}")
    if len(classes) < 2:
        raise InputError(f"condition {name} is {shown(classes[0])} for every sample and says nothing; leave it out")
    return Column(name, tuple(classes))


def _order(text: str) -> tuple[float, str]:
    """Numbers by size, before texts."""
    try:
        return float(text), text
    except ValueError:
        return math.inf, text


def _is_text(name: str) -> bool:
    return math.isinf(_order(name)[0]) and name not in ("True", "False")


def _texts(values: Shaped[np.ndarray, " N"]) -> list[str]:
    """What classes are called; whole numbers alike, whatever their type."""
    return [_text(value) for value in values.tolist()]


def _text(value: object) -> str:
    if isinstance(value, float | np.floating) and value.is_integer():
        return str(int(value))
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _numbers(name: str, values: Shaped[np.ndarray, " N"]) -> Float[np.ndarray, " N"]:
    try:
        numbers = values.astype(np.float64)
    except (OverflowError, TypeError, ValueError):
        raise InputError(f"condition {name} is no number ({shown(values[:1].tolist())}); expected numbers") from None
    fits = np.abs(numbers) <= np.finfo(np.float32).max
    if not fits.all():
        bad = int(np.argmin(fits))
        raise InputError(f"condition {name} of sample {bad} is {numbers[bad]}; expected finite numbers within float32")
    return numbers
