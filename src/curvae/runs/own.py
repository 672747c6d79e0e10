"""A model of one's own: how it is built again, by whom that is asked for."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from typing import Any

from curvae.autoencoder import Autoencoder
from curvae.errors import InputError

Build = Autoencoder | Callable[..., Autoencoder]
"""A model, or a function that makes one: of the shape of a sample, or of nothing, and of settings by name."""


def build_own(build: Build, shape: tuple[int, ...], settings: Mapping[str, str] | None = None) -> Autoencoder:
    """The model that a function makes, or the one that was given.

    The function is called with the shape of a sample, unless it takes no argument without a name, and with the
    settings by name: numbers, ``true``, ``false``, ``null`` and lists as JSON has them, all else as text.

    Args:
        build: the function, or a ready model, which is taken as it is.
        shape: of a sample.
        settings: what was asked for by name.

    Raises:
        InputError: it is neither, takes no such settings, or returns something else than an ``Autoencoder``.

    Example:
        >>> from torch import nn
        >>> def net(shape, latents=2):
        ...     return Autoencoder(nn.Linear(*shape, 8), nn.Linear(latents, *shape), latents)
        >>> build_own(net, (5,), {"latents": "3"}).latents
        3
    """
    settings = settings or {}
    if isinstance(build, Autoencoder):
        if settings:
            raise InputError(f"settings {', '.join(settings)} are given for a model that is ready; give a function")
        return build
    if not callable(build):
        raise InputError(f"the model is a {type(build).__name__}; expected an Autoencoder or a function that makes one")
    name = getattr(build, "__qualname__", type(build).__name__)
    values = {key: _value(text) for key, text in settings.items()}
    model = build(*_arguments(build, name, shape, values), **values)
    if not isinstance(model, Autoencoder):
        raise InputError(f"{name} returned a {type(model).__name__}; expected a curvae.Autoencoder")
    return model


def _arguments(
    build: Callable[..., Any], name: str, shape: tuple[int, ...], values: Mapping[str, Any]
) -> tuple[Any, ...]:
    """The shape if the function takes it, and nothing if not."""
    try:
        signature = inspect.signature(build)
    except ValueError:  # some builtins have none
        return (shape,)
    for arguments in ((shape,), ()):
        try:
            signature.bind(*arguments, **values)
        except TypeError:
            continue
        return arguments
    given = "".join(f", {key}=…" for key in values)
    raise InputError(f"{name}{signature} cannot be called as {name}(shape{given}); the shape is {shape}")


def _value(text: str) -> Any:
    """What a setting's text means.

    Example:
        >>> _value("3"), _value("[1, 2]"), _value("gelu")
        (3, [1, 2], 'gelu')
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
