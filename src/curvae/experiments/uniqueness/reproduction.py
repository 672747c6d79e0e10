"""The command line's way in: run, draw, summarise, and say under what it was made."""

from __future__ import annotations

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
from curvae.experiments.uniqueness.config import Config, Figure
from curvae.experiments.uniqueness.figures import plot
from curvae.experiments.uniqueness.runner import Result, run
from curvae.experiments.uniqueness.summary import summarise
from curvae.files import write_atomic
from curvae.runs.provenance import environment

SCALES = {"smoke": Config.smoke, "quick": Config.quick, "paper": Config.paper}


def reproduce(figure: str, scale: str, out: Path) -> None:
    """Reproduce figure 1, 5 or 6 in a folder: tables, ``summary.json`` and the figures.

    A run that was interrupted goes on where it stopped, with the same result to the bit.

    Args:
        figure: ``fig1``, ``fig5`` or ``fig6``.
        scale: ``smoke``, ``quick`` or ``paper``.
        out: the folder; made if it is missing.

    Raises:
        InputError: an unknown figure or scale, or ``out`` holds tables of another experiment.
    """
    figures = {f.value: f for f in Figure}
    if figure not in figures:
        raise InputError(f"figure is {figure!r}; expected one of {', '.join(figures)}")
    if scale not in SCALES:
        raise InputError(f"scale is {scale!r}; expected one of {', '.join(SCALES)}")
    config = SCALES[scale](figures[figure])
    write_results(run(config, out / "tables"), out)


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
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "environment": {
            **environment(torch.device("cpu")),
            "numba": numba.__version__,
            "numpy": np.__version__,
            "scipy": scipy.__version__,
            "threads": str(config.threads or len(os.sched_getaffinity(0))),
        },
        "seconds_of_last_call": {name: round(seconds, 1) for name, seconds in result.seconds.items()},
    }
