"""A model of one's own: how it is built again, by whom that is asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from curvae._checks import a_kind
from curvae.autoencoder import Autoencoder
from curvae.errors import InputError
from curvae.runs.builder import name_of
from curvae.runs.settings import settings_of, takes_shape

Build = Autoencoder | Callable[..., Autoencoder]
"""A model, or a function that makes one: of the shape of a sample, or of nothing, and of settings by name."""


def build_own(
    build: Build,
    shape: tuple[int, ...],
    settings: Mapping[str, str] | None = None,
    options: Mapping[str, Any] | None = None,
) -> Autoencoder:
    """The model that a function makes, or the one that was given.

    The function is called with the shape of a sample, if its first parameter is for that
    (:func:`curvae.runs.settings.takes_shape`), and with the settings by name, read as its annotations say
    (:func:`curvae.runs.settings.settings_of`); options of the run are handed to it as they are.

    Raises:
        InputError: it is neither, takes no such settings, or returns something else than an ``Autoencoder``.

    Example:
        >>> from torch import nn
        >>> def net(shape, features: int = 4):
        ...     return Autoencoder(nn.Linear(*shape, features), nn.Linear(2, *shape), 2)
        >>> build_own(net, (5,), {"features": "8"}).features
        8
    """
    settings = settings or {}
    if isinstance(build, Autoencoder):
        if settings:
            raise InputError(
                f"settings {', '.join(settings)} are given for a model that is already built; give a function"
            )
        return build
    if not callable(build):
        raise InputError(f"the model is {a_kind(build)}; expected an Autoencoder or a function that makes one")
    values = settings_of(build, settings)
    model = build(*((shape,) if takes_shape(build) else ()), **values, **(options or {}))
    if not isinstance(model, Autoencoder):
        raise InputError(f"{name_of(build)} returned {a_kind(model)}; expected a curvae.Autoencoder")
    return model
