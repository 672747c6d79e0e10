"""Decode error under latent noise: predicted to second order, and measured."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from curvae._checks import positive
from curvae.errors import InputError
from curvae.inspection.result import NoiseLevel

LEVELS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
TOLERANCE = 0.1


def check_levels(levels: Sequence[float]) -> tuple[float, ...]:
    """Standard deviations, > 0, sorted up.

    Raises:
        InputError: none, or one that is not > 0.
    """
    if not levels:
        raise InputError("noise is empty; expected standard deviations > 0")
    return tuple(sorted({positive("noise", level) for level in levels}))


def summarise(
    levels: Sequence[float],
    trace: Float[np.ndarray, " B"],
    errors: Float[np.ndarray, "B S n"],
    linear: Float[np.ndarray, "B n"],
) -> tuple[NoiseLevel, ...]:
    r"""Means over samples and draws for each level.

    The same draws were pushed through the Jacobian, where their mean is known: $\mathrm{tr}M$. What they miss there is
    taken off the measured error (a control variate), so that a handful of draws tells a bend of a few per cent.
    """
    found = []
    for level, measured in zip(levels, errors.swapaxes(0, 1), strict=True):
        known, drawn = level**2 * trace, level**2 * linear
        factor = _factor(measured, drawn)
        corrected = measured.mean(1) - factor * (drawn.mean(1) - known)
        rest = corrected if len(corrected) > 1 else (measured - factor * (drawn - known[:, None]))[0]
        found.append(NoiseLevel(level, float(known.mean()), float(corrected.mean()), standard_error(rest)))
    return tuple(found)


def radius(noise: Sequence[NoiseLevel]) -> float | None:
    """The noise at which measured and predicted error differ by 10 %, between levels by the logarithm.

    Example:
        >>> level = lambda s, measured: NoiseLevel(s, 1.0, measured, 0.0)
        >>> radius([level(0.1, 1.0), level(1.0, 1.2)]), radius([level(0.1, 1.0)])
        (0.316..., None)
    """
    before: tuple[float, float] | None = None
    for level in noise:
        if not level.predicted > 0:  # a decoder of steps, such as a quantised one, moves where no derivative says so
            off = math.inf if level.measured > 0 else 0.0
        else:
            off = abs(level.measured / level.predicted - 1)
        if off > TOLERANCE:
            if before is None:
                return level.std
            share = (TOLERANCE - before[1]) / (off - before[1])
            return math.exp(math.log(before[0]) + share * (math.log(level.std) - math.log(before[0])))
        before = (level.std, off)
    return None


def standard_error(values: Float[np.ndarray, " N"]) -> float:
    """Of a mean; not a number for one value, which says nothing of it."""
    return float(values.std(ddof=1) / math.sqrt(len(values))) if len(values) > 1 else math.nan


def _factor(measured: Float[np.ndarray, "B n"], drawn: Float[np.ndarray, "B n"]) -> float:
    """How much of the draws' luck in the linear part shows in the measured error."""
    if drawn.shape[1] == 1:
        return float(measured.mean() / drawn.mean()) if drawn.mean() > 0 else 0.0
    away, luck = measured - measured.mean(1, keepdims=True), drawn - drawn.mean(1, keepdims=True)
    return float((away * luck).sum() / (luck**2).sum()) if (luck**2).sum() > 0 else 0.0
