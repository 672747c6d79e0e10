"""Figures 2 and 7 as the paper lays them out, and the shares that a picture cannot show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure, SubFigure
from matplotlib.patches import Rectangle

from curvae.reproduce.drawing import log_axis, plain
from curvae.reproduce.fig2.config import setting_name
from curvae.reproduce.fig2.numbers import HeatMapPanel

_COLUMNS = 4
_LABELS = {
    "blocks": ("decoder trained with blocks in Σ", "#4063d8", "o"),
    "diagonal": ("control: trained with diagonal Σ", "#cb3c33", "s"),
    "autoencoder": ("control: ordinary autoencoder", "#389826", "^"),
}


def heat_maps(panels: Sequence[HeatMapPanel], shown: int) -> Figure:
    """A panel for each setting: in it, for each test point, the image, Σ⁻¹ and what (11) asks of it, on one scale."""
    columns = min(_COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    size = (0.2 + columns * 2.5, rows * (0.82 * shown + 1.1))
    figure = Figure(figsize=size, dpi=100, layout="constrained")
    grid = np.atleast_1d(figure.subfigures(rows, columns, squeeze=False)).ravel()
    for sub, panel in zip(grid, panels, strict=False):
        sub.suptitle(panel.setting.name, fontsize=9)
        _triples(sub, panel, shown)
    return figure


def _triples(sub: SubFigure, panel: HeatMapPanel, shown: int) -> None:
    model = panel.at(panel.steps[-1], "blocks")[0]
    assert model.precision is not None
    precision, implied = model.precision[:shown], model.implied(panel.setting.beta)[:shown]
    limit = max(np.abs(precision).max(), np.abs(implied).max())
    axes = sub.subplots(shown, 3, squeeze=False)
    for place, (image, *pair) in enumerate(zip(panel.images, precision, implied, strict=False)):
        axes[place, 0].imshow(np.atleast_2d(image), cmap="gray")
        for at, matrix in zip(axes[place, 1:], pair, strict=True):
            drawn = at.imshow(matrix, cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest")
            _outline(at, panel.setting.latents, panel.setting.block)
    for at in axes.ravel():
        at.set_axis_off()
    for at, title in zip(axes[0, 1:], ("Σ⁻¹", "I + JᵀJ/β"), strict=True):
        at.set_title(title, fontsize=8)
    bar = sub.colorbar(drawn, ax=list(axes[:, 1:].ravel()), location="bottom", aspect=25, pad=0.02)
    bar.ax.tick_params(labelsize=7, length=2)


def _outline(at: Any, latents: int, block: int) -> None:
    for start in range(0, latents, block):
        side = min(block, latents - start)
        frame = Rectangle((start - 0.5, start - 0.5), side, side, fill=False, edgecolor="0.35", linewidth=0.5)
        at.add_patch(frame)


def shares(summaries: Sequence[Mapping[str, Any]]) -> Figure:
    """The share of JᵀJ's squared off-diagonal entries inside blocks: the figure's decoders, their controls and chance.

    Lines are 95 % intervals.
    """
    figure = Figure(figsize=(10, 0.5 * len(summaries) + 1.6), dpi=100, layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    for at, key, title in (
        (axes[0], "share", "share of squared entries inside blocks"),
        (axes[1], "share_of_cosines", "share of squared cosines inside blocks"),
    ):
        plain(at).set_title(title, fontsize=9)
        at.set_xlim(0, 1)
        for row, summary in enumerate(summaries):
            at.plot([summary["share_by_chance"]] * 2, [-row - 0.4, -row + 0.4], color="0.5", linestyle=":")
            for shift, (kind, (_, colour, marker)) in enumerate(_LABELS.items()):
                found = summary[key][kind]
                y = -row + 0.22 * (1 - shift)
                # around its own middle: a percentile interval need not hold its estimate
                middle, half = (found["low"] + found["high"]) / 2, (found["high"] - found["low"]) / 2
                at.errorbar(middle, y, xerr=half, color=colour, capsize=2)
                at.plot(found["value"], y, color=colour, marker=marker, markersize=4)
    figure.suptitle("lines: 95 % intervals", fontsize=8)
    names = [setting_name(summary) for summary in summaries]
    axes[0].set_yticks([-row for row in range(len(names))], names, fontsize=8)
    handles = [axes[0].plot([], [], color=c, marker=m, linestyle="")[0] for _, c, m in _LABELS.values()]
    handles.append(axes[0].plot([], [], color="0.5", linestyle=":")[0])
    labels = [label for label, _, _ in _LABELS.values()]
    figure.legend(
        handles, [*labels, "chance: latents in random order"], loc="outside lower center", ncols=2, fontsize=8
    )
    return figure


def along_training(summaries: Sequence[Mapping[str, Any]]) -> Figure:
    """A column for each setting: above the share inside blocks, below how far Σ⁻¹ is from (11), against steps."""
    figure = Figure(figsize=(2.1 * len(summaries) + 0.6, 4.2), dpi=100, layout="constrained")
    axes = figure.subplots(2, len(summaries), squeeze=False, sharey="row")
    rows = {"share": "share inside blocks", "distance_in_structure": "relative distance of Σ⁻¹"}
    for column, summary in enumerate(summaries):
        axes[0, column].set_title(setting_name(summary), fontsize=8)
        steps = [found["step"] for found in summary["along_training"]]
        for at, key in zip(axes[:, column], rows, strict=True):
            for kind in summary["along_training"][0][key]:
                label, colour, marker = _LABELS[kind]
                value, low, high = (
                    [found[key][kind][each] for found in summary["along_training"]] for each in ("value", "low", "high")
                )
                at.fill_between(steps, low, high, color=colour, alpha=0.2, linewidth=0)
                at.plot(steps, value, color=colour, marker=marker, markersize=3, linewidth=1, label=label)
            log_axis(plain(at), steps, fontsize=6)
        axes[0, column].axhline(summary["share_by_chance"], color="0.5", linestyle=":", label="chance")
        axes[1, column].set_xlabel("step", fontsize=8)
    for at, label in zip(axes[:, 0], rows.values(), strict=True):
        at.set_ylim(bottom=0)  # once all is drawn: the row shares its axis, and a limit ends its growing
        at.set_ylabel(label, fontsize=8)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3 if len(summaries) > 2 else 1, fontsize=7)
    return figure
