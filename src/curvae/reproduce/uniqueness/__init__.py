"""Figures 1, 5 and 6: a mean-field family makes the latents unique, a full one does not (§3, App. C).

``run`` trains the trials of an experiment and returns plain tables; ``plot`` draws them; ``reproduce`` does both and
writes the statistics beside the figure. The kernels need the extra ``uniqueness`` (Numba).
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import torch

from curvae._extras import require

require("curvae.reproduce.uniqueness (figures 1, 5 and 6) needs", "numba", extra="uniqueness")

from curvae.errors import InputError
from curvae.files import alone
from curvae.reproduce import SCALES, cores
from curvae.reproduce.summary import as_json, check_folder, plain, stored, write_text
from curvae.reproduce.uniqueness import beyond, freed
from curvae.reproduce.uniqueness.activations import Nonlinearity
from curvae.reproduce.uniqueness.config import CONFIGS, Config, Panel
from curvae.reproduce.uniqueness.numbers import summarise
from curvae.reproduce.uniqueness.picture import plot
from curvae.reproduce.uniqueness.runner import TrialTables, run
from curvae.reproduce.uniqueness.section import SECTIONS
from curvae.runs.provenance import environment, today

__all__ = ["SECTIONS", "Config", "Panel", "TrialTables", "plot", "reproduce", "run"]

FREED = {"quick": freed.Extent(), "overnight": freed.Extent(points=4000), "paper": freed.Extent(points=4000)}
"""Not at ``smoke``: fewer points would hardly take less time."""


def reproduce(figure: str, scale: str, out: Path) -> None:
    """Reproduce figure 1, 5 or 6 in a folder: tables, ``summary.json`` and the figures.

    ``fig5`` also writes what goes beyond the paper (``beyond``), and ``fig1`` what turns the optimum away from the true
    latents (``freed``). A run that was interrupted goes on where it stopped, with the same result to the bit.

    Args:
        figure: ``fig1``, ``fig5`` or ``fig6``.
        scale: one of :data:`curvae.reproduce.SCALES`.
        out: the folder; made if it is missing.

    Raises:
        InputError: an unknown figure or scale, or ``out`` holds results of another figure or scale, or a damaged file,
            or another process works there.
    """
    if (figure, scale) not in CONFIGS:
        raise InputError(f"got figure {figure!r}, scale {scale!r}; expected fig1, fig5, fig6 at {', '.join(SCALES)}")
    config = CONFIGS[figure, scale]
    out.mkdir(parents=True, exist_ok=True)
    with alone(out, wait=False):  # of two that write the same tables each would lose trials of the other
        _check_folder(figure, scale, out)
        result = run(config, out / "tables")
        try:
            _check_folder(figure, scale, out)  # again: another command may have written there since
        except InputError as error:
            raise InputError(f"{error}, and copy {out / 'tables'}, which has the trials, there first") from error
        write_results(result, out)
        if figure == "fig5":
            write_beyond(beyond.EXTENSIONS[scale], scale, out)
        if figure == "fig1" and scale in FREED:
            write_freed(FREED[scale], scale, out)


def _check_folder(figure: str, scale: str, out: Path) -> None:
    """Refuse a folder whose results would be lost or cannot be read."""
    check_folder(out, figure, scale)
    for name in ("beyond.json", "freed.json"):
        stored(out / name)


def write_beyond(config: beyond.Extension, scale: str, out: Path) -> None:
    """Run what goes beyond the paper and write ``beyond.json`` and ``beyond.png``, unless they are there already."""
    done = out / "beyond.json"
    if stored(done).get("config") == plain(dataclasses.asdict(config)):
        return
    summary = _made(scale, None) | beyond.summarise(config)
    beyond.plot(summary, out / "beyond.png")
    write_text(done, as_json(summary))


def write_freed(config: freed.Extent, scale: str, out: Path) -> None:
    """Free the encoder and Σ in turn, on the data sets that ``freed.json`` does not hold yet, written after each."""
    path, settings = out / "freed.json", plain(dataclasses.asdict(config))
    there = stored(path)
    done = there["freed"] if there.get("config") == settings else {}
    made = _made(scale, torch.get_num_threads())
    for draw in range(config.draws):
        if f"W {draw}" not in done:
            done[f"W {draw}"] = freed.freed(config, Nonlinearity.TANH, draw)
            write_text(path, as_json(made | {"config": settings, "nu": Nonlinearity.TANH.value, "freed": done}))


def _made(scale: str, threads: int | None) -> dict[str, Any]:
    return {"scale": scale, "date": today(), "environment": _environment(threads)}


def _environment(threads: int | None) -> dict[str, str | None]:
    """Versions, device and commit, with those of the packages that only these experiments use."""
    found = environment(torch.device("cpu"), "numba", "numpy", "scipy")
    return {**found, "threads": str(threads or cores.usable())}


def write_results(result: TrialTables, out: Path) -> None:
    """Write the figures and ``summary.json`` of an experiment that was run."""
    drawn = plot(result, out / f"{result.config.figure}.png")
    summary = {**_provenance(result), "figures": [p.name for p in drawn]}
    summary |= summarise(result, np.random.default_rng(result.config.seed))
    write_text(out / "summary.json", as_json(summary))


def _provenance(result: TrialTables) -> dict[str, Any]:
    """Scale, seed, schedule, versions, commit, device, date and times."""
    config, model = result.config, result.config.panels[0].model
    return {
        "figure": config.figure,
        "scale": config.scale,
        "seed": config.seed,
        "schedule": [list(pair) for pair in config.schedule],
        "points": model.points,
        "sigma": model.sigma,
        "norms": list(model.norms),
        "date": today(),
        "environment": _environment(config.threads),
        "seconds_of_last_call": {name: round(seconds, 1) for name, seconds in result.seconds.items()} or None,
    }
