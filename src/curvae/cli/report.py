"""``curvae report``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

from curvae.cli.group import writing

_FOLDERS = "Run folders, shown side by side, and results folders of fig2, 3, 4, 7, table1, comparison."


def report(
    runs: Annotated[list[Path], Argument(help=_FOLDERS, metavar="FOLDER...")],
    out: Annotated[Path, Option(help="The page.")] = Path("report.html"),
    as_json: Annotated[bool, Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Write one self-contained HTML page about runs and reproduced figures."""
    from curvae.errors import InputError
    from curvae.report import write_report

    if out.suffix.lower() not in (".html", ".htm") or out.is_dir():
        raise InputError(f"--out is {out}; expected the name of an .html file")
    with writing(out):
        write_report(runs, out)
    if as_json:
        typer.echo(json.dumps({"runs": [str(run) for run in runs], "out": str(out)}))
    else:
        typer.echo(f"the report is {out}", err=True)
