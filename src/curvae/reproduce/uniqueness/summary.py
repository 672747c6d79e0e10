"""From an experiment's tables to its summary: every panel's claims with intervals, ready for JSON."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curvae.reproduce.intervals import Values, bootstrap_trials
from curvae.reproduce.uniqueness.config import Config
from curvae.reproduce.uniqueness.runner import Result
from curvae.reproduce.uniqueness.statistics import (
    UNIFORM_SPREAD,
    best_against_worst,
    decoder_angles,
    fraction_within,
    median_size,
    relative_angles,
    spread,
    uniformity,
)
from curvae.reproduce.uniqueness.store import Table
from curvae.reproduce.uniqueness.trial import Guard, Model, make_trial

CONVERGED = 10_000
"""Trials with at least this n count as converged, as in the paper's 100 + 100 trials."""
WITHIN = 2.0

Json = dict[str, Any]
Mask = NDArray[np.bool_]


def data_moments(config: Config, model: Model) -> Values:
    """``moments_of`` all trials of an experiment."""
    return moments_of(model, config.seed, range(config.trials))


def moments_of(model: Model, seed: int, indices: Iterable[int]) -> Values:
    """Σ x̃x̃ᵀ, x̃ = (x, 1), of these trials' data, drawn again from the seed [R, 3, 3]."""
    moments = []
    for index in indices:
        x = make_trial(model, Guard.OFF, seed, index).x
        extended = np.c_[x, np.ones(len(x))]
        moments.append(extended.T @ extended)
    return np.stack(moments)


def summarise(result: Result, generator: np.random.Generator) -> Json:
    """The statistics of all panels.

    Args:
        result: of ``run``.
        generator: for the bootstrap.
    """
    moments = {model: data_moments(result.config, model) for model in result.optima}
    panels = {
        panel.name: _panel(result.of(panel), result.optima.get(panel.model), moments.get(panel.model), generator)
        for panel in result.config.panels
    }
    return {"panels": panels, "uniform_spread_degrees": UNIFORM_SPREAD, "within_degrees": WITHIN}


def angles_to_optimum(table: Table, optimum: Table, moments: Values) -> Values:
    """Angles to the ELBO's own mean-field optimum on the same data, one a trial."""
    return relative_angles(table["encoder"], optimum["encoder"], moments)


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
        relative = angles_to_optimum(table, optimum, moments)
        out["to_elbo_optimum"] = _angles(table, relative, -gap, finite, generator)
        out["elbo_gap_median_by_n"] = _by_period(table, gap, finite, np.median)
        out["optimum_to_true_latents"] = vars(bootstrap_trials(spread, optimum["angle"], generator))
    return out


def _angles(table: Table, angle: Values, score: Values, finite: Mask, generator: np.random.Generator) -> Json:
    """What one kind of angle says; ``score`` ranks the runs."""
    angle, score, period = angle[finite], score[finite], table["period"][finite]
    distance, p_value = uniformity(angle)
    last = angle[period >= min(CONVERGED, period.max())]
    last_distance, last_p = uniformity(last)
    out = {
        "spread": vars(bootstrap_trials(spread, angle, generator)),
        "uniform": {"ks_distance": distance, "p_value": p_value},
        "converged": {
            "trials": last.size,
            "median_abs": vars(bootstrap_trials(median_size, last, generator)),
            "within": vars(fraction_within(last, WITHIN)),
            "uniform": {"ks_distance": last_distance, "p_value": last_p},
        },
        "median_abs_by_n": _by_period(table, np.abs(angle), finite, np.median, masked=True),
    }
    if angle.size >= 8:
        compared = best_against_worst(angle, score, generator)
        out["best_quarter"], out["worst_quarter"] = vars(compared.best), vars(compared.worst)
        out["worst_minus_best"] = vars(compared.difference)
    return out


def _by_period(table: Table, values: Values, finite: Mask, statistic: Any, masked: bool = False) -> Json:
    period = table["period"][finite]
    values = values if masked else values[finite]
    found = {str(n): float(statistic(values[period == n])) for n in np.unique(period)}
    return {n: value if math.isfinite(value) else None for n, value in found.items()}  # JSON has no NaN
