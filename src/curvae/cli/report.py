"""``curvae report``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from curvae.cli import options
from curvae.cli.own import Code
from curvae.cli.places import check_file, path

_FOLDERS = "Run folders, shown side by side, and folders of curvae reproduce."


def report(
    runs: Annotated[list[Path], Argument(help=_FOLDERS, metavar="FOLDER...", parser=path)],
    out: Annotated[Path, Option(help="The page.", parser=path)] = Path("report.html"),
    model: options.Model = None,
    trust: options.Trust = False,
    as_json: options.Json = False,
) -> None:
    """Write one self-contained HTML page about runs and reproduced figures.

    An unfinished run is shown at its last checkpoint.
    """
    from curvae.report import write_report
    from curvae.reproduce import sections
    from curvae.runs import Run

    check_file("--out", out, (".html", ".htm"))
    code = Code.of(model, trust)
    code.check([Run.open(run) for run in runs if (run / "config.json").exists()])
    with code.errors():
        write_report(runs, out, sections, code.shown)
    if as_json:
        typer.echo(json.dumps({"runs": [str(run) for run in runs], "out": str(out)}))
    else:
        typer.echo(f"wrote the report to {out}", err=True)
