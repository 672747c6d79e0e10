"""The command line's way in: run, draw, summarise, and say under what it was made."""

from __future__ import annotations

import dataclasses
import datetime
import json
import os
from pathlib import Path
from typing import Any

import numba
import numpy as np
import scipy
import torch

from curvae.errors import InputError
from curvae.experiments.uniqueness import beyond
from curvae.experiments.uniqueness.config import Config, Figure
from curvae.experiments.uniqueness.figures import plot
from curvae.experiments.uniqueness.runner import Result, run
from curvae.experiments.uniqueness.summary import summarise
from curvae.files import write_atomic
from curvae.runs.provenance import environment

SCALES = {"smoke": Config.smoke, "quick": Config.quick, "paper": Config.paper}
BEYOND = {"smoke": beyond.Config.smoke, "quick": beyond.Config.quick, "paper": beyond.Config}


def reproduce(figure: str, scale: str, out: Path) -> None:
    """Reproduce figure 1, 5 or 6 in a folder: tables, ``summary.json`` and the figures.

    ``fig5`` also writes what goes beyond the paper (``beyond``). A run that was interrupted goes on where it stopped,
    with the same result to the bit.

    Args:
        figure: ``fig1``, ``fig5`` or ``fig6``.
        scale: ``smoke``, ``quick`` or ``paper``.
        out: the folder; made if it is missing.

    Raises:
        InputError: an unknown figure or scale, or ``out`` holds another experiment's results or a damaged file.
    """
    figures = {f.value: f for f in Figure}
    if figure not in figures:
        raise InputError(f"figure is {figure!r}; expected one of {', '.join(figures)}")
    if scale not in SCALES:
        raise InputError(f"scale is {scale!r}; expected one of {', '.join(SCALES)}")
    config = SCALES[scale](figures[figure])
    _check_folder(figure, out)
    write_results(run(config, out / "tables"), out)
    if config.figure is Figure.FIG5:
        write_beyond(BEYOND[scale](), scale, out)


def _check_folder(figure: str, out: Path) -> None:
    """Refuse, before anything runs, a folder whose results would be lost or cannot be read.

    Figures 1 and 5 share tables, so that these alone would let one figure's summary replace the other's.
    """
    there = _stored(out / "summary.json").get("figure", figure)
    if there != figure:
        raise InputError(f"{out / 'summary.json'} is of {there!r} but this is {figure!r}; use another folder")
    _stored(out / "beyond.json")


def _stored(path: Path) -> dict[str, Any]:
    """The JSON object in a file; empty if there is no file."""
    if not path.exists():
        return {}
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON ({error}); move it away to start afresh") from error
    if not isinstance(value, dict):
        raise InputError(f"{path} holds no JSON object; move it away to start afresh")
    return value


def write_beyond(config: beyond.Config, scale: str, out: Path) -> None:
    """Run what goes beyond the paper and write ``beyond.json`` and ``beyond.png``, unless they are there already."""
    done = out / "beyond.json"
    if _stored(done).get("config") == _plain(dataclasses.asdict(config)):
        return
    summary = {"scale": scale, "date": _today(), "environment": _environment(None), **beyond.summarise(config)}
    beyond.plot(summary, out / "beyond.png")
    text = json.dumps(_rounded(summary), indent=1, ensure_ascii=False)
    write_atomic(done, lambda path: path.write_text(text + "\n"))


def _plain(value: Any) -> Any:
    """As JSON gives it back: tuples are lists."""
    return json.loads(json.dumps(value))


def _rounded(value: Any) -> Any:
    """Six significant digits for every float in a tree of plain values."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {key: _rounded(entry) for key, entry in value.items()}
    return [_rounded(entry) for entry in value] if isinstance(value, list | tuple) else value


def _today() -> str:
    return datetime.datetime.now(datetime.UTC).date().isoformat()


def _environment(threads: int | None) -> dict[str, str | None]:
    """Versions, device and commit, with those of the packages that only these experiments use."""
    return {
        **environment(torch.device("cpu")),
        "numba": numba.__version__,
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "threads": str(threads or len(os.sched_getaffinity(0))),
    }


def write_results(result: Result, out: Path) -> None:
    """Write the figures and ``summary.json`` of an experiment that was run."""
    drawn = plot(result, out / f"{result.config.figure.value}.png")
    summary = {**provenance(result), "figures": [p.name for p in drawn]}
    summary |= summarise(result, np.random.default_rng(result.config.seed))
    text = json.dumps(summary, indent=1, ensure_ascii=False)
    write_atomic(out / "summary.json", lambda path: path.write_text(text + "\n"))


def provenance(result: Result) -> dict[str, Any]:
    """Scale, seed, schedule, versions, commit, device, date and times."""
    config, model = result.config, result.config.panels[0].model
    return {
        "figure": config.figure.value,
        "scale": config.scale,
        "seed": config.seed,
        "schedule": [list(pair) for pair in config.schedule],
        "points": model.points,
        "sigma": model.sigma,
        "norms": list(model.norms),
        "date": _today(),
        "environment": _environment(config.threads),
        "seconds_of_last_call": {name: round(seconds, 1) for name, seconds in result.seconds.items()} or None,
    }
