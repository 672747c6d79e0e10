"""Figures 2 and 7 as the paper lays them out, and the shares that a picture cannot show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure, SubFigure
from matplotlib.patches import Rectangle

from curvae.reproduce.drawing import plain
from curvae.reproduce.fig2.config import setting_name
from curvae.reproduce.fig2.numbers import HeatMapPanel

_COLUMNS = 4
_LABELS = {
    "blocks": ("decoder trained with blocks in Σ", "#4063d8", "o"),
    "diagonal": ("control: trained with diagonal Σ", "#cb3c33", "s"),
    "autoencoder": ("control: ordinary autoencoder", "#389826", "^"),
}


def heat_maps(panels: Sequence[HeatMapPanel], shown: int) -> Figure:
    """A panel for each setting; in it a pair Σ⁻¹, JᵀJ for each test point. Each heat map has its own scale."""
    columns = min(_COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    # four test points to a column, as the paper has them
    deep = min(4, shown)
    wide = -(-shown // deep)
    size = (0.2 + columns * (1.7 * wide + 0.35), rows * (0.82 * deep + 0.75))
    figure = Figure(figsize=size, dpi=100, layout="constrained")
    grid = np.atleast_1d(figure.subfigures(rows, columns, squeeze=False)).ravel()
    for sub, panel in zip(grid, panels, strict=False):
        sub.suptitle(panel.setting.name, fontsize=9)
        _pairs(sub, panel, shown, deep, wide)
    return figure


def _pairs(sub: SubFigure, panel: HeatMapPanel, shown: int, deep: int, wide: int) -> None:
    model = panel.found["blocks"][0]
    axes = sub.subplots(deep, 2 * wide, squeeze=False)
    for at in axes.ravel():
        at.set_axis_off()
    assert model.precision is not None
    for index in range(min(shown, len(model.gram))):
        left, right = axes[index % deep, 2 * (index // deep) : 2 * (index // deep) + 2]
        for at, matrix, title in ((left, model.precision[index], "Σ⁻¹"), (right, model.gram[index], "JᵀJ")):
            limit = np.abs(matrix).max() or 1.0
            at.imshow(matrix, cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest")
            _outline(at, panel.setting.latents, panel.setting.block)
            if index % deep == 0:
                at.set_title(title, fontsize=8)


def _outline(at: Any, latents: int, block: int) -> None:
    """Thin frames around the blocks."""
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
