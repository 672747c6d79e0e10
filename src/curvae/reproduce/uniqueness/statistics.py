"""The paper's claims as numbers with confidence intervals, from the tables of per-trial results."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.stats

from curvae.errors import InputError
from curvae.reproduce.intervals import Interval, Values, bootstrap_trials, percentile

UNIFORM_SPREAD = 22.5
"""Mean |angle| in degrees when the angle is uniform on (−45, 45]: no uniqueness at all."""
_RESAMPLES = 10_000


def fraction_within(angle: Values, degrees: float) -> Interval:
    """The fraction of |angle| below a bound, with the exact (Clopper–Pearson) interval.

    Example:
        >>> fraction_within(np.array([0.1, -1.5, 3.0, 40.0]), 2.0).value
        0.5
    """
    if angle.size == 0:
        raise InputError("there are no angles; expected at least one trial")
    test = scipy.stats.binomtest(int((np.abs(angle) < degrees).sum()), angle.size)
    interval = test.proportion_ci(method="exact")
    return Interval(test.statistic, interval.low, interval.high)


def spread(angle: Values, axis: int = -1) -> Any:
    """Mean |angle| in degrees: 22.5 if uniform, 0 if unique."""
    return np.abs(angle).mean(axis)


def median_size(angle: Values, axis: int = -1) -> Any:
    """Median |angle| in degrees."""
    return np.median(np.abs(angle), axis)


@dataclass(frozen=True)
class BestWorst:
    """Mean |angle| among the quarter of runs with the best score and the quarter with the worst."""

    best: Interval
    worst: Interval
    difference: Interval


def best_against_worst(angle: Values, score: Values, generator: np.random.Generator) -> BestWorst:
    """Spread of the angle in the best and the worst quarter by ``score`` (an ELBO: larger is better).

    The difference (worst − best) is positive where a higher score goes with a smaller spread.

    Raises:
        InputError: fewer than eight trials.
    """
    if angle.size < 8:
        raise InputError(f"there are {angle.size} trials; expected at least 8 to compare quarters")
    order = np.argsort(score)
    quarter = angle.size // 4
    worst, best = np.abs(angle[order[:quarter]]), np.abs(angle[order[-quarter:]])
    draws = generator.integers(quarter, size=(2, _RESAMPLES, quarter))
    differences = worst[draws[0]].mean(1) - best[draws[1]].mean(1)
    difference = percentile(float(worst.mean() - best.mean()), differences)
    means = [bootstrap_trials(np.mean, part, generator) for part in (best, worst)]
    return BestWorst(means[0], means[1], difference)


def uniformity(angle: Values) -> tuple[float, float]:
    """Kolmogorov–Smirnov distance of the angles from uniform on (−45, 45], and its p-value.

    Example:
        >>> uniformity(np.linspace(-44.9, 45, 300))[1] > 0.9
        True
        >>> uniformity(np.random.default_rng(0).normal(size=100))[1] < 1e-6
        True
    """
    test = scipy.stats.kstest(angle, "uniform", args=(-45.0, 90.0))
    return float(test.statistic), float(test.pvalue)


def relative_angles(encoder: Values, other: Values, moments: Values) -> Values:
    """Rotation angles between the posterior means of two affine encoders on the same data.

    Args:
        encoder: C by rows and d, one trial a row [R, 6].
        other: the encoders they are measured against [R, 6].
        moments: Σ x̃x̃ᵀ of each trial's data with x̃ = (x, 1) [R, 3, 3].

    Returns:
        degrees in (−45, 45], one a trial.
    """
    maps = [np.concatenate([e[:, :4].reshape(-1, 2, 2), e[:, 4:, None]], axis=2) for e in (encoder, other)]
    cross = maps[1] @ moments @ maps[0].swapaxes(1, 2)
    u, _, vt = np.linalg.svd(cross)
    return _folded(u @ vt)


def decoder_angles(decoder: Values) -> Values:
    """Rotation angles of decoders A to the outputs' own axes, from A's polar factor, one a trial.

    0 means that each latent drives one output: with an elementwise ν that makes every datum's posterior precision
    I + AᵀD_i²A/σ² diagonal, whatever the slopes D_i are.

    Args:
        decoder: A by rows [R, 4].

    Example:
        >>> decoder_angles(np.array([[0.0, 2.0, -1.0, 0.0]])).tolist()
        [0.0]
    """
    u, _, vt = np.linalg.svd(decoder.reshape(-1, 2, 2))
    return _folded(u @ vt)


def _folded(rotation: Values) -> Values:
    """Angles of 2×2 orthogonal matrices in (−45, 45], permutations and reflections removed."""
    angle = np.degrees(np.arctan2(rotation[:, 1, 0], rotation[:, 0, 0]))
    return 45.0 - np.mod(45.0 - angle, 90.0)
