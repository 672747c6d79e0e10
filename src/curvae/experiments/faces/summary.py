"""Figure 4 in numbers: every seed, how the two models differ at each β, and the answer to the paper's claim."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from curvae.experiments.faces.config import Quality
from curvae.experiments.faces.measure import MEASURES
from curvae.experiments.faces.models import CHALLENGER, REFERENCE
from curvae.experiments.sweeps.intervals import paired

Measured = Mapping[tuple[str, float, int], Mapping[str, float]]
DISTANCES = ("frechet_prior", "frechet_mixture")


def against_beta(found: Measured, config: Quality) -> dict[str, Any]:
    """By measure and β: all values, means and standard deviations, and GRAE≈ less β-VAE of the same seed.

    Args:
        found: the measures of every model, by name, β and seed.
        config: the figure's.
    """
    seeds = config.training.seeds

    def values(name: str, key: str, beta: float) -> np.ndarray:
        return np.array([found[name, beta, seed][key] for seed in seeds])

    models = {
        name: {key: [spread(values(name, key, beta)) for beta in config.betas] for key in MEASURES}
        for name in (REFERENCE, CHALLENGER)
    }
    differences = {
        key: [paired(values(CHALLENGER, key, beta) - values(REFERENCE, key, beta)) for beta in config.betas]
        for key in MEASURES
    }
    answers = {
        key: [answer(values(CHALLENGER, key, beta), values(REFERENCE, key, beta)) for beta in config.betas]
        for key in DISTANCES
    }
    return {"measures": dict(MEASURES), "models": models, "differences": differences, "within_spread": answers}


def ablation(found: Mapping[tuple[str, int], Mapping[str, float]], beta: float) -> dict[str, Any]:
    """Every variant's values, and how they differ from GRAE≈ of the same seed.

    Args:
        found: the measures, by variant and seed.
        beta: of all of them.
    """
    names, seeds = list(dict.fromkeys(name for name, _ in found)), list(dict.fromkeys(seed for _, seed in found))
    models = {}
    for name in names:
        columns = {key: np.array([found[name, seed][key] for seed in seeds]) for key in MEASURES}
        own = {key: np.array([found[CHALLENGER, seed][key] for seed in seeds]) for key in MEASURES}
        models[name] = {
            key: {**spread(columns[key]), "difference": paired(columns[key] - own[key])} for key in MEASURES
        }
    return {"beta": beta, "seeds": seeds, "reference": CHALLENGER, "models": models}


def spread(values: np.ndarray) -> dict[str, Any]:
    """All values, their mean, and their standard deviation over seeds; None of one seed.

    Example:
        >>> spread(np.array([1.0, 3.0]))
        {'values': [1.0, 3.0], 'mean': 2.0, 'sd': 1.4142135623730951}
    """
    sd = float(values.std(ddof=1)) if len(values) > 1 else None
    return {"values": values.tolist(), "mean": float(values.mean()), "sd": sd}


def answer(challenger: np.ndarray, reference: np.ndarray) -> dict[str, Any]:
    """Whether two models' means differ by no more than one model differs from itself, with another seed.

    ``spread`` is the standard deviation of one model over seeds, pooled over both models; ``ratio`` is the distance of
    the means over it, ``within`` whether that is ≤ 1. None with one seed, which has no spread.

    Example:
        >>> answer(np.array([1.0, 3.0]), np.array([2.0, 4.0]))["within"]
        True
    """
    gap = abs(float(challenger.mean() - reference.mean()))
    if len(reference) < 2:
        return {"gap": gap, "spread": None, "ratio": None, "within": None}
    pooled = float(np.sqrt((challenger.var(ddof=1) + reference.var(ddof=1)) / 2))
    return {"gap": gap, "spread": pooled, "ratio": gap / pooled if pooled else None, "within": gap <= pooled}


def sentence(answers: Sequence[Mapping[str, Any]], betas: Sequence[float]) -> str:
    """The answer in words.

    Example:
        >>> sentence([{"within": True}, {"within": False}], [0.1, 1.0])
        'within the spread of the seeds at 1 of 2 β: yes at 0.1; no at 1'
    """
    if any(one["within"] is None for one in answers):
        return "no answer: one seed has no spread"
    yes = [f"{beta:g}" for one, beta in zip(answers, betas, strict=True) if one["within"]]
    no = [f"{beta:g}" for one, beta in zip(answers, betas, strict=True) if not one["within"]]
    parts = [f"{word} at {', '.join(some)}" for word, some in (("yes", yes), ("no", no)) if some]
    return f"within the spread of the seeds at {len(yes)} of {len(betas)} β: {'; '.join(parts)}"
