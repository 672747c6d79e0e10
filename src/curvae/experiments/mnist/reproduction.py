"""The command line's way in: train what is missing, measure, draw, summarise, and say under what it was made."""

from __future__ import annotations

import datetime
import json
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from rich.console import Console
from rich.progress import track

from curvae.data import Dataset, absolute, load, title
from curvae.errors import InputError
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
from curvae.experiments.mnist.config import CONFIGS, Comparison, Config, Curves, HeatMaps, overridden
from curvae.experiments.mnist.drawing import save_png
from curvae.experiments.mnist.launch import Cluster, Launcher, Local
from curvae.experiments.mnist.sweep import sweep
from curvae.files import write_atomic
from curvae.runs import Run, RunConfig
from curvae.runs.device import choose_device
from curvae.runs.provenance import environment


@dataclass(frozen=True)
class Made:
    """What a figure is made into.

    Attributes:
        summary: its numbers.
        table: the short table.
        figures: by file name.
        runs: all models it is made from.
    """

    summary: Mapping[str, Any]
    table: str
    figures: Mapping[str, Figure]
    runs: tuple[Run, ...]


@dataclass(frozen=True)
class Workshop:
    """Where runs come from, and with what they are measured.

    Attributes:
        cache: the folder of all runs.
        launcher: trains them.
        dataset: the data of all of them.
        device: to measure on.
        console: for progress.
    """

    cache: Path
    launcher: Launcher
    dataset: Dataset
    device: torch.device
    console: Console

    def runs(self, configs: Iterable[RunConfig]) -> Mapping[RunConfig, Run]:
        """The finished runs, trained now where they are missing.

        Raises:
            InputError: a run was trained on other data.
        """
        found = sweep(configs, self.cache, self.launcher, self.console)
        for run in found.values():
            if run.data["digest"] != self.dataset.digest:
                raise InputError(f"{run.path} was trained on other data than those at {run.config.data}; remove it")
        return found

    def measuring(self, runs: Mapping[RunConfig, Run]) -> Iterator[tuple[RunConfig, Run]]:
        """The runs, one by one, with a bar."""
        yield from track(list(runs.items()), "measuring", console=self.console, transient=True)


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
    if (figure, scale) not in CONFIGS:
        names = sorted({name for name, _ in CONFIGS})
        raise InputError(f"got figure {figure!r}, scale {scale!r}; expected {', '.join(names)} at smoke, quick, paper")
    if workers < 1:
        raise InputError(f"--workers is {workers}; expected a whole number >= 1")
    changes = dict(changes or {}) | ({} if data is None else {"data": absolute(data)})
    config = overridden(CONFIGS[figure, scale], changes)
    begun = time.monotonic()
    device = choose_device(config.training.device)
    launcher = Local(workers) if cluster is None else Cluster(runs / "jobs", cluster)
    workshop = Workshop(runs, launcher, load(config.training.data), device, Console(stderr=True))
    made = _make(figure, config, workshop)
    head = {"figure": figure, "scale": scale, "changes": _named(changes), **_provenance(made.runs, workshop.dataset)}
    head |= {"seconds_of_last_call": round(time.monotonic() - begun, 1), "config": _plain(config)}
    for name, drawing in made.figures.items():
        save_png(drawing, out / name)
    write_atomic(out / "table.md", lambda path: path.write_text(made.table + "\n", encoding="utf-8"))
    text = json.dumps(rounded({**head, **made.summary}), indent=1, ensure_ascii=False, allow_nan=False)
    write_atomic(out / "summary.json", lambda path: path.write_text(text + "\n", encoding="utf-8"))


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
        f"{figure}.png": heatmap_figures.heat_maps(panels, config.shown),
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
    judge = comparison.Judge(workshop.dataset.test, config, gauges.found, workshop.device)
    measured = {key: judge(run) for key, run in workshop.measuring(runs)}
    summary = comparison.summarise({key: measured[run] for key, run in wanted.items()}, config)
    summary |= {
        "test_points": min(config.points, len(workshop.dataset.test)),
        "frechet_distances": gauges.summary(workshop.dataset.train, workshop.device),
    }
    drawing = comparison_figure.plot(summary)
    return Made(summary, tables.comparison(summary), {f"{figure}.png": drawing}, tuple(runs.values()))


def _provenance(runs: Iterable[Run], dataset: Dataset) -> dict[str, Any]:
    """Date, versions and devices: of the measurement here, and of the training, which may have been elsewhere."""
    runs = list(runs)
    trained = [dict(pairs) for pairs in dict.fromkeys(tuple(run.environment.items()) for run in runs)]
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "measured_under": environment(choose_device("auto")),
        "trained_under": trained,
        "runs": len(runs),
        "data_digest": dataset.digest,
    }


def _plain(config: Config) -> dict[str, Any]:
    values = asdict(config)
    source = values["training"]["data"]
    return {
        **values,
        "training": {**values["training"], "data": title(source)},
    }


def _named(changes: Mapping[str, str]) -> dict[str, str]:
    """The changes without the place of a person's data, which means nothing elsewhere."""
    return {key: Path(value).name if key == "data" else value for key, value in changes.items()}


def rounded(value: Any) -> Any:
    """Five significant digits for every float in a tree of plain values.

    Example:
        >>> rounded({"a": (0.123456789, 3)})
        {'a': [0.12346, 3]}
    """
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, Mapping):
        return {key: rounded(entry) for key, entry in value.items()}
    return [rounded(entry) for entry in value] if isinstance(value, list | tuple) else value
