"""Checks of arguments that several rooms share."""

from __future__ import annotations

import math
from numbers import Integral, Real

from curvae.errors import InputError


def positive(name: str, value: float) -> float:
    """Return ``value`` as a float if it is finite and > 0, else raise an ``InputError`` that names it."""
    if not (_is_finite(value) and value > 0):
        raise InputError(f"{name} is {value!r}; expected a finite number > 0")
    return float(value)


def non_negative(name: str, value: float) -> float:
    """Return ``value`` as a float if it is finite and ≥ 0, else raise an ``InputError`` that names it."""
    if not (_is_finite(value) and value >= 0):
        raise InputError(f"{name} is {value!r}; expected a finite number >= 0")
    return float(value)


def positive_int(name: str, value: int) -> int:
    """Return ``value`` if it is an integer ≥ 1, else raise an ``InputError`` that names it."""
    if not isinstance(value, Integral) or isinstance(value, bool) or value < 1:
        raise InputError(f"{name} is {value!r}; expected a whole number >= 1")
    return int(value)


def _is_finite(value: object) -> bool:
    if not isinstance(value, Real) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number beyond the range of floats
        return False
