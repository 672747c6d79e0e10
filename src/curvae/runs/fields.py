"""What each field of a run's configuration may be."""

from __future__ import annotations

import os
from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any

from curvae._checks import is_finite, shown
from curvae.data.loading import DAMAGED
from curvae.errors import InputError

OBJECTIVES = ("beta-vae", "taylor", "grae", "rae")
CURVATURES = ("gauss-newton", "hessian")
AUTO = "auto"
NETWORKS = (AUTO, "paper", "paper-no-norm", "mlp", "linear")
PRECISIONS = ("32", "bf16", "64")
SCHEDULES = ("constant", "cosine")
DEVICES = ("auto", "cpu", "cuda")
LOGGERS = ("", "tensorboard", "csv")
PYTHON = "python"
"""What a run of :func:`curvae.fit` has where its model, data, objective or structure was handed over as an object."""

_CHOICES: dict[str, tuple[str, ...]] = {
    "objective": OBJECTIVES,
    "curvature": CURVATURES,
    "damaged": DAMAGED,
    "network": NETWORKS,
    "precision": PRECISIONS,
    "schedule": SCHEDULES,
    "device": DEVICES,
    "logger": LOGGERS,
}
_POSITIVE = ("beta", "lr", "width", "clip")
_AT_LEAST_ZERO = (
    *("condition_size", "encoder_weight", "decoder_weight", "orthogonality", "seed", "split_seed", "warmup"),
    *("beta_warmup", "ema", "early_stop"),
)
_BELOW_ONE = ("ema",)
_MAY_BE_EMPTY = ("model", "init_from", "logger", "labels", "drop", "condition")
# beyond these a person has mistyped: years of training, and more draws than a step can hold
_AT_MOST = {"devices": 4096, "steps": 10**9, "epochs": 10**9, "samples": 10_000, "latents": 10**6, "width": 1000.0}
_AT_LEAST_ONE = (
    *("latents", "steps", "epochs", "batch_size", "accumulate", "samples", "checkpoint_every", "log_every", "size"),
    "devices",
)
# characters of a text, and of a path
_LONGEST = (200, 4096)
_PATHS = ("data", "model", "init_from", "labels", "drop", "condition", "likelihood")
# of settings for a model
_MOST_SETTINGS = 100


def checked_field(name: str, kind: str, value: Any) -> Any:
    """The value in its field's type, as annotated.

    Raises:
        InputError: it is of another type, or out of the field's range.

    Example:
        >>> checked_field("beta", "float", 1)
        1.0
    """
    if kind == "str":
        return _text(name, value)
    if kind.startswith("dict"):
        return _settings(name, value)
    if kind == "bool":
        return true_or_false(name, value)
    if value is None and kind.endswith("| None"):
        return None
    number = _integer(name, value) if kind.startswith("int") else _real(name, value)
    if name in _POSITIVE and not number > 0:
        raise InputError(f"{name} is {number}; expected a finite number > 0")
    if name in _AT_LEAST_ZERO and number < 0:
        sort = "whole" if isinstance(number, int) else "finite"
        raise InputError(f"{name} is {number}; expected a {sort} number >= 0")
    if name in _BELOW_ONE and number >= 1:
        raise InputError(f"{name} is {number}; expected a number in [0, 1)")
    if name in _AT_LEAST_ONE and number < 1:
        raise InputError(f"{name} is {number}; expected a whole number >= 1")
    if name in _AT_MOST and number > _AT_MOST[name]:
        raise InputError(f"{name} is {number}; expected at most {_AT_MOST[name]}")
    return number


def _text(name: str, value: Any) -> str:
    choices = _CHOICES.get(name)
    if choices and value not in choices and (name, value) != ("objective", PYTHON):
        raise InputError(f"{name} is {shown(value)}; expected one of {', '.join(filter(None, choices))}")
    if not isinstance(value, str) or not (value or name in _MAY_BE_EMPTY):
        raise InputError(f"{name} is {shown(value)}; expected a non-empty string")
    longest = _LONGEST[name in _PATHS]
    if len(value) > longest or not _is_name(value):
        raise InputError(f"{name} is {shown(value)}; expected at most {longest} characters")
    return value


def _settings(name: str, value: Any) -> dict[str, str]:
    if not isinstance(value, Mapping) or len(value) > _MOST_SETTINGS:
        raise InputError(f"{name} is {shown(value)}; expected at most {_MOST_SETTINGS} names, each with a string")
    for key, entry in value.items():
        if not isinstance(key, str) or not key.isidentifier() or not isinstance(entry, str):
            raise InputError(f"{name} is {shown(value)}; expected names, each with a string")
        if len(entry) > _LONGEST[0] or not _is_name(entry):
            raise InputError(f"{name} is {shown(value)}; expected strings of at most {_LONGEST[0]} characters")
    return dict(value)


def _is_name(value: str) -> bool:
    """Whether the system takes a text: no half of a surrogate pair, which JSON can say."""
    try:
        os.fsencode(value)
    except UnicodeEncodeError:
        return False
    return True


def true_or_false(name: str, value: Any) -> bool:
    """Whether, or an error that names the field."""
    if not isinstance(value, bool):
        raise InputError(f"{name} is {shown(value)}; expected true or false")
    return value


def _integer(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise InputError(f"{name} is {shown(value)}; expected a whole number")
    number = int(value)
    if not -(2**63) <= number < 2**63:
        raise InputError(f"{name} is {shown(value)}; expected a whole number below 2^63")
    return number


def _real(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise InputError(f"{name} is {shown(value)}; expected a number")
    if not is_finite(value):
        raise InputError(f"{name} is {shown(value)}; expected a finite number")
    return float(value)
