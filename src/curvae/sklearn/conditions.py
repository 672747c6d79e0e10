"""Columns of a table that the networks are told, in the place of features."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Shaped

from curvae._checks import nearest, shown, some
from curvae._typing import Float, Tensor
from curvae.autoencoder import Autoencoder, Model
from curvae.conditioned import pieces
from curvae.data import Coding, Dataset
from curvae.data.coding import kind_of
from curvae.errors import InputError

Named = str | int | Sequence[str | int] | None
"""Columns of ``X``: names of a frame, which may end in ``:classes`` or ``:number``, or positions."""


class Told(NamedTuple):
    """The features of samples, and what the networks are told of each: None for models that take no condition."""

    x: Float[Tensor, "N D"]
    c: Float[Tensor, "N C"] | None

    def dataset(self, held_out: int | None = None) -> Dataset:
        """All of them to train on, and the first ones, or all, to measure."""
        x = self.x.float().cpu()
        found = Dataset("X", x, x[:held_out], {"kind": "given"})
        if self.c is None:
            return found
        c = self.c.float().cpu()
        return found.with_conditions(c, c[:held_out])

    def parts(self, model: Autoencoder, rows: int) -> list[tuple[Model, Float[Tensor, "B D"]]]:
        """Some samples at a time, each time with the model for them."""
        like = next(model.parameters())
        return list(pieces(model if self.c is None else model.given(self.c.to(like)), self.x.to(like), rows))


class Conditions(NamedTuple):
    """Which columns are conditions."""

    places: list[int]  # in X
    names: list[str]  # as a coding calls them, perhaps with their kind

    @classmethod
    def of(cls, named: Named, X: Any) -> Conditions:
        """The columns that a parameter names.

        Raises:
            InputError: no such column, one twice, or no others.
        """
        if named is None:
            return cls([], [])
        each = list(named) if isinstance(named, Iterable) and not isinstance(named, str) else [named]
        columns = [str(name) for name in X.columns] if hasattr(X, "columns") else None
        count = np.shape(X)[1] if len(np.shape(X)) == 2 else 0
        places, names = [], []
        for one in each:
            if isinstance(one, str):
                name = kind_of(one)[0]
                if columns is None:
                    raise InputError(f"condition names {shown(one)}, but X has no names; give positions")
                if name not in columns:
                    there = some(columns, 8)
                    raise InputError(f"condition names {shown(name)}, but X has {there}{nearest(name, columns)}")
                places.append(columns.index(name))
            elif isinstance(one, int | np.integer) and not isinstance(one, bool) and -count <= one < count:
                places.append(int(one) % count)
            else:
                raise InputError(f"condition has {shown(one)}; expected names or positions of the {count} columns of X")
            names.append(one if isinstance(one, str) else columns[places[-1]] if columns else str(places[-1]))
        if len(set(places)) < len(places):
            raise InputError(f"condition is {shown(named)}, which names a column twice")
        if each and len(places) == count:
            raise InputError("condition names every column of X; expected some that are features")
        return cls(places, names)

    def cut(self, X: Any) -> tuple[Any, dict[str, Shaped[np.ndarray, " N"]]]:
        """``X`` with zeros in these columns, which may be text, and their values by name."""
        if not self.places:
            return X, {}
        plain = [kind_of(name)[0] for name in self.names]
        if hasattr(X, "iloc"):
            found = {name: np.asarray(X.iloc[:, place]) for name, place in zip(plain, self.places, strict=True)}
            X = X.copy()
            for place in self.places:
                X.isetitem(place, 0.0)
            return X, {name: _whole(values) for name, values in found.items()}
        X = X.toarray() if hasattr(X, "toarray") else np.array(X)
        found = {name: X[:, place] for name, place in zip(plain, self.places, strict=True)}
        kept = {name: _whole(values.copy()) for name, values in found.items()}
        X[:, self.places] = 0
        return X, kept


def coded(coding: Coding, condition: Any, count: int) -> Float[Tensor, "N C"]:
    """What a person says beside codes: one condition for each of them, or one for all.

    Raises:
        InputError: none, or one that is not known.
    """
    if condition is None:
        raise InputError(f"the model is conditional; give condition=…, one for each or one for all: {coding.told()}")
    c = coding.of_values(condition)
    if len(c) not in (1, count):
        raise InputError(f"there are {len(c)} conditions for {count} codes; expected one for each, or one for all")
    return c.expand(count, -1)


def _whole(values: Shaped[np.ndarray, " N"]) -> Shaped[np.ndarray, " N"]:
    """Whole numbers as such: a table of numbers has one type for all of its columns. Texts of digits stay texts."""
    if values.dtype.kind in "biu" or any(isinstance(value, str | bytes) for value in values.tolist()):
        return values
    try:
        numbers = values.astype(np.float64)
    except (OverflowError, TypeError, ValueError):
        return values
    whole = (np.abs(numbers) < 2.0**63) & (numbers == np.floor(numbers))  # int64 holds no others
    return values.astype(np.int64) if whole.all() else values
