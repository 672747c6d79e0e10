"""How errors leave the command line: one line and the promised exit code."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import typer
from typer.core import TyperGroup

from curvae.errors import InputError

# Typer has its own copy of click or uses the installed one, depending on its version: take the class from Typer
_UsageError: Any = typer.BadParameter.__mro__[1]


class Commands(TyperGroup):
    """The group of all commands; turns what they raise into a line and an exit code."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run, and leave with 0, 1 or 2."""
        kwargs["standalone_mode"] = False
        try:
            code = super().main(*args, **kwargs)
        except InputError as error:
            fail(str(error), 2)
        except _UsageError as error:
            fail(error.format_message() or "no command given; see curvae --help", 2)
        except typer.Abort:
            fail("aborted", 1)
        if code == 130:  # Typer's answer to Ctrl-C
            fail("interrupted", 1)
        sys.exit(code if isinstance(code, int) else 0)


def fail(message: str, code: int) -> NoReturn:
    """Say what is wrong on one line of stderr, and leave."""
    typer.echo("error: " + " ".join(message.split()), err=True)
    sys.exit(code)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn the system's refusal to write ``path`` into a clear line.

    Raises:
        InputError: the system refused.
    """
    try:
        yield
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror or error}; choose another --out") from error
