"""The paper's scatter plots: rotation angle against ELBO, one point a trial, coloured by n."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PathCollection
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure as Canvas
from numpy.typing import NDArray
from PIL import Image

from curvae.files import write_atomic
from curvae.reproduce.intervals import Values
from curvae.reproduce.uniqueness.config import Panel
from curvae.reproduce.uniqueness.numbers import data_moments, relative_angles
from curvae.reproduce.uniqueness.runner import TrialTables
from curvae.reproduce.uniqueness.trial import GenerativeModel, Guard, MixingColumns

_ELBO = "ELBO (nats), lowest tenth on the edge"


@dataclass(frozen=True)
class Scatter:
    """One set of axes.

    Attributes:
        angle: degrees, one a trial.
        target: what the angle is measured to.
        score: ELBO, or minus its gap to the optimum; larger is better.
        period: n, one a trial.
        title: what it shows.
        score_label: of the horizontal axis.
        optimum: where the optimum of the one data set of all trials lies, in degrees; None if there is no such angle.
    """

    angle: Values
    target: str
    score: Values
    period: NDArray[np.int64]
    title: str
    score_label: str
    optimum: float | None = None


def plot(result: TrialTables, path: Path) -> list[Path]:
    """Draw the experiment into a file for each choice of mixing and guard, and say which they are.

    That of the first is ``path``; the others' names have the choice added to the stem.
    """
    choices: dict[tuple[MixingColumns, Guard], list[Panel]] = {}
    for panel in result.config.panels:
        choices.setdefault((panel.model.columns, panel.guard), []).append(panel)
    moments = {model: data_moments(result.config, model) for model in result.optima}
    paths: list[Path] = []
    for (columns, guard), panels in choices.items():
        models = dict.fromkeys(panel.model for panel in panels)
        canvas = draw(_packed([_row(result, model, panels, moments) for model in models]))
        name = path if not paths else path.with_stem(f"{path.stem}-{columns.value}-guard-{guard.value}")
        write_atomic(name, partial(_save, canvas))
        paths.append(name)
    return paths


def _save(canvas: Canvas, path: Path) -> None:
    """As a PNG with a palette: a third of the size, for thousands of points."""
    agg = FigureCanvasAgg(canvas)
    agg.draw()
    image = Image.fromarray(np.asarray(agg.buffer_rgba())).convert("RGB")
    image.quantize(255, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(path, format="PNG", optimize=True)


def _row(
    result: TrialTables, model: GenerativeModel, panels: list[Panel], moments: dict[GenerativeModel, Values]
) -> list[Scatter]:
    """The scatter plots of one ν: each measure of the angle, and for each the two families side by side.

    Where all trials have one data set the true latents suffice: their ELBOs can be compared as they are.
    """
    true, axes, optimal = [], [], []
    one = model.draw is not None
    mark = float(result.optima[model]["angle"][0]) if one and model in result.optima else None
    for panel in (panel for panel in panels if panel.model == model):
        table = result.of(panel)
        elbo, period = table["elbo"], table["period"]
        title = f"{f'W {model.draw}: ' if one else ''}{model.nu.value}, {'diagonal' if panel.mean_field else 'full'} Σ"
        true.append(Scatter(table["angle"], "true latents", elbo, period, title, _ELBO, mark))
        if model.columns is MixingColumns.GAUSSIAN:
            axes.append(Scatter(table["angle_principal"], "principal axes", elbo, period, title, _ELBO))
        if model in moments and not one:
            optimum = result.optima[model]
            relative = relative_angles(table["encoder"], optimum["encoder"], moments[model])
            below = -np.maximum(optimum["elbo"] - elbo, 1e-8)
            optimal.append(Scatter(relative, "optimum", below, period, title, "ELBO below optimum (nats)"))
    return true + axes + optimal


def _packed(rows: list[list[Scatter]]) -> list[list[Scatter]]:
    """Short rows side by side, as many as fit into the longest."""
    wide = max(len(row) for row in rows)
    packed: list[list[Scatter]] = [[]]
    for row in rows:
        if len(packed[-1]) + len(row) > wide:
            packed.append([])
        packed[-1].extend(row)
    return packed


def draw(rows: list[list[Scatter]]) -> Canvas:
    """Draw a grid of scatter plots, one row of axes a list; each run of one kind of angle says which at its left."""
    wide = max(len(row) for row in rows)
    canvas = Canvas(figsize=(2.9 * wide + 0.8, 2.3 * len(rows) + 0.3), dpi=70, layout="constrained")
    axes = canvas.subplots(len(rows), wide, squeeze=False, sharey=True)
    longest = max(float(s.period.max()) for row in rows for s in row)
    norm = LogNorm(min(float(s.period.min()) for row in rows for s in row), max(longest, 2.0))
    for line, row in zip(axes, rows, strict=True):
        before = ""
        for at, scatter in zip(line, row, strict=False):
            points = _draw_one(at, scatter, norm)
            if scatter.target != before:  # the columns of one row measure different angles
                at.set_ylabel(f"angle to the {scatter.target} (°)", fontsize=8)
                at.tick_params(labelleft=True)
            before = scatter.target
        for empty in line[len(row) :]:
            empty.set_axis_off()
    canvas.colorbar(points, ax=axes, label="n", shrink=0.5, aspect=40)
    return canvas


def _draw_one(at: Axes, scatter: Scatter, norm: LogNorm) -> PathCollection:
    """One scatter plot; the ELBO's axis starts where the best nine tenths do, and the rest sits on its edge."""
    finite = np.isfinite(scatter.score) & np.isfinite(scatter.angle)
    score, angle, period = scatter.score[finite], scatter.angle[finite], scatter.period[finite]
    gap = scatter.score_label != _ELBO
    if gap:
        score = -score
        at.set_xscale("log")
        at.invert_xaxis()
    else:
        score = np.maximum(score, np.quantile(score, 0.1))
    points = at.scatter(score, angle, c=period, norm=norm, cmap="viridis", s=9, alpha=0.8, linewidths=0)
    at.axhline(0, color="0.7", linewidth=0.6, zorder=0)
    if scatter.optimum is not None:
        at.axhline(scatter.optimum, color="tab:red", linewidth=0.8, linestyle="--", zorder=0)
    at.set(ylim=(-47, 47), yticks=(-45, 0, 45))
    at.set_xlabel(scatter.score_label, fontsize=8)
    lost = len(finite) - int(finite.sum())
    at.set_title(f"{scatter.title}{f' ({lost} diverged)' if lost else ''}", fontsize=9)
    return points
