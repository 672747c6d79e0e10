"""Checks of arguments that several packages share."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral, Real
from typing import TypeGuard

from curvae.errors import InputError

_SHOWN = 60


def is_finite(value: object) -> TypeGuard[float]:
    """Whether a value is a real number, and finite as a float."""
    if not isinstance(value, Real) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number beyond the range of floats
        return False


def positive(name: str, value: float) -> float:
    """Return ``value`` as a float if it is finite and > 0, else raise an ``InputError`` that names it."""
    if not (is_finite(value) and value > 0):
        raise InputError(f"{name} is {shown(value)}; expected a finite number > 0{_no_array(value)}")
    return float(value)


def non_negative(name: str, value: float) -> float:
    """Return ``value`` as a float if it is finite and ≥ 0, else raise an ``InputError`` that names it."""
    if not (is_finite(value) and value >= 0):
        raise InputError(f"{name} is {shown(value)}; expected a finite number >= 0{_no_array(value)}")
    return float(value)


def positive_int(name: str, value: int) -> int:
    """Return ``value`` if it is an integer ≥ 1, else raise an ``InputError`` that names it."""
    if not isinstance(value, Integral) or isinstance(value, bool) or value < 1:
        raise InputError(f"{name} is {shown(value)}; expected a whole number >= 1{_no_array(value)}")
    return int(value)


def is_whole(text: str) -> bool:
    """Whether a text is a whole number ≥ 0 of at most 19 digits: Python refuses to read thousands."""
    return text.isascii() and text.isdigit() and len(text) < 20


def is_unicode(text: str) -> bool:
    """Whether a text has no half of a surrogate pair, as JSON can say, and names of other encodings have."""
    return not any("\ud800" <= letter <= "\udfff" for letter in text)


def _no_array(value: object) -> str:
    """What to add where a tensor or an array shows as the number that is expected."""
    several = hasattr(value, "item") and not isinstance(value, Real)
    return f", not {a_kind(value)}: give float(…) or int(…) of it" if several else ""


def shape_of(name: str, value: int | Sequence[int]) -> tuple[int, ...]:
    """Return a number ≥ 1, or several, as a shape, else raise an ``InputError`` that names it.

    Example:
        >>> shape_of("latents", 3), shape_of("latents", (4, 8, 8))
        ((3,), (4, 8, 8))
    """
    if not isinstance(value, tuple | list):
        return (positive_int(name, value),)  # type: ignore[arg-type]
    if not value:
        raise InputError(f"{name} has no axes; expected a number, or a shape such as (4, 8, 8)")
    return tuple(positive_int(name, size) for size in value)


def shown(value: object) -> str:
    """A value as an error message shows it: at most 60 characters on one line.

    Example:
        >>> shown("x"), len(shown("x" * 1000)), shown(10**5000)
        ("'x'", 60, 'a number of thousands of digits')
    """
    try:
        text = " ".join(repr(value).split())
    except ValueError:  # Python does not write so many digits
        return "a number of thousands of digits"
    except RecursionError:
        return "deeply nested"
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def a_kind(value: object) -> str:
    """The name of a value's type with its article, for errors.

    Example:
        >>> a_kind(1), a_kind([])
        ('an int', 'a list')
    """
    return with_article(type(value).__name__)


def an_answer(value: object) -> str:
    """The same of what was to be one tensor: of what is in it too.

    Example:
        >>> an_answer({"mean": 0}), an_answer((1, 2)), an_answer(None)
        ("a dict with 'mean'", 'a tuple of 2', 'a NoneType')
    """
    if isinstance(value, Mapping):
        return f"a dict with {', '.join(map(shown, value))}"
    return a_kind(value) + (f" of {len(value)}" if isinstance(value, tuple | list) else "")


def with_article(name: str) -> str:
    """A name with *a* or *an* before it."""
    return f"{'an' if name[:1] in 'aeioAEIO' else 'a'} {name}"


def some(names: Sequence[str], most: int) -> str:
    """Names with commas, and an ellipsis after so many."""
    return ", ".join(names[:most]) + ", …" * (len(names) > most)


def first_names(names: Sequence[str]) -> str:
    """The first names as :func:`shown`, and how many there are besides.

    Example:
        >>> first_names(["a", "b", "c", "d", "e"]), first_names([])
        ("'a', 'b', 'c' and 2 more", 'nothing')
    """
    return ", ".join(map(shown, names[:3])) + f" and {len(names) - 3} more" * (len(names) > 3) if names else "nothing"


def nearest(name: str, names: Iterable[str]) -> str:
    """What to add to the line about an unknown name: one that is spelled much the same, if there is one.

    Example:
        >>> nearest("dept", ["depth", "width"]), nearest("x", ["depth"])
        ('; did you mean depth?', '')
    """
    near = difflib.get_close_matches(name, list(names), 1)
    return f"; did you mean {near[0]}?" if near else ""
