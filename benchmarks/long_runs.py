"""Long runs: which belong together, what their ways to train are called, and what was measured of them before."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np

from curvae.errors import InputError
from curvae.files import write_atomic
from curvae.runs import Run, RunConfig

REFERENCE = "β-VAE"
# by objective and estimator
_NAMES = {
    ("beta-vae", None): REFERENCE,
    ("grae", "columns:1"): "GRAE≈, one column",
    ("grae", "fraction:1/4:columns:1"): "GRAE≈, one column on 1/4",
    ("grae", "secants:1"): "GRAE, one secant",
    ("grae", "fraction:1/4:secants:1"): "GRAE, one secant on 1/4",
    ("grae", "fraction:1/16:exact"): "GRAE, exact on 1/16",
}
Values = Mapping[str, np.ndarray]


def models(run: Run) -> Iterator[tuple[int, Path]]:
    """The steps after which a run's model is kept, and where; the finished model last."""
    kept = [path for path in (run.path / "snapshots").glob("*") if (path / "model.json").exists()]
    yield from sorted((int(path.name), path) for path in kept)
    if run.finished:
        yield run.config.steps, run.path


def setting(config: RunConfig) -> str:
    """What runs that are compared have in common."""
    rate = (
        f"{config.schedule} from {config.lr:g} to 0"
        if config.schedule == "cosine"
        else f"{config.schedule} {config.lr:g}"
    )
    return (
        f"{config.data}, networks × {config.width:g}, d = {config.latents}, β = {config.beta:g}, batch "
        f"{config.batch_size}, {config.steps} steps, {rate}, precision {config.precision}"
    )


def finished_runs(folder: Path) -> tuple[list[Run], list[Run]]:
    """The finished runs in a folder: those of the setting that most of them have, and the others.

    Of settings that equally many have it is one of the fewest steps.

    Raises:
        InputError: no finished run there.
    """
    runs = [Run.open(path.parent) for path in sorted(folder.glob("*/config.json"))]
    runs = [run for run in runs if run.finished]
    if not runs:
        raise InputError(f"{folder} holds no finished run; expected run folders that curvae wrote")
    settings = [setting(run.config) for run in runs]
    main = setting(max(runs, key=lambda run: (settings.count(setting(run.config)), -run.config.steps)).config)
    found: dict[bool, list[Run]] = {True: [], False: []}
    for run, its in zip(runs, settings, strict=True):
        found[its == main].append(run)
    return found[True], found[False]


def name(config: RunConfig) -> str:
    """What a run's way to train is called."""
    estimator = None if config.objective == "beta-vae" else config.estimator
    return _NAMES.get((config.objective, estimator), f"{config.objective}, {estimator or 'closed form'}")


def kept(path: Path, find: Callable[[], Values]) -> Values:
    """What was measured before, or is measured now and kept."""
    if not path.exists():
        values = find()
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, lambda to: np.savez(to, **values))
    with np.load(path) as file:
        return dict(file)


def one_estimate_a_line(text: str) -> str:
    """JSON whose innermost objects stand on one line."""
    return re.sub(r"\{[^{}\[\]]*\}", lambda found: " ".join(found[0].split()), text)
