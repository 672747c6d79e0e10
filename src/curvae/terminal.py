"""What a person reads: text as it is, on every terminal, file and pipe."""

from __future__ import annotations

import codecs
import contextlib
import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

# what the tables and the help are written with, for streams that cannot show it
_PLAIN = {
    **{"β": "beta", "Σ": "Sigma", "σ": "sigma", "ν": "nu", "‖": "||", "−": "-", "±": "+-", "×": "x", "≈": "~"},
    **{"≥": ">=", "≤": "<=", "⁻": "^-", "¹": "1", "²": "^2", "½": "1/2", "…": "...", "–": "-", "·": "*"},
}
_LONGEST = 1000


def console(*, stderr: bool = True) -> Console:
    """A console that prints what it is given: a name such as ``[/red]`` or ``:smile:`` is no markup.

    Example:
        >>> console(stderr=False).print("runs/[/red]")
        runs/[/red]
    """
    from rich.console import Console  # of an extra: plain text needs none

    return Console(stderr=stderr, markup=False, emoji=False, highlight=False)


def print_table(table: Table) -> None:
    """Print on stdout, whole: what a column has no room for goes on in the next line, and no digit is left out."""
    for column in table.columns:
        column.overflow = "fold"
    console(stderr=False).print(table)


def show_everything() -> None:
    """Let stdout and stderr take every text, whatever their encoding: ``β`` is ``beta`` where it cannot be shown."""
    codecs.register_error("curvae.plain", _plain)
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="curvae.plain")


def _plain(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    letters = error.object[error.start : error.end]
    return "".join(_PLAIN.get(letter, _escape(letter)) for letter in letters), error.end


def one_line(message: str) -> str:
    r"""A message on one line of bearable length, with nothing in it that a terminal would obey.

    Example:
        >>> one_line("x is\n'\x1b[2J'; expected y")
        "x is '\\x1b[2J'; expected y"
    """
    line = "".join(letter if letter.isprintable() else _escape(letter) for letter in " ".join(message.split()))
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST // 2]} … {line[-_LONGEST // 2 :]}"


def show_warning(message: Warning | str, *_: object, **__: object) -> None:
    """In the place of ``warnings.showwarning``, which shows a person the line of code as well."""
    line = one_line(str(message))
    remark(line if line.startswith("note: ") else f"warning: {line}")


def remark(line: str) -> None:
    """A line on stderr, where there is one that takes it: a remark ends nothing, and is no part of stdout."""
    if sys.stderr is not None:
        with contextlib.suppress(OSError):
            print(line, file=sys.stderr, flush=True)


def _escape(letter: str) -> str:
    return letter.encode("unicode_escape").decode("ascii")


def quoted(path: Path | str) -> str:
    """A path as a shell reads it, for commands that a person copies.

    Example:
        >>> quoted("s p; touch Y"), quoted("-x"), quoted("runs/a")
        ("'s p; touch Y'", './-x', 'runs/a')
    """
    text = os.fspath(path)
    return shlex.quote(f"./{text}" if text.startswith("-") else text)
