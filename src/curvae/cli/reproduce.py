"""``curvae reproduce``."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer
from typer import Argument, Option

from curvae._checks import is_whole
from curvae.cli import options
from curvae.cli.group import fail
from curvae.cli.pairs import pairs
from curvae.cli.places import check_folder, path
from curvae.errors import InputError
from curvae.reproduce import FIGURES, SCALES, SWEEPS

_PAIR = "KEY=VALUE"
_FOR_SWEEPS = ", ".join(SWEEPS)
_SCALE = "smoke (seconds), quick (minutes), overnight (a night) or paper (the paper's settings)."
_RUNS = f"{_FOR_SWEEPS}: folder of all runs."
_CLUSTER = f"{_FOR_SWEEPS}: train on SLURM, for example slurm_partition=gpu; repeatable (needs the extra 'cluster')."
_SET = f"{_FOR_SWEEPS}: change a setting of the scale, for example width=0.25; repeatable."


def reproduce(
    figure: Annotated[str, Argument(help=f"One of {', '.join(FIGURES)}.", metavar="FIGURE")],
    out: Annotated[Path, Option(help="Folder for the results.", parser=path)],
    scale: Annotated[str, Option(help=_SCALE)] = "quick",
    data: Annotated[
        str | None, Option(help=f"{_FOR_SWEEPS}: mnist, fashion-mnist, avatars, sprites, orl or a path.")
    ] = None,
    runs: Annotated[Path | None, Option(help=_RUNS, parser=path, show_default="runs/shared")] = None,
    workers: Annotated[int | None, Option(help=f"{_FOR_SWEEPS}: runs to train at a time.", show_default="1")] = None,
    cluster: Annotated[list[str] | None, Option(help=_CLUSTER, metavar=_PAIR)] = None,
    change: Annotated[list[str] | None, Option("--set", help=_SET, metavar=_PAIR)] = None,
    as_json: options.Json = False,
) -> None:
    """Reproduce a figure or table of the paper."""
    if figure not in FIGURES:
        raise InputError(f"figure is {figure!r}; expected one of {', '.join(FIGURES)}")
    if scale not in SCALES:
        raise InputError(f"--scale is {scale!r}; expected one of {', '.join(SCALES)}")
    given: dict[str, Any] = {
        "data": data,
        "runs": runs,
        "workers": workers,
        "cluster": {
            name: int(value) if is_whole(value) else value
            for name, value in pairs("--cluster", cluster or (), _PAIR).items()
        },
        "changes": pairs("--set", change or (), _PAIR),
    }
    chosen = {name: value for name, value in given.items() if value not in (None, {})}
    if chosen and figure not in SWEEPS:
        raise InputError(f"{figure} takes only --scale and --out; the other options are for {', '.join(SWEEPS)}")
    check_folder("--out", out)
    if figure in SWEEPS:
        check_folder("--runs", Path("runs/shared") if runs is None else runs)
    from curvae.training import TrainingError

    try:
        import_module(FIGURES[figure]).reproduce(figure, scale, out, **chosen)
    except TrainingError as error:
        fail(str(error), 1)
    except KeyboardInterrupt:
        fail(f"{figure} was interrupted; the same command goes on where it stopped", 1)
    if as_json:
        typer.echo(json.dumps({"figure": figure, "scale": scale, "out": str(out)}))
    else:
        typer.echo(f"{figure} at scale {scale} is in {out}", err=True)
