"""``NAME=VALUE`` on the command line."""

from __future__ import annotations

from collections.abc import Iterable

from curvae.errors import InputError


def pairs(option: str, texts: Iterable[str], form: str = "NAME=VALUE") -> dict[str, str]:
    """Texts by name; ``form`` is how the help of the option writes one.

    Raises:
        InputError: a text of another form, or a name that comes twice.

    Example:
        >>> pairs("--set", ["depth=3", "name=a=b"])
        {'depth': '3', 'name': 'a=b'}
    """
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise InputError(f"{option} is {text!r}; expected {form}")
        if name in found:
            raise InputError(f"{option} gives {name} twice; keep one of them")
        found[name] = value
    return found
