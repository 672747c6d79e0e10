"""Going on with a run: what may be changed, and what is kept of what it was."""

from __future__ import annotations

import shutil
from functools import partial
from typing import Any

import torch
from rich.console import Console

from curvae.data.reasons import reason
from curvae.errors import InputError
from curvae.files import alone, write_atomic
from curvae.runs import Run, RunConfig
from curvae.runs.described import unnamed
from curvae.runs.lines import read_lines
from curvae.training.checkpoint import Checkpoint
from curvae.training.schedule import learning_rate
from curvae.training.snapshots import snapshot

# the same training, longer, elsewhere, or with the data or the code of the model at another place
_MAY_CHANGE = ("steps", "early_stop", "data", "device", "devices", "model", "logger")
# in the order in which they go: without model.json a run is not finished, and an evaluation would be taken for that of
# the model that follows
_FINISHED = ("evaluation.json", "evaluation.npz", "model.json", "model.safetensors")


def changes(run: Run, config: RunConfig) -> list[str]:
    """The fields that a run is to go on with otherwise than it began.

    Raises:
        InputError: one of them cannot be changed.
    """
    names = run.config.differences(config)
    fixed = [name for name in names if name not in _MAY_CHANGE]
    if fixed:
        raise InputError(
            f"{run.path} cannot be resumed with another configuration: {_told(run, config, fixed)}; leave them "
            "as they were or start a new run"
        )
    for name, now in unnamed(config, run.handed).items():
        was = run.environment.get(name, now)  # runs of older versions do not say
        if was != now:
            raise InputError(
                f"{run.path} cannot be resumed with another {name}: {now} (was {was}); hand over the one it was begun "
                "with or start a new run"
            )
    return names


def last_checkpoint(run: Run, config: RunConfig) -> Checkpoint | None:
    """The state that training goes on from; None at step 0.

    Raises:
        InputError: it or the log is damaged, it is of another run, or ``config`` asks for fewer steps than are done.
    """
    wanted = changes(run, config)
    if not run.checkpoint.exists():
        if run.finished and _goes_on(wanted):
            raise InputError(f"{run.checkpoint} does not exist, so training cannot continue; restore it")
        return None
    checkpoint = Checkpoint.load(run.checkpoint)
    names = [name for name in run.config.differences(checkpoint.config) if name not in _MAY_CHANGE]
    if names or checkpoint.digest != run.data["digest"] or checkpoint.step > run.config.steps:
        what = ", ".join(names) or "data or step"
        raise InputError(f"{run.checkpoint} belongs to another run (it differs in {what}); restore it, or delete it")
    if config.steps < checkpoint.step:
        raise InputError(
            f"steps is {config.steps} but {run.path} has already done {checkpoint.step}; expected at least that many"
        )
    read_lines(run.path / "metrics.jsonl")  # are cut back later, when the run has been changed
    return checkpoint


def changed(
    run: Run, config: RunConfig, checkpoint: Checkpoint | None, device: torch.device, console: Console | None
) -> Run:
    """The run with its new configuration, as its folder says from now on.

    A finished model that others will follow is kept as the snapshot of its step, with its evaluation. The console is
    told what changed.

    Raises:
        InputError: the folder cannot be written.
    """
    names = changes(run, config)
    if not names:
        return run
    step = 0 if checkpoint is None else checkpoint.step
    try:
        with alone(run.path):  # an evaluation that ends now is kept before this, or not at all
            if run.finished and _goes_on(names):
                _set_aside(run)
            lengthened = run.changed(config, step, device)
    except OSError as error:
        raise InputError(f"{run.path} cannot be written: {reason(error)}; nothing was changed") from error
    if console is not None:
        values = _told(run, config, names)
        if "steps" in names and config.schedule != "constant":
            rate = learning_rate(config, step)
            values += f"; the learning rate goes on from {rate:.3g}, on a {config.schedule} of {config.steps} steps"
        console.print(f"continues after step {step} with {values}", markup=False, highlight=False, soft_wrap=True)
    return lengthened


def steps_done(run: Run) -> int:
    """Steps of a finished run; fewer than planned where held-out values ended it."""
    lines = run.metrics if run.config.early_stop else []
    return int(lines[-1]["step"]) if lines else run.config.steps


def _told(run: Run, config: RunConfig, names: list[str]) -> str:
    """What becomes of these fields; those that are left out are empty texts or None."""

    def value(of: RunConfig, name: str) -> Any:
        found = getattr(of, name)
        return "none" if found in ("", None) else found

    return ", ".join(f"{name} {value(config, name)} (was {value(run.config, name)})" for name in names)


def _goes_on(names: list[str]) -> bool:
    """Whether these changes make a finished run one that is not."""
    return "steps" in names or "early_stop" in names


def _set_aside(run: Run) -> None:
    kept = snapshot(run.path, steps_done(run))
    there = [name for name in _FINISHED if (run.path / name).exists()]
    for name in there:
        write_atomic(kept / name, partial(shutil.copyfile, run.path / name))
    for name in there:
        (run.path / name).unlink()
