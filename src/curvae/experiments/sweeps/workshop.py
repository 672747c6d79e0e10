"""From a call of the command to files: train what is missing, measure, draw, and say under what it was made."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from matplotlib.figure import Figure
from PIL import Image
from rich.console import Console
from rich.progress import track

from curvae.data import Dataset, absolute, load
from curvae.errors import InputError, UnsavedError
from curvae.experiments.sweeps.drawing import save_png
from curvae.experiments.sweeps.launch import Cluster, Launcher, Local
from curvae.experiments.sweeps.provenance import named, plain, provenance, rounded
from curvae.experiments.sweeps.sweep import Keep, nothing, sweep
from curvae.experiments.sweeps.training import Configuration, overridden
from curvae.files import write_atomic
from curvae.runs import Run, RunConfig, build_objective
from curvae.runs.build import check_model
from curvae.runs.checks import check_data
from curvae.runs.device import choose_device
from curvae.terminal import console

# each is a process with a PyTorch of its own
_WORKERS = max(64, os.cpu_count() or 1)

AnyConfig = TypeVar("AnyConfig", bound=Configuration)


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
    figures: Mapping[str, Figure | Image.Image]
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
        keep: after which steps of a run its model is kept beside the last one.
    """

    cache: Path
    launcher: Launcher
    dataset: Dataset
    device: torch.device
    console: Console
    keep: Keep = nothing

    def runs(self, configs: Iterable[RunConfig]) -> Mapping[RunConfig, Run]:
        """The finished runs, trained now where they are missing.

        Raises:
            InputError: a run was trained on other data.
        """
        configs = list(configs)
        for config in configs:  # all, before the first is trained and anything is written
            build_objective(config)
            check_data(config, self.dataset)
            check_model(config, self.dataset.shape)
        found = sweep(configs, self.cache, self.launcher, self.console, self.keep)
        for run in found.values():
            if run.data["digest"] != self.dataset.digest:
                raise InputError(f"{run.path} was trained on other data than those at {run.config.data}; remove it")
        return found

    def measuring(self, runs: Mapping[RunConfig, Run]) -> Iterator[tuple[RunConfig, Run]]:
        """The runs, one by one, with a bar."""
        yield from track(list(runs.items()), "measuring", console=self.console, transient=True)


@dataclass(frozen=True)
class Call:
    """What a person asked for.

    Attributes:
        figure: of the paper.
        scale: ``smoke``, ``quick``, ``overnight`` (where there is one) or ``paper``.
        out: the folder; made if it is missing.
        data: what :func:`curvae.data.load` takes; None is the scale's own.
        runs: the folder of trained runs, which all figures share. What lies there is not trained again.
        workers: runs that are trained at the same time on this machine.
        cluster: submitit's parameters; the runs are SLURM jobs then.
        changes: fields of the scale's configuration to change; they are named in the summary.
    """

    figure: str
    scale: str
    out: Path
    data: str | None = None
    runs: Path = Path("runs/shared")
    workers: int = 1
    cluster: Mapping[str, Any] | None = None
    changes: Mapping[str, str] | None = None


def answer(
    call: Call,
    configs: Mapping[tuple[str, str], AnyConfig],
    make: Callable[[str, AnyConfig, Workshop], Made],
    keep: Keep = nothing,
) -> None:
    """Make a figure into ``summary.json``, ``table.md`` and pictures.

    Args:
        call: what was asked for.
        configs: by figure and scale.
        make: trains, measures and draws.
        keep: after which steps of a run its model is kept.

    Raises:
        InputError: an unknown name, or data or a folder that cannot be used.
        TrainingError: a run diverged or was stopped; the same call goes on where it stopped.
    """
    changes = _changes(call, configs)
    config = overridden(configs[call.figure, call.scale], changes)
    begun = time.monotonic()
    device = choose_device(config.training.device)
    launcher = Local(call.workers) if call.cluster is None else Cluster(call.runs / "jobs", call.cluster)
    training = config.training
    dataset = load(training.data, size=training.size or None, damaged=training.damaged)
    workshop = Workshop(call.runs, launcher, dataset, device, console(), keep)
    made = make(call.figure, config, workshop)
    head: dict[str, Any] = {"figure": call.figure, "scale": call.scale, "changes": named(changes)}
    head |= provenance(made.runs, workshop.dataset)
    head |= {"seconds_of_last_call": round(time.monotonic() - begun, 1), "config": plain(config)}
    text = json.dumps(rounded({**head, **made.summary}), indent=1, ensure_ascii=False, allow_nan=False)
    try:
        for name, drawing in made.figures.items():
            save_png(drawing, call.out / name)
        _write_text(call.out / "table.md", made.table)
        _write_text(call.out / "summary.json", text)
    except OSError as error:
        raise UnsavedError(
            f"{call.out} cannot be written: {error.strerror or error}; its summary is printed", text
        ) from error


def _write_text(path: Path, text: str) -> None:
    # a file's name need not be UTF-8; what it becomes then is JSON's own way to write it
    write_atomic(path, lambda to: to.write_text(text + "\n", encoding="utf-8", errors="backslashreplace"))


def _changes(call: Call, configs: Mapping[tuple[str, str], Any]) -> dict[str, str]:
    if (call.figure, call.scale) not in configs:
        names = sorted({name for name, _ in configs})
        scales = dict.fromkeys(scale for name, scale in configs if name == call.figure or call.figure not in names)
        raise InputError(
            f"got figure {call.figure!r}, scale {call.scale!r}; expected {', '.join(names)} at {', '.join(scales)}"
        )
    if not 1 <= call.workers <= _WORKERS:
        raise InputError(f"--workers is {call.workers}; expected a whole number >= 1 and at most {_WORKERS}")
    changes = dict(call.changes or {}) | ({} if call.data is None else {"data": call.data})
    return {name: absolute(text) if name == "data" else text for name, text in changes.items()}
