"""The command line: ``curvae train | evaluate | encode | … | report | reproduce``.

Exit codes: 0 done, 2 bad usage or bad input (one line on stderr), 1 anything else. With ``--json``, stdout holds one
JSON object and nothing else; progress and messages go to stderr. A fault of curvae's own is one line too, with exit
code 1; with ``CURVAE_TRACEBACK=1`` in the environment it is a traceback. PyTorch is imported by the commands that need
it and not before, so that ``--help`` is quick.
"""

from __future__ import annotations

import signal
import warnings
from typing import Annotated

from curvae._extras import require

require("the command line needs", "typer", "rich", "PIL")

import typer

from curvae import __version__
from curvae.cli.encode import encode
from curvae.cli.evaluate import evaluate
from curvae.cli.group import Commands
from curvae.cli.inspect import inspect
from curvae.cli.interpolate import interpolate
from curvae.cli.reconstruct import reconstruct
from curvae.cli.report import report
from curvae.cli.reproduce import reproduce
from curvae.cli.runs import runs
from curvae.cli.sample import sample
from curvae.cli.train import train
from curvae.cli.traverse import traverse
from curvae.memory import avoid_page_faults
from curvae.terminal import show_warning

app = typer.Typer(cls=Commands, no_args_is_help=True, pretty_exceptions_enable=False)
for command in (train, evaluate, inspect, encode, reconstruct, interpolate, traverse, sample, report, runs, reproduce):
    app.command()(command)


def _show_version(wanted: bool) -> bool:
    if wanted:
        typer.echo(f"curvae {__version__}")
        raise typer.Exit
    return wanted


@app.callback()
def about(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """The β-VAE without the noise: train autoencoders with a posterior's regulariser in closed form."""


def main() -> None:
    """Entry point of the ``curvae`` script."""
    avoid_page_faults()
    warnings.showwarning = show_warning
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: what is done is kept, and a line says so
    try:
        app()
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        # a second Ctrl-C has nothing left to stop: it would only cut off the interpreter's own end
        signal.signal(signal.SIGINT, signal.SIG_IGN)
