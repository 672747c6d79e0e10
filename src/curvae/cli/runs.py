"""``curvae runs``."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from typer import Argument

from curvae.cli import options
from curvae.cli.places import path
from curvae.errors import InputError
from curvae.terminal import one_line, print_table

if TYPE_CHECKING:
    from curvae.runs import Run

FINISHED, TRAINING, STOPPED, DAMAGED = "finished", "training", "stopped", "damaged"


@dataclass(frozen=True)
class Listed:
    """A run as the list shows it."""

    run: str  # the folder
    state: str  # finished, training (by a process that holds it), stopped or damaged
    data: str = ""
    objective: str = ""
    model: str = ""  # the network, or the function of a model of one's own
    step: int = 0  # done, as far as its lines of metrics tell
    steps: int = 0  # to do
    best: float | None = None  # smallest held-out value of the objective so far
    best_step: int | None = None
    error: str = ""  # what is wrong with a damaged one


def runs(
    folder: Annotated[Path, Argument(help="Folder with runs, at any depth.", metavar="FOLDER", parser=path)] = Path(
        "runs"
    ),
    as_json: options.Json = False,
) -> None:
    """List the runs in a folder: how far each is, whether it is being trained, and its best held-out value."""
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder; expected one with runs in it: curvae runs FOLDER")
    found = [listed for one in _folders(folder) if (listed := _listed(one)) is not None]
    if as_json:
        typer.echo(json.dumps({"folder": str(folder), "runs": [asdict(one) for one in found]}))
    elif not found:
        typer.echo(f"there are no runs in {folder}", err=True)
    else:
        print_table(_table(folder, found))
        for one in found:  # below, where there is room: the line names the file
            if one.error:
                typer.echo(f"{os.path.relpath(one.run, folder)}: {one_line(one.error)}")


def _folders(folder: Path) -> list[Path]:
    """The run folders at or below a folder, by name, links followed and each once; what is in a run is part of it."""
    found, seen, starts = list[Path](), set[str](), [folder]
    for start in starts:  # grows: links wait, so that what is there without them has its own name
        for place, below, files in os.walk(start):
            real = os.path.realpath(place)
            known, is_run = real in seen, "config.json" in files
            seen.add(real)
            if is_run and not known:
                found.append(Path(place))
            below[:] = [] if known or is_run else sorted(name for name in below if not name.startswith("."))
            starts += [path for path in (Path(place, name) for name in below) if path.is_symlink()]
    return sorted(found)


def _listed(folder: Path) -> Listed | None:
    """How far a run is; None for one that was removed since it was found."""
    from curvae.runs import Run
    from curvae.runs.taking import is_held

    try:
        run = Run.open(folder)
        state = TRAINING if is_held(folder) else FINISHED if run.finished else STOPPED
        return _measured(run, state)
    except InputError as error:
        if not os.path.lexists(folder / "config.json"):
            return None
        return Listed(str(folder), DAMAGED, error=str(error))


def _measured(run: Run, state: str) -> Listed:
    config, lines = run.config, run.metrics
    looks = [(line["held_out"]["total"], line["step"]) for line in lines if "total" in line.get("held_out", {})]
    best, step = min(looks, default=(None, None))
    return Listed(
        run=str(run.path),
        state=state,
        data=config.data,
        objective=config.objective,
        model=config.model or config.network,
        step=lines[-1]["step"] if lines else 0,
        steps=config.steps,
        best=best,
        best_step=step,
    )


def _table(folder: Path, found: list[Listed]) -> Table:
    table = Table("run", "state", "objective", "data", "step", "best held-out", title=f"runs in {folder}")
    for one in found:
        name = os.path.relpath(one.run, folder)
        if one.state == DAMAGED:
            table.add_row(name, DAMAGED)
            continue
        best = "" if one.best is None else f"{one.best:.5g} at {one.best_step}"
        data = Path(one.data).name or one.data
        table.add_row(name, one.state, one.objective, data, f"{one.step} of {one.steps}", best)
    table.caption = "each held-out value is of the run's own objective: compare runs of one objective, β and data set"
    return table
