"""The command line's way in: what each figure is made of."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from curvae.experiments.mnist import (
    comparison,
    comparison_figure,
    curve_figure,
    curves,
    distances,
    heatmap_figures,
    heatmaps,
    tables,
)
from curvae.experiments.mnist.config import CONFIGS, Comparison, Config, Curves, HeatMaps, milestones
from curvae.experiments.sweeps.workshop import Call, Made, Workshop, answer


def reproduce(
    figure: str,
    scale: str,
    out: Path,
    *,
    data: str | None = None,
    runs: Path = Path("runs/shared"),
    workers: int = 1,
    cluster: Mapping[str, Any] | None = None,
    changes: Mapping[str, str] | None = None,
) -> None:
    """Make figure 2, 3 or 7, or the comparison of training objectives: ``summary.json``, ``table.md`` and figures.

    Args:
        figure: ``fig2``, ``fig3``, ``fig7`` or ``comparison``.
        scale: ``smoke``, ``quick`` or ``paper``.
        out: the folder; made if it is missing.
        data: what :func:`curvae.data.load` takes; default ``mnist``.
        runs: the folder of trained runs, which all figures share. What lies there is not trained again.
        workers: runs that are trained at the same time on this machine.
        cluster: submitit's parameters; the runs are SLURM jobs then.
        changes: fields of the scale's configuration to change; they are named in the summary.

    Raises:
        InputError: an unknown name, or data or a folder that cannot be used.
        TrainingError: a run diverged or was stopped; the same call goes on where it stopped.
    """
    answer(Call(figure, scale, out, data, runs, workers, cluster, changes), CONFIGS, _make, milestones)


def _make(figure: str, config: Config, workshop: Workshop) -> Made:
    match config:
        case HeatMaps():
            return _heat_maps(figure, config, workshop)
        case Curves():
            return _curves(figure, config, workshop)
        case Comparison():
            return _comparison(figure, config, workshop)


def _heat_maps(figure: str, config: HeatMaps, workshop: Workshop) -> Made:
    wanted = list(heatmaps.runs(config))
    runs = workshop.runs(run for *_, run in wanted)
    data = workshop.dataset.test[: config.points]
    seen = {key: heatmaps.matrices(run.model().to(workshop.device), data) for key, run in workshop.measuring(runs)}
    panels = [
        heatmaps.Panel(
            setting,
            {kind: [seen[run] for s, _, k, run in wanted if (s, k) == (setting, kind)] for kind in heatmaps.KINDS},
        )
        for setting in config.settings
    ]
    generator = np.random.default_rng(0)
    settings = [heatmaps.summarise(panel, config, generator) for panel in panels]
    summary = {"test_points": len(data), "settings": settings}
    drawings = {
        f"{figure}.png": heatmap_figures.heat_maps(panels, min(config.shown, len(data))),
        f"{figure}-shares.png": heatmap_figures.shares(settings),
    }
    return Made(summary, tables.heat_maps(summary), drawings, tuple(runs.values()))


def _curves(figure: str, config: Curves, workshop: Workshop) -> Made:
    points = curves.runs(config)
    runs = workshop.runs(points.values())
    data = workshop.dataset.test[: config.points]
    measured = {key: curves.measure(run, data, config, workshop.device) for key, run in workshop.measuring(runs)}
    table = {point: measured[run] for point, run in points.items()}
    summary = {
        "test_points": len(data),
        "betas": list(config.betas),
        **curves.summarise(table, config, np.random.default_rng(0)),
    }
    drawing = curve_figure.plot(summary, config)
    return Made(summary, tables.curves(summary), {f"{figure}.png": drawing}, tuple(runs.values()))


def _comparison(figure: str, config: Comparison, workshop: Workshop) -> Made:
    wanted = comparison.runs(config)
    runs = workshop.runs(wanted.values())
    gauges = distances.gauges(workshop.dataset, config, workshop.device)
    for reason in gauges.left_out.values():
        workshop.console.print(f"a column is left out: {reason}", soft_wrap=True, highlight=False, markup=False)
    judge = comparison.Judge(workshop.dataset.test[:], config, gauges.found, workshop.device)
    measured = {key: judge(run) for key, run in workshop.measuring(runs)}
    summary = comparison.summarise({key: measured[run] for key, run in wanted.items()}, config)
    summary |= {
        "test_points": min(config.points, len(workshop.dataset.test)),
        "frechet_distances": gauges.summary(),
    }
    drawing = comparison_figure.plot(summary)
    return Made(summary, tables.comparison(summary), {f"{figure}.png": drawing}, tuple(runs.values()))
