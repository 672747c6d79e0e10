"""Packages that come with an extra: where one is missing, one line says so, with the command that installs it."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

from curvae.errors import MissingExtraError

# where the package is not called like the module
_PACKAGES = {"PIL": "pillow", "sklearn": "scikit-learn", "yaml": "pyyaml"}


def require(what: str, *modules: str, extra: str = "cli") -> None:
    """See that modules of an extra can be imported, before what needs them is.

    Args:
        what: needs them, with its verb, for the message.
        modules: by the names they are imported by.
        extra: that brings them.

    Raises:
        MissingExtraError: one is not installed.

    Example:
        >>> require("this example needs", "torch")
        >>> require("this example needs", "torch", "no_such_module")
        Traceback (most recent call last):
        curvae.errors.MissingExtraError: this example needs no-such-module, which is not installed; run: pip install ...
    """
    missing = [_PACKAGES.get(module, module.replace("_", "-")) for module in modules if not _is_there(module)]
    if missing:
        verb = "which is" if len(missing) == 1 else "which are"
        raise MissingExtraError(f'{what} {listed(missing)}, {verb} not installed; run: pip install "curvae[{extra}]"')


def shipped(module: str, inside: str) -> Path | None:
    """Where an installed package keeps a file or folder, found without running its code; None if it has none."""
    spec = importlib.util.find_spec(module)
    places = (spec.submodule_search_locations or []) if spec else []
    return next((path for place in places if (path := Path(place) / inside).exists()), None)


def listed(names: list[str]) -> str:
    """With commas and *and*.

    Example:
        >>> listed(["a"]), listed(["a", "b", "c"])
        ('a', 'a, b and c')
    """
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _is_there(module: str) -> bool:
    return sys.modules.get(module) is not None or importlib.util.find_spec(module) is not None
