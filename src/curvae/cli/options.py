"""Options and arguments that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from curvae.cli.places import path

Run = Annotated[Path, Argument(help="A finished run folder.", metavar="RUN", parser=path)]
Data = Annotated[str | None, Option(help="As for curvae train; default the run's own data.")]
Part = Annotated[str, Option(help="all (in the order of the data), train or test.")]
_CONDITION = "Condition of all samples, in place of what the data say: 3, or of several columns sex=m,age=30."
Condition = Annotated[str | None, Option(help=_CONDITION)]
Limit = Annotated[int | None, Option(help="Use at most this many samples, the first ones.")]
BatchSize = Annotated[int, Option(help="Samples per batch.")]
Seed = Annotated[int, Option(help="Random seed of the draws.")]
Device = Annotated[str, Option(help="auto, cpu or cuda.")]
_MODEL = "For a run of your own model: the function that builds it; its file is run."
Model = Annotated[list[str] | None, Option("--model", help=_MODEL, metavar="FILE.py:FUNCTION")]
_TRUST = "Run the model's code that the run folder names. Only for folders that you trust."
Trust = Annotated[bool, Option("--trust", help=_TRUST)]
Json = Annotated[bool, Option("--json", help="Print one JSON object.")]
