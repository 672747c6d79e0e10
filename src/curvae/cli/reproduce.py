"""``curvae reproduce``."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from curvae.cli.group import writing

SCALES = ("smoke", "quick", "paper")

# figure, table or measurement -> the module whose reproduce(figure, scale, out) makes it
EXPERIMENTS = {
    "fig1": "curvae.experiments.uniqueness",
    "fig5": "curvae.experiments.uniqueness",
    "fig6": "curvae.experiments.uniqueness",
    "approximation": "curvae.experiments.approximation",
}


def reproduce(
    figure: Annotated[str, Argument(help=f"One of {', '.join(EXPERIMENTS)}.", metavar="FIGURE")],
    out: Annotated[Path, Option(help="Folder for the results.")],
    scale: Annotated[str, Option(help="smoke (seconds), quick (minutes) or paper (the paper's settings).")] = "quick",
    as_json: Annotated[bool, Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Reproduce a figure or table of the paper."""
    from curvae.errors import InputError

    if figure not in EXPERIMENTS:
        raise InputError(f"figure is {figure!r}; expected one of {', '.join(EXPERIMENTS)}")
    if scale not in SCALES:
        raise InputError(f"--scale is {scale!r}; expected one of {', '.join(SCALES)}")
    if out.exists() and not out.is_dir():
        raise InputError(f"--out is {out}, a file; expected a folder")
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
    import_module(EXPERIMENTS[figure]).reproduce(figure, scale, out)
    if as_json:
        typer.echo(json.dumps({"figure": figure, "scale": scale, "out": str(out)}))
    else:
        typer.echo(f"{figure} at scale {scale} is in {out}", err=True)
