"""Two questions the paper leaves open: uniqueness without sampling, and how different the variances must be (§3.1, ii).

(a) ``grae`` with diagonal, full and block-diagonal structure, two starts on the same data.
(b) W's columns with norms (2, 2/ρ): as ρ goes to 1 the two posterior variances become equal, every rotation of a
mean-field q is mean-field again, and uniqueness fades. The curve over ρ separates what the ELBO's optimum does (with
4000 data its own axes are known only to about √(λ₁λ₂)/(λ₁ − λ₂)/√N radians) from what training reaches.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from curvae.posteriors import BlockDiagonal, Diagonal, Full
from curvae.reproduce import cores
from curvae.reproduce.drawing import save_png
from curvae.reproduce.intervals import bootstrap_trials
from curvae.reproduce.uniqueness.activations import Nonlinearity
from curvae.reproduce.uniqueness.config import Panel
from curvae.reproduce.uniqueness.engine import run_trial
from curvae.reproduce.uniqueness.grae import TwinSetting, axes_angle, block_freedom, twins
from curvae.reproduce.uniqueness.numbers import median_size, moments_of, relative_angles
from curvae.reproduce.uniqueness.optimum import run_optimum
from curvae.reproduce.uniqueness.runner import Table, to_table
from curvae.reproduce.uniqueness.trial import GenerativeModel

_CURVES = {
    "trained_to_truth": "trained → truth",
    "optimum_to_truth": "optimum → truth",
    "trained_to_optimum": "trained → optimum",
}


@dataclass(frozen=True)
class Extension:
    """How much to run.

    Attributes:
        ratios: ρ.
        trials: for each ρ.
        period: n of these trials.
        datasets: for each of GRAE's settings, half as many in four dimensions; two starts each.
        points: data of GRAE's trials.
        seed: of everything.
    """

    ratios: tuple[float, ...] = (1.0, 1.02, 1.05, 1.1, 1.2, 1.5, 2.0, 4.0)
    trials: int = 20
    period: int = 5000
    datasets: int = 6
    points: int = 500
    seed: int = 0


EXTENSIONS: Mapping[str, Extension] = {
    "smoke": Extension(ratios=(1.0, 2.0), trials=3, period=20, datasets=1, points=64),
    "quick": Extension(trials=12, period=2000, datasets=3, points=200),
    "overnight": Extension(),
    "paper": Extension(),
}
"""By scale."""


def ratio_curve(config: Extension, nu: Nonlinearity) -> list[dict[str, Any]]:
    """The curve over ρ of one ν, mean-field, amortised.

    Returns:
        Of each ρ, the ``ratio``, ``variances``, the median ratio of the two posterior variances at the optimum, larger
        over smaller, and with intervals the median |angle| in degrees of the trained model's latents to the true ones
        (``trained_to_truth``), of the ELBO's optimum to these, and of the trained model to the optimum on these data.
    """
    return [_ratio_point(config, GenerativeModel(nu, norms=(2.0, 2.0 / ratio)), ratio) for ratio in config.ratios]


def _ratio_point(config: Extension, model: GenerativeModel, ratio: float) -> dict[str, Any]:
    panel, generator = Panel(model, mean_field=True), np.random.default_rng(config.seed)

    def table(work: Callable[..., Any]) -> Table:
        # for compiled trials only: PyTorch's forward-mode levels are one for all threads, so GRAE's cannot run so
        with ThreadPoolExecutor(cores.usable()) as pool:
            return to_table(pool.map(lambda i: work(panel, config.seed, i, config.period), range(config.trials)))

    trained, optimum = table(run_trial), table(run_optimum)
    moments = moments_of(model, config.seed, range(config.trials))
    relative = relative_angles(trained["encoder"], optimum["encoder"], moments)
    variances = optimum["variances"][:, :2]
    angles = trained["angle"], optimum["angle"], relative
    medians = [bootstrap_trials(median_size, angle[np.isfinite(angle)], generator) for angle in angles]
    spread = float(np.median(variances.max(1) / variances.min(1)))
    return {"ratio": ratio, "variances": spread, **dict(zip(_CURVES, medians, strict=True))}


def grae_twins(config: Extension) -> dict[str, dict[str, list[float]]]:
    """Angles between two GRAE minima on the same data, and to the true latents, by ν and structure."""
    out = {}
    for nu in (Nonlinearity.IDENTITY, Nonlinearity.TANH):
        for structure in (Diagonal(), Full()):
            setting = TwinSetting(nu, (2.0, 1.0), structure, config.points)
            pairs = [twins(setting, seed) for seed in range(config.seed, config.seed + config.datasets)]
            out[f"{nu.value} {structure}"] = {
                "between": [p.angle_between for p in pairs],
                "to_truth": [a for p in pairs for a in p.angles_to_truth],
                "loss_difference": [abs(p.losses[0] - p.losses[1]) for p in pairs],
            }
    return out


def grae_blocks(config: Extension) -> dict[str, dict[str, list[float]]]:
    """In four dimensions (identity): how much of the rotation to the truth crosses blocks, what is within, and
    the largest turn of an axis from one start to the other (two starts may pair different axes in their blocks)."""
    out = {}
    for structure in (Diagonal(), BlockDiagonal(2), Full()):
        setting = TwinSetting(Nonlinearity.IDENTITY, (2.0, 1.6, 1.25, 1.0), structure, config.points)
        pairs = [twins(setting, seed) for seed in range(config.seed, config.seed + (config.datasets + 1) // 2)]
        splits = [block_freedom(p.latents, mean) for p in pairs for mean in p.means]
        out[str(structure)] = {
            "across_blocks": [across for across, _ in splits],
            "within_blocks": [angle for _, within in splits for angle in within],
            "axes_between_starts": [axes_angle(*p.means) for p in pairs],
            "loss_difference": [abs(p.losses[0] - p.losses[1]) for p in pairs],
        }
    return out


def summarise(config: Extension) -> dict[str, Any]:
    """Run everything; plain numbers for JSON."""
    return {
        "config": dataclasses.asdict(config),
        "ratio": {nu.value: ratio_curve(config, nu) for nu in (Nonlinearity.IDENTITY, Nonlinearity.TANH)},
        "grae_two_starts": grae_twins(config),
        "grae_four_dimensions": grae_blocks(config),
    }


def plot(summary: dict[str, Any], path: Path) -> None:
    """Draw ``summarise``'s numbers: the curves over ρ, and GRAE's angles."""
    canvas = Canvas(figsize=(11, 3.2), dpi=80, layout="constrained")
    *curves, between, blocks = canvas.subplots(1, len(summary["ratio"]) + 2)
    for at, (name, points) in zip(curves, summary["ratio"].items(), strict=True):
        for key, label in _CURVES.items():
            value, low, high = ([p[key][part] for p in points] for part in ("value", "low", "high"))
            ratios = [p["ratio"] for p in points]
            at.plot(ratios, value, marker="o", markersize=3, label=label)
            at.fill_between(ratios, low, high, alpha=0.2, linewidth=0)
        at.axhline(22.5, color="0.7", linewidth=0.6, label="uniform angles")
        at.set(xscale="log", yscale="log", xlabel="ratio of column norms ρ", ylabel="median |angle| (°)", title=name)
        at.set_xticks([1, 2, 4], ["1", "2", "4"])
        at.minorticks_off()
    curves[0].legend(fontsize=7)
    _strips(between, {k: v["between"] for k, v in summary["grae_two_starts"].items()})
    between.set(ylabel="angle between two starts (°)", title="GRAE, 2-D")
    _strips(blocks, {k: v["across_blocks"] for k, v in summary["grae_four_dimensions"].items()})
    blocks.set(ylabel="share of the rotation across blocks", title="GRAE, 4-D, identity")
    canvas.suptitle("shaded: 95 % intervals over data sets", fontsize=8)
    save_png(canvas, path)


def _strips(at: Axes, groups: dict[str, list[float]]) -> None:
    for position, values in enumerate(groups.values()):
        at.plot([position] * len(values), values, "o", markersize=3, alpha=0.6)
    at.set_xticks(range(len(groups)), [name.replace(" ", "\n", 1) for name in groups], fontsize=7)
