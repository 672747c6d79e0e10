"""From a call of the command to files: train what is missing, measure, draw, and say under what it was made."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from matplotlib.figure import Figure
from PIL import Image
from rich.console import Console
from rich.progress import track

from curvae.data import Dataset, absolute, load, title
from curvae.errors import InputError, UnsavedError
from curvae.reproduce import SCALES
from curvae.reproduce.drawing import save_png
from curvae.reproduce.summary import as_json, check_folder, write_text
from curvae.reproduce.sweep.launch import Cluster, Launcher, Local
from curvae.reproduce.sweep.sweep import Keep, nothing, sweep
from curvae.reproduce.sweep.training import AnyConfig, Configuration, overridden
from curvae.runs import Run, RunConfig, build_objective
from curvae.runs.build import check_buildable
from curvae.runs.checks import check_data
from curvae.runs.device import choose_device
from curvae.runs.provenance import environment, today
from curvae.terminal import console

# each is a process with a PyTorch of its own
_WORKERS = max(64, os.cpu_count() or 1)

_Found = TypeVar("_Found")


@dataclass(frozen=True)
class FigureResult:
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
class Context:
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
            check_buildable(config, self.dataset.shape)
        found = sweep(configs, self.cache, self.launcher, self.console, self.keep)
        for run in found.values():
            if run.data["digest"] != self.dataset.digest:
                raise InputError(f"{run.path} was trained on data other than those at {run.config.data}; remove it")
        return found

    def measure(self, runs: Mapping[RunConfig, Run], tool: Callable[[Run], _Found]) -> dict[RunConfig, _Found]:
        """What a tool finds of each run, with a bar."""
        shown = track(list(runs.items()), "measuring", console=self.console, transient=True)
        return {config: tool(run) for config, run in shown}


@dataclass(frozen=True)
class Sweep(Generic[AnyConfig]):
    """``reproduce(figure, scale, out)`` of a figure that is made of runs.

    Attributes:
        configs: by figure and scale.
        make: trains, measures and draws: figure, configuration and context to what it is made into.
        keep: after which steps of a run its model is kept.
    """

    configs: Mapping[tuple[str, str], AnyConfig]
    make: Callable[[str, AnyConfig, Context], FigureResult]
    keep: Keep = nothing

    def __call__(
        self,
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
        """Make a figure into ``summary.json``, ``table.md`` and pictures.

        Args:
            figure: by the name that the command takes.
            scale: one of :data:`curvae.reproduce.SCALES`.
            out: the folder; made if it is missing.
            data: what :func:`curvae.data.load` takes; None is the scale's own.
            runs: the folder of trained runs, which all figures share. What lies there is not trained again.
            workers: runs that are trained at the same time on this machine.
            cluster: submitit's parameters; the runs are SLURM jobs then.
            changes: fields of the scale's configuration to change; they are named in the summary.

        Raises:
            InputError: an unknown name, or data or a folder that cannot be used, such as one with the results of
                another figure, scale, changes or data.
            TrainingError: a run diverged or was stopped; the same call goes on where it stopped.
        """
        begun = time.monotonic()
        if not 1 <= workers <= _WORKERS:
            raise InputError(f"--workers is {workers}; expected a whole number >= 1 and at most {_WORKERS}")
        if (figure, scale) not in self.configs:
            names, scales = sorted({name for name, _ in self.configs}), ", ".join(SCALES)
            raise InputError(f"got figure {figure!r}, scale {scale!r}; expected {', '.join(names)} at {scales}")
        changed = dict(changes or {}) | ({} if data is None else {"data": data})
        changed |= {name: absolute(text) for name, text in changed.items() if name == "data"}
        read = partial(overridden, self.configs[figure, scale])
        config, named = read(changed), _named(changed)
        there = check_folder(out, figure, scale, named, read)
        training = config.training
        launcher = Local(workers) if cluster is None else Cluster(runs / "jobs", cluster)
        dataset = load(training.data, size=training.size or None, damaged=training.damaged)
        if there.get("data_digest", dataset.digest) != dataset.digest:
            raise InputError(f"{out / 'summary.json'} is of other data with the same name; use another folder")
        context = Context(runs, launcher, dataset, choose_device(training.device), console(), self.keep)
        made = self.make(figure, config, context)
        head: dict[str, Any] = {"figure": figure, "scale": scale, "changes": named}
        head |= _provenance(made.runs, dataset, context.device)
        head |= {"seconds_of_last_call": round(time.monotonic() - begun, 1), "config": _plain(config)}
        summary = as_json({**head, **made.summary})
        try:
            check_folder(out, figure, scale, named, read)  # again: another command may have written there since
            write_text(out / "summary.json", summary)  # first: by it the others are known to be results
            write_text(out / "table.md", made.table)
            for name, drawing in made.figures.items():
                save_png(drawing, out / name)
        except OSError as error:
            reason = error.strerror or error
            raise UnsavedError(f"{out} cannot be written: {reason}; its summary is printed", summary) from error
        except InputError as error:
            raise UnsavedError(f"{error}; the summary is printed", summary) from error


def _provenance(runs: Iterable[Run], dataset: Dataset, device: torch.device) -> dict[str, Any]:
    """Date, versions and devices: of the measurement here, and of the training, which may have been elsewhere."""
    runs = list(runs)
    trained = [dict(pairs) for pairs in dict.fromkeys(tuple(run.environment.items()) for run in runs)]
    return {
        "date": today(),
        "measured_under": environment(device),
        "trained_under": trained,
        "runs": len(runs),
        "data_digest": dataset.digest,
    }


def _plain(config: Configuration) -> dict[str, Any]:
    """A configuration fit for JSON, without the place of a person's data."""
    values = asdict(config)
    return {**values, "training": {**values["training"], "data": title(config.training.data)}}


def _named(changes: Mapping[str, str]) -> dict[str, str]:
    """The changes without the place of a person's files, which means nothing elsewhere."""
    return {key: Path(value).name if key in ("data", "features") else value for key, value in changes.items()}
