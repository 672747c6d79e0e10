"""Figure 3: a column for each block size; objectives, gaps, and how the gaps come about in training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from curvae.reproduce.drawing import log_axis, plain
from curvae.reproduce.fig3.config import Curves
from curvae.reproduce.fig3.numbers import GAPS

_OBJECTIVES = {
    "beta_vae": ("β-VAE (2)", "#4063d8", "o"),
    "taylor": ("Taylor (7)", "#e69f00", "s"),
    "grae": ("GRAE (13)", "#cb3c33", "^"),
    "grae_family": ("GRAE, closed form of Σ's family", "#389826", "v"),
}
_GAPS = {"(2) − (7)": ("#4063d8", "o"), "(7) − (13)": ("#cb3c33", "^"), "(7) − family": ("#389826", "v")}


def plot(summary: Mapping[str, Any], config: Curves) -> Figure:
    """Top: the objectives against β. Middle: the gaps' sizes, in log–log. Bottom: the gap (7) − (13) along training.

    Shaded: 95 % intervals; those of a size reach down to the frame where the gap may be 0. Hollow: gaps below 0.
    """
    blocks = config.blocks
    figure = Figure(figsize=(3.3 * len(blocks) + 0.4, 8.6), dpi=90, layout="constrained")
    axes = figure.subplots(3, len(blocks), squeeze=False, sharey="row")
    for column, block in enumerate(blocks):
        found = summary["blocks"][str(block)]
        _objectives(plain(axes[0, column]), found, config)
        axes[0, column].set_title(
            f"d = {config.latents}, b = {block}{' (diagonal Σ)' if block == 1 else ''}", fontsize=9
        )
        _gaps(plain(axes[1, column]), found, config)
        _along_training(plain(axes[2, column]), found, config, summary["steps"])
    axes[0, 0].set_ylabel("objective, nats per image", fontsize=8)
    axes[1, 0].set_ylabel("|gap|, nats per image (hollow: gap < 0)", fontsize=8)
    axes[2, 0].set_ylabel("(7) − (13), nats per image", fontsize=8)
    figure.suptitle("shaded: 95 % intervals", fontsize=8)
    # the slopes are each column's own
    for at in (axes[0, -1], *axes[1], axes[2, -1]):
        at.legend(fontsize=6.5)
    return figure


def _beta_axis(at: Axes, betas: Sequence[float]) -> None:
    log_axis(at, betas, fontsize=7)
    at.set_xlabel("β", fontsize=8)


def _objectives(at: Axes, found: Mapping[str, Any], config: Curves) -> None:
    _beta_axis(at, config.betas)
    for name, (label, colour, marker) in _OBJECTIVES.items():
        _line(at, config.betas, found["objectives"][-1][name], label, colour, marker)


def _gaps(at: Axes, found: Mapping[str, Any], config: Curves) -> None:
    _beta_axis(at, config.betas)
    at.set_yscale("log")
    for title, (colour, marker) in _GAPS.items():
        power = found["slopes"][title]["value"]
        label = title if power is None else f"{title}: slope {power:.2f}"
        _line(at, config.betas, found["gaps"][-1][title], label, colour, marker, magnitude=True)
    formula = [one["value"] for one in found["objectives"][-1]["gap"]]
    at.plot(config.betas, formula, linestyle="", marker="x", color="black", label="(7) − (13), by the formula")


def _along_training(at: Axes, found: Mapping[str, Any], config: Curves, steps: Sequence[int]) -> None:
    log_axis(at, steps, fontsize=7)
    at.set_yscale("log")
    at.set_xlabel("step", fontsize=8)
    colours = colormaps["viridis"](np.linspace(0, 0.9, len(config.betas)))
    title = list(GAPS)[1]
    for k, (beta, colour) in enumerate(zip(config.betas, colours, strict=True)):
        gaps = [found["gaps"][step][title][k] for step in range(len(steps))]
        _line(at, steps, gaps, f"β = {beta:g}", colour, ".", magnitude=True)


def _line(
    at: Axes,
    x: Sequence[int] | Sequence[float],
    found: Sequence[Mapping[str, Any]],
    label: str,
    colour: Any,
    marker: str,
    magnitude: bool = False,
) -> None:
    values, low, high = (np.array([one[key] for one in found]) for key in ("value", "low", "high"))
    negative = values < 0
    if magnitude:
        values, (low, high) = np.abs(values), sizes(low, high)
    at.fill_between(x, low, high, color=colour, alpha=0.2, linewidth=0)
    at.plot(x, values, color=colour, marker=marker, markersize=4, linewidth=1, label=label)
    if magnitude and negative.any():
        hollow = {"color": colour, "marker": marker, "markersize": 4, "markerfacecolor": "white"}
        at.plot(np.asarray(x)[negative], values[negative], linestyle="", **hollow)


def sizes(low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The intervals of |x|, from those of x: they begin at 0 where x may have either sign.

    Example:
        >>> sizes(np.array([-3.0, -2.0, 1.0]), np.array([-1.0, 5.0, 4.0]))
        (array([1., 0., 1.]), array([3., 5., 4.]))
    """
    either = (low <= 0) & (high >= 0)
    least, most = np.minimum(np.abs(low), np.abs(high)), np.maximum(np.abs(low), np.abs(high))
    return np.where(either, 0.0, least), most
