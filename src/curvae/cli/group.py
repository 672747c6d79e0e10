"""How errors leave the command line: one line and the promised exit code."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn, TextIO

import typer
from typer.core import TyperGroup

from curvae.errors import InputError, UnsavedError
from curvae.terminal import one_line, remark, show_everything

# Typer has its own copy of click or uses the installed one, depending on its version: take the class from Typer
_UsageError: Any = typer.BadParameter.__mro__[1]
# of PyTorch, which has no class of error for the CPU's memory
_MEMORY = ("not enough memory", "out of memory", "can't allocate memory", "Storage size calculation overflowed")
# a person who looks for a fault in curvae itself wants to see where it is
_TRACEBACK = "CURVAE_TRACEBACK"


class Commands(TyperGroup):
    """The group of all commands; turns what they raise into a line and an exit code."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run, and leave with 0, 1 or 2."""
        kwargs["standalone_mode"] = False
        show_everything()
        try:
            code = super().main(*args, **kwargs)
        except InputError as error:
            fail(str(error), 2)
        except _UsageError as error:
            fail(error.format_message() or "no command given; see curvae --help", 2)
        except typer.Abort:
            fail("aborted", 1)
        except UnsavedError as error:
            typer.echo(error.content)
            fail(str(error), 1)
        except OSError as error:
            _release(sys.stdout)
            what = "reading or writing failed" if error.filename is None else f"{error.filename} cannot be used"
            fail(f"{what}: {error.strerror or error}", 1)
        except Exception as error:
            if _lacks_memory(error):
                fail(f"there is not enough memory ({error!r}); ask for less at a time or for a smaller network", 1)
            if os.environ.get(_TRACEBACK):
                raise
            fail(f"a fault in curvae, {type(error).__name__}: {error}; {_TRACEBACK}=1 shows where, please report it", 1)
        if code == 130:  # Typer's answer to Ctrl-C
            fail("interrupted", 1)
        sys.exit(code if isinstance(code, int) else 0)


def fail(message: str, code: int) -> NoReturn:
    """Say what is wrong on one line of stderr, and leave."""
    remark("error: " + one_line(message))
    sys.exit(code)


def _lacks_memory(error: Exception) -> bool:
    said = str(error)
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(words in said for words in _MEMORY)
    )


def _release(stream: TextIO) -> None:
    """Drop what a full disk did not take, which the interpreter would try to write again at its end."""
    try:
        stream.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


@contextmanager
def writing(option: str, path: Path) -> Iterator[None]:
    """Turn the system's refusal to write ``path`` into a clear line.

    Raises:
        InputError: the system refused.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise InputError(f"{option} is {path}, which cannot be written: {reason}; choose another") from error


@contextmanager
def as_typed(settings: Iterable[str]) -> Iterator[None]:
    """Name options in what is refused, ``--batch-size``, in the place of these settings, ``batch_size``.

    Raises:
        InputError: the same in other words.

    Example:
        >>> with as_typed(["batch_size"]):
        ...     raise InputError("batch_size is 0; expected a whole number >= 1")
        Traceback (most recent call last):
        curvae.errors.InputError: --batch-size is 0; expected a whole number >= 1
    """
    # one word, such as beta, is understood as it is; what stands in quotes, in paths or after an option (a column, a
    # setting of a person's own model) has that name
    names = "|".join(name for name in settings if "_" in name) or "(?!)"
    others = r"""(?<!\w)'[^']*'|"[^"]*"|--[\w-]+ \S+"""
    try:
        yield
    except InputError as error:
        error.args = (re.sub(rf"{others}|(?<![\w./-])({names})(?![\w./?-])", _option, str(error)),)
        raise


def _option(setting: re.Match[str]) -> str:
    if setting[1] is None:
        return setting[0]
    return "--set" if setting[1] == "model_set" else "--" + setting[1].replace("_", "-")
