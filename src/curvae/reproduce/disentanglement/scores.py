"""The figure in numbers: every seed, intervals, and the questions that the figure is for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import scipy.stats

from curvae.reproduce.disentanglement.config import AUTOENCODER, MODELS, Disentanglement
from curvae.reproduce.disentanglement.numbers import MEASURES
from curvae.reproduce.intervals import Interval, paired, percentile

RunScores = Mapping[tuple[str, float | None, int], Mapping[str, float | None]]
"""The measures of models, by name, β and seed."""
SCORES = ("mig", "disentanglement", "completeness", "sap", "factor_vae")


def summarise(plain: RunScores, control: RunScores, config: Disentanglement) -> dict[str, Any]:
    """All values and their means with Student's intervals over seeds, differences, and the rank correlation."""
    return {
        "measures": dict(MEASURES),
        "betas": list(config.betas),
        "models": {MODELS[name][0]: _curves(plain, name, config) for name in config.models},
        AUTOENCODER: {key: _spread(_values(plain, AUTOENCODER, None, key, config)) for key in MEASURES},
        "control": {MODELS[name][0]: _curves(control, name, config) for name in config.controlled},
        "diagonal_less_full": {
            kind: _less(plain, f"{kind}-diagonal", plain, f"{kind}-full", config)
            for kind in ("vae", "grae")
            if {f"{kind}-diagonal", f"{kind}-full"} <= set(config.models)
        },
        "data_less_control": {name: _less(plain, name, control, name, config) for name in config.controlled},
        "orthogonality": {key: rank_correlation(plain, key, config) for key in SCORES},
    }


def _values(found: RunScores, name: str, beta: float | None, key: str, config: Disentanglement) -> np.ndarray:
    return np.array([found[name, beta, seed][key] for seed in config.training.seeds], float)


def _spread(values: np.ndarray) -> dict[str, Any]:
    known = np.isfinite(values)
    return {
        "values": [float(one) if there else None for one, there in zip(values, known, strict=True)],
        **(paired(values[known]) if known.any() else {"value": None, "low": None, "high": None}),
    }


def _curves(found: RunScores, name: str, config: Disentanglement) -> dict[str, Any]:
    return {key: [_spread(_values(found, name, beta, key, config)) for beta in config.betas] for key in MEASURES}


def _less(one: RunScores, a: str, other: RunScores, b: str, config: Disentanglement) -> dict[str, Any]:
    """Differences of each score, averaged over β, paired by seed."""
    return {
        key: paired(
            np.mean(
                [_values(one, a, beta, key, config) - _values(other, b, beta, key, config) for beta in config.betas], 0
            )
        )
        for key in SCORES
    }


def rank_correlation(found: RunScores, key: str, config: Disentanglement) -> Interval:
    """Spearman's correlation of mean |cos| with a score over all models with a regulariser and two active
    latents; seeds are resampled.

    Returns:
        Negative where orthogonal columns go with a high score; None where a side does not vary.
    """
    by_seed = {
        seed: np.array(
            [
                (one["cosine"], one[key])
                for (name, _, of), one in found.items()
                if of == seed and name in MODELS and one["cosine"] is not None
            ]
        ).reshape(-1, 2)
        for seed in config.training.seeds
    }
    value = _spearman(np.concatenate(list(by_seed.values())))
    generator, seeds = np.random.default_rng(0), config.training.seeds
    drawn = [
        _spearman(np.concatenate([by_seed[seeds[at]] for at in generator.integers(len(seeds), size=len(seeds))]))
        for _ in range(config.resamples)
    ]
    kept = [one for one in drawn if one is not None]
    if value is None or len(seeds) < 2 or not kept:
        return {"value": value, "low": None, "high": None}
    return percentile(value, np.array(kept))


def _spearman(pairs: np.ndarray) -> float | None:
    if len(pairs) < 3 or (np.ptp(pairs, axis=0) == 0).any():
        return None
    return float(scipy.stats.spearmanr(pairs[:, 0], pairs[:, 1]).statistic)
