"""Paths on the command line: read in one way by all commands, and tried before the work whose results go there."""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path
from typing import Any

import typer

from curvae._checks import is_unicode
from curvae.errors import InputError
from curvae.files import kind


def path(text: Any) -> Path:
    """What was typed for a path, with ``~`` expanded.

    Raises:
        typer.BadParameter: it is empty, too long, not text in UTF-8, has control characters, or names a user who is not
            there.

    Example:
        >>> path("runs/a")
        PosixPath('runs/a')
    """
    typed = os.path.expanduser(text)  # noqa: PTH111 - Path takes "./~a" for "~a"
    if not typed:
        raise typer.BadParameter("the path is empty")
    if typed.startswith("~"):
        raise typer.BadParameter(
            f"{typed!r} starts with ~ but there is no such home folder; for a name that begins with ~ write ./~…"
        )
    # such names cannot be written into a JSON document or a page; weights do not get into such a folder at all
    if not is_unicode(typed):
        raise typer.BadParameter(f"{typed!r} is not UTF-8; expected a name that is")
    if any(ord(letter) < 32 or ord(letter) == 127 for letter in typed):
        raise typer.BadParameter(f"{typed!r} has control characters; expected a name without them")
    try:
        Path(typed).lstat()
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:  # what else is wrong is for those to say who know what the path is for
            raise typer.BadParameter(f"{typed!r} is not a name that the system accepts: {error.strerror}") from error
    return Path(typed)


def check_file(option: str, out: Path, suffixes: tuple[str, ...]) -> None:
    """Refuse a place where a file of one of these kinds cannot be written.

    Raises:
        InputError: another ending, a folder or a pipe, or a place that cannot be written.
    """
    if out.suffix.lower() not in suffixes:
        raise InputError(f"{option} is {out}; expected a name that ends in {', '.join(suffixes)}")
    _check(option, out)
    if out.exists() and not out.is_file():
        raise InputError(f"{option} is {out}, {kind(out.stat().st_mode)}; expected a file")


def check_folder(option: str, out: Path) -> None:
    """Refuse a place that is not a folder and cannot become one, or that cannot be written.

    Raises:
        InputError: it is so.
    """
    _check(option, out)
    if os.path.lexists(out) and not out.is_dir():
        raise InputError(f"{option} is {out}, which is a file; expected a folder")


def _check(option: str, out: Path) -> None:
    """By asking, not by trying: a place that is refused is left as it is."""
    try:
        # what is written takes the place of an older file, or of the one that a link leads to: its folder must allow it
        there = _nearest(Path(os.path.realpath(out)) if out.is_symlink() else out)
        folder = there if there.is_dir() else there.parent
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(None, f"no permission to write in {folder}")
    except OSError as error:
        raise InputError(f"{option} is {out}, which cannot be written: {error.strerror}; choose another") from error


def _nearest(out: Path) -> Path:
    """The nearest ancestor that exists, or ``out``; what is to be made below it must have possible names."""
    there = next(place for place in (out, *out.parents) if os.path.lexists(place))
    for name in out.parts[len(there.parts) :]:
        _missing(there / name)
    _missing(out)
    return there


def _missing(place: Path) -> None:
    """Nothing where there is nothing yet; the system's own error for a name that is too long, say."""
    with contextlib.suppress(FileNotFoundError):
        place.lstat()
