"""What tells one objective of one's own from another."""

from __future__ import annotations

import hashlib
import inspect
from numbers import Real
from typing import Any

import numpy as np
from torch import nn

from curvae._checks import shown
from curvae.autoencoder import Autoencoder
from curvae.curvature import Estimator, Probes
from curvae.likelihoods import Likelihood
from curvae.posteriors import Structure
from curvae.runs.config import RunConfig
from curvae.runs.fields import PYTHON
from curvae.runs.handed import Handed

_LONGEST = 200


def unnamed(config: RunConfig, handed: Handed) -> dict[str, str]:
    """What tells parts that were handed over, and that a configuration only calls ``"python"``, from others.

    Example:
        >>> unnamed(RunConfig(data="python", objective="python"), Handed(objective=described))
        {'objective': 'described'}
    """
    model = handed.model
    parts = {
        "objective": handed.objective if config.objective == PYTHON else None,
        "posterior": model.structure if isinstance(model, Autoencoder) and config.structure == PYTHON else None,
    }
    return {name: described(part) for name, part in parts.items() if part is not None}


def described(objective: Any) -> str:
    """An objective's class, its settings and those of its parts, in at most 200 characters; a function's name.

    Settings are the public attributes of which its class asks at construction; others, such as a count of calls, may
    be another's work in the course of a training. What a function does is not told.

    Example:
        >>> from curvae.objectives import BetaVAE
        >>> from curvae.likelihoods import LearnedGaussian
        >>> described(BetaVAE(0.2, LearnedGaussian(floor=0.1)))
        'BetaVAE(beta=0.2, likelihood=LearnedGaussian(floor=0.1), samples=1, antithetic=False)'
        >>> described(described)
        'described'
    """
    try:
        text = _with_settings(objective)
    except RecursionError:  # parts that hold each other
        text = type(objective).__qualname__
    return text if len(text) <= _LONGEST else f"{text[:150]}… {hashlib.sha256(text.encode()).hexdigest()[:16]}"


def _with_settings(part: Any) -> str:
    if hasattr(part, "__qualname__"):
        return str(part.__qualname__)
    values = dict(getattr(part, "__dict__", {}))
    if isinstance(part, nn.Module):
        values |= dict(part.named_children())
    try:
        asked = inspect.signature(type(part)).parameters
    except ValueError:  # a class in C, such as partial, of which Python knows none
        return type(part).__qualname__
    told = ", ".join(f"{name}={_told(value)}" for name, value in values.items() if name in asked)
    return f"{type(part).__qualname__}({told})"


def _told(value: Any) -> str:
    if isinstance(value, np.number):  # of which NumPy's versions write each in its way
        value = value.item()
    if value is None or isinstance(value, Real | str):
        return shown(value)
    if isinstance(value, Likelihood | Structure | Estimator | Probes) or hasattr(value, "__qualname__"):
        return _with_settings(value)
    return type(value).__qualname__
