"""Intervals: by the bootstrap over test points and seeds or over trials, Student's over seeds; slopes in log–log."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.stats
from numpy.typing import NDArray

from curvae.errors import InputError

Values = NDArray[np.float64]
Statistic = Callable[[Values], float | None]
"""Reduces values ``[seeds, points, …]`` to a number, or None where it is not defined."""
Interval = dict[str, float | None]
"""An estimate as a summary has it: ``value`` with its 95 % interval ``low`` to ``high``; None where not defined."""


def bootstrap(statistic: Statistic, values: Values, generator: np.random.Generator, resamples: int = 1000) -> Interval:
    """A statistic of ``[seeds, points, …]`` with its percentile bootstrap interval.

    Seeds and test points are drawn anew with replacement, each for itself: every model is measured at the same test
    points, so that a point that is drawn is drawn for all seeds. With one seed the interval is over points alone; with
    two or three it says little about seeds.

    Raises:
        InputError: no values.

    Example:
        >>> values = np.arange(100.0).reshape(1, 100)
        >>> found = bootstrap(mean, values, np.random.default_rng(0))
        >>> found["value"], 41 < found["low"] < 49.5 < found["high"] < 58
        (49.5, True)
    """
    if values.size == 0:
        raise InputError("there are no values; expected at least one seed and one test point")
    seeds, points = values.shape[:2]
    found = []
    for _ in range(resamples):
        drawn = values[generator.integers(seeds, size=seeds)][:, generator.integers(points, size=points)]
        found.append(statistic(drawn))
    value = statistic(values)
    known = [one for one in found if one is not None]
    if value is None or not known:
        return {"value": None, "low": None, "high": None}
    return percentile(value, np.array(known))


def percentile(value: float, resampled: Values) -> Interval:
    """An estimate between the 2.5 % and the 97.5 % quantile of what resampling makes of it.

    Example:
        >>> percentile(50.0, np.arange(101.0))
        {'value': 50.0, 'low': 2.5, 'high': 97.5}
    """
    low, high = np.quantile(resampled, [0.025, 0.975])
    return {"value": value, "low": float(low), "high": float(high)}


def bootstrap_trials(statistic: Callable[..., Any], values: Values, generator: np.random.Generator) -> Interval:
    """A statistic of independent trials with its percentile bootstrap interval; no width where nothing varies.

    That is so of a single trial, too. The statistic takes the keyword ``axis``, which it reduces.

    Example:
        >>> found = bootstrap_trials(np.mean, np.arange(50.0), np.random.default_rng(0))
        >>> found["low"] < 24.5 < found["high"]
        True
    """
    value = float(statistic(values, axis=-1))
    if np.ptp(values) == 0:  # a single trial too
        return {"value": value, "low": value, "high": value}
    found = scipy.stats.bootstrap(
        (values,), statistic, n_resamples=10_000, vectorized=True, rng=generator, method="percentile", batch=1000
    ).confidence_interval
    return {"value": value, "low": float(found.low), "high": float(found.high)}


def mean(values: Values) -> float:
    """Over everything."""
    return float(values.mean())


def slope(betas: Values, values: Values) -> float | None:
    """Least-squares slope of log |mean| of ``[seeds, points, K]`` against log β: the power with which a gap grows.

    None if a mean is 0, or of fewer than two values of β, which are different and > 0.

    Example:
        >>> betas = np.array([0.1, 0.2, 0.4])
        >>> round(slope(betas, 3 * betas**2 * np.ones((2, 5, 1))), 6)
        2.0
    """
    means = np.abs(values.mean((0, 1)))
    if len(betas) < 2 or not (means > 0).all():
        return None
    x, y = np.log(betas) - np.log(betas).mean(), np.log(means)
    return float(x @ y / (x @ x))


def paired(differences: np.ndarray) -> Interval:
    """Mean of differences that are paired by seed, with Student's 95 % interval; no interval from one seed.

    Example:
        >>> paired(np.array([1.0, 3.0]))["value"]
        2.0
    """
    value, count = float(differences.mean()), len(differences)
    if count < 2:
        return {"value": value, "low": None, "high": None}
    half = float(scipy.stats.t.ppf(0.975, count - 1) * differences.std(ddof=1) / np.sqrt(count))
    return {"value": value, "low": value - half, "high": value + half}
