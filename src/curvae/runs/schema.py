"""What a value that was read from disk must be: checks that are put together like the documents they describe."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from curvae._checks import is_finite, is_unicode, shown
from curvae.errors import InputError

Check = Callable[[str, Any], None]
"""Called with the name of a value and the value; raises an ``InputError`` that names both."""

_SHORT = 200


def anything(name: str, value: Any) -> None:
    """No demand, of what nobody reads here."""


def text(name: str, value: Any) -> None:
    """A short text that can be printed."""
    if not isinstance(value, str) or len(value) > _SHORT or not is_unicode(value):
        raise InputError(f"{name} is {shown(value)}; expected a short string")


def flag(name: str, value: Any) -> None:
    """True or false."""
    if not isinstance(value, bool):
        raise InputError(f"{name} is {shown(value)}; expected true or false")


def count(name: str, value: Any) -> None:
    """A whole number ≥ 1 that fits into 64 bits."""
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value < 2**63:
        raise InputError(f"{name} is {shown(value)}; expected a whole number from 1 to 2^63 - 1")


def number(name: str, value: Any) -> None:
    """A finite number, whole or not."""
    if not is_finite(value):
        raise InputError(f"{name} is {shown(value)}; expected a finite number")


def amount(name: str, value: Any) -> None:
    """A finite number ≥ 0."""
    if not is_finite(value) or value < 0:
        raise InputError(f"{name} is {shown(value)}; expected a finite number >= 0")


def digest(name: str, value: Any) -> None:
    """A SHA-256 digest in hexadecimal digits."""
    if not isinstance(value, str) or len(value) != 64 or not set(value) <= set("0123456789abcdef"):
        raise InputError(f"{name} is {shown(value)}; expected the 64 hexadecimal digits of a SHA-256 digest")


def optional(check: Check) -> Check:
    """What ``check`` takes, or null."""

    def checked(name: str, value: Any) -> None:
        if value is not None:
            check(name, value)

    return checked


def listing(check: Check, at_least: int = 0) -> Check:
    """A list of what ``check`` takes."""

    def checked(name: str, value: Any) -> None:
        if not isinstance(value, list) or len(value) < at_least:
            raise InputError(f"{name} is {shown(value)}; expected a list" + (" that is not empty" if at_least else ""))
        for position, entry in enumerate(value):
            check(f"{name}[{position}]", entry)

    return checked


def mapping(check: Check) -> Check:
    """An object whose values ``check`` takes, under any names."""

    def checked(name: str, value: Any) -> None:
        for key, entry in _object(name, value).items():
            text(f"a key of {name}", key)
            check(f"{name}.{key}", entry)

    return checked


def record(needed: Mapping[str, Check], more: Mapping[str, Check] | None = None) -> Check:
    """An object with the ``needed`` keys, and perhaps with some of the others.

    Example:
        >>> point = record({"x": number}, {"label": text})
        >>> point("point", {"x": 1.5, "label": "a", "unknown": []})
        >>> point("point", {"x": "wide"})
        Traceback (most recent call last):
        curvae.errors.InputError: point.x is 'wide'; expected a finite number
    """

    def checked(name: str, value: Any) -> None:
        entries = _object(name, value)
        missing = [key for key in needed if key not in entries]
        if missing:
            raise InputError(f"{name or 'it'} lacks {', '.join(missing)}")
        for key, check in {**needed, **(more or {})}.items():
            if key in entries:
                check(f"{name}.{key}" if name else key, entries[key])

    return checked


def _object(name: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InputError(f"{name} is {shown(value)}; expected an object")
    return value
