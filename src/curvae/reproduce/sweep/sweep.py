"""Many training runs in one cache folder: each named by its configuration, trained once, shared by all figures."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from curvae.errors import InputError
from curvae.files import open_regular
from curvae.reproduce.sweep.launch import Launcher, Task
from curvae.runs import Run, RunConfig
from curvae.training import snapshot

_TAIL = 4096
_ROWS = 20
Keep = Callable[[RunConfig], tuple[int, ...]]
"""The steps after which a run's model is kept."""


def nothing(_: RunConfig) -> tuple[int, ...]:
    """Keep no snapshots along training."""
    return ()


def folder(cache: Path, config: RunConfig) -> Path:
    """Where a run of this configuration lies: what it is at a glance, and a digest of all of it.

    Fields at their defaults do not enter the digest, so that a field added to the configuration later moves no run.
    Nor does the paper's network, which was the default once and is what a network left to the data is where it fits.

    Example:
        >>> folder(Path("runs"), RunConfig(data="mnist", objective="beta-vae", structure="block:2")).as_posix()
        'runs/beta-vae-block2-beta0.2-d12-seed0-dc87d2de1b'
    """
    chosen = config.chosen()
    if config.network == "paper":
        del chosen["network"]
    digest = hashlib.sha256(json.dumps(chosen, sort_keys=True).encode()).hexdigest()[:10]
    structure = config.structure.replace(":", "")
    return cache / f"{config.objective}-{structure}-beta{config.beta:g}-d{config.latents}-seed{config.seed}-{digest}"


def sweep(
    configs: Iterable[RunConfig],
    cache: Path,
    launcher: Launcher,
    console: Console | None = None,
    keep: Keep = nothing,
) -> Mapping[RunConfig, Run]:
    """The finished run of each configuration, trained first where there is none, with a table on the console.

    Raises:
        InputError: a configuration or its data cannot be used, or a folder in the cache is damaged.
        TrainingError: a run diverged, or was stopped by a signal. The same call goes on where it stopped.
    """
    folders = {config: folder(cache, config) for config in configs}
    todo = [Task(config, path, keep(config)) for config, path in folders.items() if not _done(config, path, keep)]
    with _shown({path: config.steps for config, path in folders.items()}, console):
        launcher.train(todo)
        for task in todo:  # one that another command has trained meanwhile may lack snapshots
            _done(task.config, task.path, keep)
    return {config: Run.open(path) for config, path in folders.items()}


def _done(config: RunConfig, path: Path, keep: Keep) -> bool:
    """Whether a finished run lies there already; another configuration's, or one without its snapshots, is refused."""
    if not (path / "config.json").exists():
        return False
    run = Run.open(path)
    names = run.config.differences(config)
    if names:
        raise InputError(f"{path} has another configuration (it differs in {', '.join(names)}); remove it")
    missing = [step for step in keep(config) if not (snapshot(path, step) / "model.json").exists()]
    if run.finished and missing:
        raise InputError(f"{path} lacks its snapshot of step {missing[0]}; remove it to train it again")
    return run.finished


@contextmanager
def _shown(steps: Mapping[Path, int], console: Console | None) -> Iterator[None]:
    """A table that follows the runs while they are trained; on a console that is not a terminal, its last state."""
    if console is None:
        yield
        return
    live = Live(get_renderable=lambda: progress_table(steps), console=console, refresh_per_second=1)
    try:
        with live:
            try:
                yield
            except InputError:  # of what was refused there is nothing to show
                live.transient = True
                raise
    finally:
        if not (console.is_terminal or live.transient):
            console.line()  # what is printed next, such as an error, begins a line of its own


def progress_table(steps: Mapping[Path, int]) -> Table:
    """One row a run: those under way first, then those that wait, then as many finished ones as fit.

    Folders need not exist yet.
    """
    done = {path: steps[path] if (path / "model.json").exists() else last_step(path) for path in steps}
    finished = [path for path, step in done.items() if step == steps[path]]
    waiting = [path for path, step in done.items() if step == 0]
    running = [path for path in steps if path not in {*finished, *waiting}]
    table = Table(title=f"{len(finished)} of {len(steps)} runs are finished", title_justify="left")
    table.add_column("run", overflow="fold")
    table.add_column("step", justify="right")
    table.add_column("", width=20)
    rows = [*running, *waiting, *finished]
    for path in rows[:_ROWS]:
        bar = ProgressBar(steps[path], done[path], width=20)
        table.add_row(path.name, f"{done[path]}/{steps[path]}", bar)
    if len(rows) > _ROWS:
        table.caption = f"and {len(rows) - _ROWS} more"
    return table


def last_step(run: Path) -> int:
    """The last step that a run has logged; 0 if none."""
    try:
        with open_regular(run / "metrics.jsonl") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - _TAIL))
            lines = file.read().split(b"\n")
    except (OSError, InputError):
        return 0
    for line in reversed(lines):
        try:
            return int(json.loads(line)["step"])
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
            continue  # nothing, or a line that is being written or was cut above
    return 0
