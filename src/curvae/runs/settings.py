"""What a builder takes: its parameters, and settings for them as texts."""

from __future__ import annotations

import inspect
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from curvae._checks import nearest, shown
from curvae.errors import InputError
from curvae.runs.builder import Builder, name_of

FROM_OPTIONS = {name: f"--{name}" for name in ("latents", "structure", "likelihood")} | {"conditions": "--condition"}
"""Parameters of a builder that are filled from options of a run, and no settings of its own."""

_POSITIONAL = (
    inspect.Parameter.POSITIONAL_ONLY,
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
    inspect.Parameter.VAR_POSITIONAL,
)
_WORDS = dict.fromkeys(("true", "yes", "on", "1"), True) | dict.fromkeys(("false", "no", "off", "0"), False)


def takes(build: Builder, name: str) -> bool:
    """Whether a builder has a parameter of this name.

    Example:
        >>> takes(lambda shape, latents: None, "latents"), takes(lambda shape, **settings: None, "latents")
        (True, False)
    """
    return name in _parameters(build)


def settings_of(build: Builder, given: Mapping[str, str]) -> dict[str, Any]:
    """Settings as the builder's annotations read them.

    ``int``, ``float``, ``bool``, ``str``, ``Path``, ``Literal[…]``, any of them ``| None`` (written ``none``), and
    lists and tuples of them (``64,128``). A parameter without an annotation has the type of its default, else text;
    ``**`` takes any name.

    Raises:
        InputError: a name that the function does not take, one that it needs and that is missing, or a text that its
            type does not read.

    Example:
        >>> def build(shape, depth: int = 2, rate: float | None = None, hidden=(8, 8)): ...
        >>> settings_of(build, {"depth": "3", "rate": "1e-3", "hidden": "16,32"})
        {'depth': 3, 'rate': 0.001, 'hidden': (16, 32)}
        >>> settings_of(build, {"dept": "3"})
        Traceback (most recent call last):
        curvae.errors.InputError: build takes no setting 'dept'; did you mean depth? ...
    """
    known = _parameters(build)
    called = name_of(build)
    rest = next((one for one in known.values() if one.kind is one.VAR_KEYWORD), None)
    own = [name for name, one in known.items() if one is not rest and name not in FROM_OPTIONS]
    found = {}
    for name, text in given.items():
        if name in FROM_OPTIONS:
            raise InputError(f"{name} is not a setting of {called} but an option of the run; use {FROM_OPTIONS[name]}")
        if name not in own and rest is None:
            all_of = f"it takes {', '.join(map(shown, own))}" if own else "it takes none"
            raise InputError(f"{called} takes no setting {shown(name)}{nearest(name, own)}; {all_of}")
        parameter = known[name] if name in own else rest
        assert parameter is not None
        found[name] = _value(f"--set {name}", text, _kind(parameter))
    needed = [name for name in own if known[name].default is inspect.Parameter.empty and name not in given]
    if needed:
        raise InputError(f"{called} needs {', '.join(map(shown, needed))}; give --set {needed[0]}=VALUE")
    return found


def has_default(build: Builder, name: str) -> bool:
    """Whether a builder that is not given this parameter has a value for it."""
    return _parameters(build)[name].default is not inspect.Parameter.empty


def takes_shape(build: Builder) -> bool:
    """Whether a builder has a parameter for the shape of a sample: the first, if it is called so or has no default.

    A first parameter with a default of its own is a setting, and one of a run's options is that option.

    Example:
        >>> takes_shape(lambda shape: None), takes_shape(lambda: None), takes_shape(lambda *, depth=2: None)
        (True, False, False)
        >>> takes_shape(lambda depth=2: None), takes_shape(lambda latents: None)
        (False, False)
    """
    first = next(iter(_signature(build).values()), None)
    if first is None or first.kind not in _POSITIONAL or first.name in FROM_OPTIONS:
        return False
    return first.name == "shape" or first.default is inspect.Parameter.empty


def plain(name: str, text: str, kind: Any) -> Any:
    """One value as ``bool``, ``int``, ``float``, ``str`` or ``Path`` reads it.

    Raises:
        InputError: a text that it does not read, or another type.

    Example:
        >>> plain("lr", "1e-3", float), plain("compile", "yes", bool)
        (0.001, True)
    """
    if kind is bool:
        if text.lower() not in _WORDS:
            raise InputError(f"{name} is {shown(text)}; expected true or false")
        return _WORDS[text.lower()]
    if kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            what = "a whole number" if kind is int else "a number"
            raise InputError(f"{name} is {shown(text)}; expected {what}") from None
    if kind in (str, Path):
        return kind(text)
    raise InputError(
        f"{name} has the type {getattr(kind, '__name__', kind)}, which is not read from text; a setting is int, float, "
        "bool, str, Path, Literal, one of these or None, or a list or tuple of them"
    )


def _parameters(build: Builder) -> dict[str, inspect.Parameter]:
    """What a builder can be given by name: all but the shape."""
    found = list(_signature(build).values())[takes_shape(build) :]
    return {one.name: one for one in found if one.kind is not inspect.Parameter.VAR_POSITIONAL}


def _signature(build: Builder) -> Mapping[str, inspect.Parameter]:
    try:
        try:
            return inspect.signature(build, eval_str=True).parameters
        except NameError:  # an annotation that only a type checker can read
            return inspect.signature(build).parameters
    except (TypeError, ValueError):  # of C, say
        raise InputError(f"{shown(build)} does not tell its parameters; expected a Python function") from None


def _kind(parameter: inspect.Parameter) -> Any:
    empty = inspect.Parameter.empty
    if parameter.annotation not in (empty, Any):
        return parameter.annotation
    default = parameter.default
    if default in (empty, None):
        return str
    if isinstance(default, list | tuple) and default:
        return list[type(default[0])] if isinstance(default, list) else tuple[type(default[0]), ...]  # type: ignore[misc]
    return type(default)


def _value(name: str, text: str, kind: Any) -> Any:
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        if type(None) in inner and text.lower() in ("none", "null"):
            return None
        kinds = [one for one in inner if one is not type(None)]
        for one in kinds[:-1]:
            try:
                return _value(name, text, one)
            except InputError:
                continue
        return _value(name, text, kinds[-1])
    if origin is Literal:
        found = next((one for one in inner if str(one) == text), None)
        if found is None:
            raise InputError(f"{name} is {shown(text)}; expected one of {', '.join(map(str, inner))}")
        return found
    if origin in (list, tuple, Sequence):
        parts = [part.strip() for part in text.strip("[]()").split(",") if part.strip()]
        values = [_value(name, part, inner[0] if inner else str) for part in parts]
        return values if origin is list else tuple(values)
    return plain(name, text, kind)
