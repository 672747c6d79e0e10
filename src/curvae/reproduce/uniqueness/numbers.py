"""From an experiment's tables to its summary: every panel's claims with intervals, ready for JSON."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import scipy.stats
from numpy.typing import NDArray

from curvae.errors import InputError
from curvae.reproduce.intervals import Interval, Values, bootstrap_trials, percentile
from curvae.reproduce.uniqueness.config import Config
from curvae.reproduce.uniqueness.runner import Table, TrialTables
from curvae.reproduce.uniqueness.trial import GenerativeModel, Guard, make_trial

UNIFORM_SPREAD = 22.5
"""Mean |angle| in degrees when the angle is uniform on (−45, 45]: no uniqueness at all."""
_RESAMPLES = 10_000


def fraction_within(angle: Values, degrees: float) -> Interval:
    """The fraction of |angle| below a bound, with the exact (Clopper–Pearson) interval.

    Example:
        >>> fraction_within(np.array([0.1, -1.5, 3.0, 40.0]), 2.0)["value"]
        0.5
    """
    if angle.size == 0:
        raise InputError("there are no angles; expected at least one trial")
    test = scipy.stats.binomtest(int((np.abs(angle) < degrees).sum()), angle.size)
    interval = test.proportion_ci(method="exact")
    return {"value": test.statistic, "low": interval.low, "high": interval.high}


def spread(angle: Values, axis: int = -1) -> Any:
    """Mean |angle| in degrees: 22.5 if uniform, 0 if unique."""
    return np.abs(angle).mean(axis)


def median_size(angle: Values, axis: int = -1) -> Any:
    """Median |angle| in degrees."""
    return np.median(np.abs(angle), axis)


def best_against_worst(angle: Values, score: Values, generator: np.random.Generator) -> dict[str, Interval]:
    """Mean |angle| in the best and the worst quarter of the runs by ``score`` (an ELBO: larger is better).

    Returns:
        ``best_quarter``, ``worst_quarter`` and ``worst_minus_best``, which is positive where a higher score goes with a
        smaller spread.

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
    return {"best_quarter": means[0], "worst_quarter": means[1], "worst_minus_best": difference}


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
    """Rotation angles between the posterior means of two affine encoders on the same data, degrees in (−45, 45].

    Args:
        encoder: C by rows and d, one trial a row [R, 6].
        other: the encoders they are measured against [R, 6], or one for all [1, 6].
        moments: Σ x̃x̃ᵀ of each trial's data with x̃ = (x, 1) [R, 3, 3], or of the one data set [1, 3, 3].
    """
    maps = [np.concatenate([e[:, :4].reshape(-1, 2, 2), e[:, 4:, None]], axis=2) for e in (encoder, other)]
    return _angles_of(maps[1] @ moments @ maps[0].swapaxes(1, 2))


def decoder_angles(decoder: Values) -> Values:
    """Rotation angles of decoders A, by rows [R, 4], to the outputs' own axes, from A's polar factor, one a trial.

    0 means that each latent drives one output: with an elementwise ν that makes every sample's posterior precision
    I + AᵀD_i²A/σ² diagonal, whatever the slopes D_i are.

    Example:
        >>> decoder_angles(np.array([[0.0, 2.0, -1.0, 0.0]])).tolist()
        [0.0]
    """
    return _angles_of(decoder.reshape(-1, 2, 2))


def _angles_of(matrices: Values) -> Values:
    """Angles of polar factors in (−45, 45], permutations and reflections removed; NaN for trials that diverged."""
    lost = ~np.isfinite(matrices).reshape(-1, 4).all(1)
    u, _, vt = np.linalg.svd(np.where(lost.reshape(-1, 1, 1), 0.0, matrices))
    rotation = u @ vt
    angle = np.degrees(np.arctan2(rotation[:, 1, 0], rotation[:, 0, 0]))
    return np.where(lost, np.nan, 45.0 - np.mod(45.0 - angle, 90.0))


CONVERGED = 10_000
"""Trials with at least this n count as converged, as in the paper's 100 + 100 trials."""
WITHIN = 2.0

Json = dict[str, Any]
Mask = NDArray[np.bool_]


def data_moments(config: Config, model: GenerativeModel) -> Values:
    """``moments_of`` all trials of an experiment; of one where all have the same data."""
    return moments_of(model, config.seed, range(config.trials if model.draw is None else 1))


def moments_of(model: GenerativeModel, seed: int, indices: Iterable[int]) -> Values:
    """Σ x̃x̃ᵀ, x̃ = (x, 1), of these trials' data, drawn again from the seed [R, 3, 3]."""
    moments = []
    for index in indices:
        x = make_trial(model, Guard.OFF, seed, index).x
        extended = np.c_[x, np.ones(len(x))]
        moments.append(extended.T @ extended)
    return np.stack(moments)


def summarise(result: TrialTables, generator: np.random.Generator) -> Json:
    """The statistics of all panels; the generator is for the bootstrap."""
    moments = {model: data_moments(result.config, model) for model in result.optima}
    panels = {
        panel.name: _panel(result.of(panel), result.optima.get(panel.model), moments.get(panel.model), generator)
        for panel in result.config.panels
    }
    for panel in result.config.panels:
        if panel.model.draw is not None and panel.model in result.optima:
            panels[panel.name]["one_w"] = _one_w(panel.model, result.config.seed, result.optima[panel.model])
    return {"panels": panels, "uniform_spread_degrees": UNIFORM_SPREAD, "within_degrees": WITHIN}


def _panel(table: Table, optimum: Table | None, moments: Values | None, generator: np.random.Generator) -> Json:
    finite = np.isfinite(table["elbo"]) & np.isfinite(table["angle"])
    out: Json = {
        "trials": len(finite),
        "diverged": int((~finite).sum()),
        "elbo_quadrature_error_max": float(table["elbo_error"][finite].max()),
        "elbo_standard_error_over_data": float(np.median(table["elbo_spread"][finite])),
        "to_true_latents": _angles(table, table["angle"], table["elbo"], finite, generator),
        "to_principal_axes": _angles(table, table["angle_principal"], table["elbo"], finite, generator),
        "decoder_to_output_axes": _angles(table, decoder_angles(table["decoder"]), table["elbo"], finite, generator),
    }
    if optimum is not None and moments is not None:
        gap = optimum["elbo"] - table["elbo"]
        relative = relative_angles(table["encoder"], optimum["encoder"], moments)
        out["to_elbo_optimum"] = _angles(table, relative, -gap, finite, generator)
        out["elbo_gap_median_by_n"] = _medians(table["period"][finite], gap[finite])
        if len(optimum["angle"]) > 1:
            out["optimum_to_true_latents"] = bootstrap_trials(spread, optimum["angle"], generator)
    return out


def _one_w(model: GenerativeModel, seed: int, optimum: Table) -> Json:
    """The one W of a panel and the ELBO's optimum on its one data set."""
    mixing = make_trial(model, Guard.OFF, seed, 0).mixing
    variances = optimum["variances"][0, :2]
    return {
        "w_to_output_axes": float(decoder_angles(mixing.reshape(1, 4))[0]),
        "optimum_to_true_latents": float(optimum["angle"][0]),
        "optimum_elbo": float(optimum["elbo"][0]),
        "optimum_ratio_of_variances": float(variances.max() / variances.min()),
    }


def _angles(table: Table, angle: Values, score: Values, finite: Mask, generator: np.random.Generator) -> Json:
    """What one kind of angle says; ``score`` ranks the runs."""
    angle, score, period = angle[finite], score[finite], table["period"][finite]
    distance, p_value = uniformity(angle)
    last = angle[period >= min(CONVERGED, period.max())]
    last_distance, last_p = uniformity(last)
    out: Json = {
        "spread": bootstrap_trials(spread, angle, generator),
        "uniform": {"ks_distance": distance, "p_value": p_value},
        "converged": {
            "trials": last.size,
            "median_abs": bootstrap_trials(median_size, last, generator),
            "within": fraction_within(last, WITHIN),
            "uniform": {"ks_distance": last_distance, "p_value": last_p},
        },
        "median_abs_by_n": _medians(period, np.abs(angle)),
    }
    if angle.size >= 8:
        out |= best_against_worst(angle, score, generator)
    return out


def _medians(period: NDArray[np.int64], values: Values) -> Json:
    found = {str(n): float(np.median(values[period == n])) for n in np.unique(period)}
    return {n: value if math.isfinite(value) else None for n, value in found.items()}  # JSON has no NaN
