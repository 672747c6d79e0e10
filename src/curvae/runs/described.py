"""What tells one objective of one's own from another."""

from __future__ import annotations

import hashlib
from numbers import Real
from typing import Any

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
    """An objective's class, its public settings and those of its parts, in at most 200 characters; a function's name.

    Values that training moves are not told, nor what a function does.

    Example:
        >>> from curvae.objectives import BetaVAE
        >>> from curvae.likelihoods import LearnedGaussian
        >>> described(BetaVAE(0.2, LearnedGaussian(floor=0.1)))
        'BetaVAE(beta=0.2, likelihood=LearnedGaussian(floor=0.1), samples=1, antithetic=False)'
        >>> described(described)
        'described'
    """
    text = _with_settings(objective)
    return text if len(text) <= _LONGEST else f"{text[:150]}… {hashlib.sha256(text.encode()).hexdigest()[:16]}"


def _with_settings(part: Any) -> str:
    if hasattr(part, "__qualname__"):
        return str(part.__qualname__)
    values = dict(getattr(part, "__dict__", {}))
    if isinstance(part, nn.Module):
        values = {name: value for name, value in values.items() if name != "training"} | dict(part.named_children())
    told = ", ".join(f"{name}={_told(value)}" for name, value in values.items() if not name.startswith("_"))
    return f"{type(part).__qualname__}({told})"


def _told(value: Any) -> str:
    if value is None or isinstance(value, Real | str):
        return shown(value)
    if isinstance(value, Likelihood | Structure | Estimator | Probes) or hasattr(value, "__qualname__"):
        return _with_settings(value)
    return type(value).__qualname__
