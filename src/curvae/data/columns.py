"""Names of the columns of a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from curvae.errors import InputError


def names_of(x: Any) -> tuple[str, ...] | None:
    """What the columns of a data frame are called; None where nothing is, or they are called by numbers.

    Example:
        >>> names_of([[1.0, 2.0]]) is None
        True
    """
    columns = getattr(x, "columns", None) if hasattr(x, "__array__") else None
    names = () if columns is None else tuple(columns)
    return names if names and all(isinstance(name, str) for name in names) else None


def check_names(known: Sequence[str] | None, there: Sequence[str] | None, source: str) -> None:
    """Refuse columns that are not those that a model was trained on, in their order; where both have names.

    Raises:
        InputError: the first column that is another.

    Example:
        >>> check_names(["a", "b"], ["b", "a"], "x")
        Traceback (most recent call last):
        curvae.errors.InputError: x has the column 'b' where the model was trained on 'a'; put the columns in that ...
    """
    if known is None or there is None:
        return
    known, there = ([name.strip() for name in names] for names in (known, there))  # as tables are read
    if known == there:
        return
    missing = [name for name in known if name not in there]
    more = [name for name in there if name not in known]
    if missing:
        raise InputError(f"{source} has no column {missing[0]!r}, which the model was trained on")
    if more:
        raise InputError(f"{source} has a column {more[0]!r}, which the model was not trained on; leave it out")
    for name in known:
        many, trained = list(there).count(name), list(known).count(name)
        if many != trained:
            column = f"{many} column{'s' * (many > 1)} called {name!r}"
            raise InputError(f"{source} has {column} where the model was trained on {trained}")
    wanted, found = next(pair for pair in zip(known, there, strict=True) if pair[0] != pair[1])
    raise InputError(
        f"{source} has the column {found!r} where the model was trained on {wanted!r}; put the columns in that order: "
        f"{', '.join(known)}"
    )
