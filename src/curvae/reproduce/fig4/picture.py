"""Figure 4 and its companions as pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from curvae.reproduce.drawing import log_axis, models_in_rows, plain
from curvae.reproduce.sweep.faces import CHALLENGER, REFERENCE

_COLOURS = {REFERENCE: "#4063d8", CHALLENGER: "#d8591f"}
_PANELS = (
    ("frechet_prior", "Fréchet distance, z from the prior"),
    ("frechet_mixture", "Fréchet distance, z from a mixture\nfitted to the codes"),
    ("sharpness_prior", "sharpness of samples\n(variance of the Laplacian)"),
    ("mse", "squared error of a pixel,\nreconstructed"),
    ("grae_full", "objective (13), held out"),
)
_ABLATION = (
    ("frechet_prior", "Fréchet distance, prior"),
    ("frechet_mixture", "Fréchet distance, mixture"),
    ("sharpness_prior", "sharpness, prior"),
    ("mse", "squared error of a pixel"),
)


def against_beta(summary: Mapping[str, Any]) -> Figure:
    """Means with their standard deviation over seeds as bars, every seed as a dot; real images dotted or in words."""
    figure = Figure(figsize=(10, 5.6), dpi=100, layout="constrained")
    axes = figure.subplots(2, 3).ravel()
    distance = summary["frechet"]
    real = {"sharpness_prior": summary["sharpness_of_real_images"]}
    real |= dict.fromkeys(("frechet_prior", "frechet_mixture"), distance["of_training_images"])
    for at, (key, title) in zip(axes, _PANELS, strict=False):
        _panel(plain(at), summary, key)
        at.set_title(title, fontsize=9)
        if key in real:
            _real(at, real[key])
    _bias(plain(axes[-1]), distance)
    # real images are in some panels alone
    shown = {label: handle for at in axes for handle, label in zip(*at.get_legend_handles_labels(), strict=True)}
    figure.legend(shown.values(), shown, loc="outside lower center", ncols=3, fontsize=9, frameon=False)
    drawn = f"{_marks(summary)}; Fréchet distance on {distance['extractor']} features"
    figure.suptitle(f"{drawn}, {distance['images']:,} images in each set", fontsize=9)
    return figure


def _marks(summary: Mapping[str, Any]) -> str:
    several = summary["models"][REFERENCE]["mse"][0]["sd"] is not None
    return "lines: means over seeds; bars: standard deviation; dots: seeds" if several else "one seed"


def _panel(at: Axes, summary: Mapping[str, Any], key: str) -> None:
    betas = np.array(summary["betas"])
    for shift, (name, colour) in zip((0.985, 1.015), _COLOURS.items(), strict=True):
        found = summary["models"][name][key]
        # one seed has no spread, and a bar of no length would claim it
        means, sds = [one["mean"] for one in found], [np.nan if one["sd"] is None else one["sd"] for one in found]
        at.errorbar(betas * shift, means, sds, color=colour, marker="o", markersize=3.5, capsize=3, lw=1.3, label=name)
        for beta, one in zip(betas * shift, found, strict=True):
            at.plot([beta] * len(one["values"]), one["values"], ".", color=colour, alpha=0.45, markersize=4)
    log_axis(at, betas.tolist(), rotation=60 if len(betas) > 6 else 0, fontsize=8)
    at.set_xlabel("β", fontsize=9)


def _real(at: Axes, value: float) -> None:
    """Where real images are; in words if that is so far off that the models could not be told apart."""
    low, high = at.get_ylim()
    if low - (high - low) <= value <= high + (high - low):
        at.axhline(value, color="0.4", linestyle=":", linewidth=1.2, label="real images")
        return
    below = value < low
    room = 0.14 * (high - low)  # so that the words hide no bar
    at.set_ylim(low - room * below, high + room * (not below))
    text = f"real images: {value:.3g} {'↓' if below else '↑'}"
    place, side = (0.03, "bottom") if below else (0.97, "top")
    at.text(0.03, place, text, transform=at.transAxes, ha="left", va=side, color="0.4", fontsize=8)


def _bias(at: Axes, distance: Mapping[str, Any]) -> None:
    """How the distance of real images from real images falls with their number."""
    counts, values = zip(*sorted((int(n), value) for n, value in distance["by_number_of_images"].items()), strict=True)
    at.plot(counts, values, "o-", color="0.4", markersize=3.5, linewidth=1.3)
    log_axis(at, counts, fontsize=8)
    at.set_ylim(bottom=0)
    at.set_title("Fréchet distance of real images from\nas many real images: its bias", fontsize=9)
    at.set_xlabel("images in each set", fontsize=9)


def ablation(found: Mapping[str, Any]) -> Figure:
    """One panel a measure, one row a model; dots are seeds, bars their means, dotted GRAE≈."""
    models: Mapping[str, Any] = found["models"]
    figure = Figure(figsize=(10, 0.3 * len(models) + 1.2), dpi=100, layout="constrained")
    axes: Sequence[Axes] = figure.subplots(1, len(_ABLATION), sharey=True)
    for at, (key, title) in zip(axes, _ABLATION, strict=True):
        plain(at).set_title(title, fontsize=9)
        models_in_rows(at, models, key, found["reference"])
    several = len(found["seeds"]) > 1
    drawn = "dots: seeds; bars: their means" if several else "one seed"
    figure.suptitle(f"β = {found['beta']:g}; {drawn}; dotted: {found['reference']}", fontsize=9)
    return figure
