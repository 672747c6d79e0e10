"""Many training runs in one cache folder: each named by its configuration, trained once, shared by all figures."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from rich.console import Console

from curvae.errors import InputError
from curvae.experiments.sweeps.board import Board
from curvae.experiments.sweeps.launch import Launcher, Task
from curvae.runs import Run, RunConfig
from curvae.training import snapshot

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
    """Train what is not trained yet, and open everything.

    Args:
        configs: of the runs; the same one twice is trained once.
        cache: the folder of all runs.
        launcher: where the runs are trained.
        console: where to show a table of them; None shows none.
        keep: after which steps of a run its model is kept beside the last one.

    Returns:
        The finished run of each configuration.

    Raises:
        InputError: a configuration or its data cannot be used, or a folder in the cache is damaged.
        TrainingError: a run diverged, or was stopped by a signal. The same call goes on where it stopped.
    """
    folders = {config: folder(cache, config) for config in configs}
    todo = [Task(config, path, keep(config)) for config, path in folders.items() if not _done(config, path, keep)]
    with Board({path: config.steps for config, path in folders.items()}, console):
        launcher.train(todo)
    return {config: Run.open(path) for config, path in folders.items()}


def _done(config: RunConfig, path: Path, keep: Keep) -> bool:
    """Whether a finished run lies there already.

    Raises:
        InputError: it is another configuration's, or lacks its snapshots.
    """
    if not (path / "config.json").exists():
        return False
    run = Run.open(path)
    names = run.config.differences(config)
    if names:
        raise InputError(f"{path} is of another configuration (it differs in {', '.join(names)}); remove it")
    missing = [step for step in keep(config) if not (snapshot(path, step) / "model.json").exists()]
    if run.finished and missing:
        raise InputError(f"{path} lacks its snapshot of step {missing[0]}; remove it to train it again")
    return run.finished
