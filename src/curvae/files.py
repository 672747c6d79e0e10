"""Files are written whole or not at all, and read only where reading comes to an end."""

from __future__ import annotations

import os
import re
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from curvae.errors import InputError

try:
    import fcntl
except ImportError:  # not a POSIX system
    fcntl = None  # type: ignore[assignment]

_PART = ".part"
# of the name in that of a temporary file: with what is added a name that is just short enough would be too long
_STEM = 20
_KINDS = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}


def write_atomic(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` fill a temporary file beside ``path``, then rename it into place.

    A reader never sees half a file, and an existing ``path`` stays as it was if ``write`` fails. What writers of the
    same ``path`` left when they were killed is removed. The folder of ``path`` is made if it is missing; the temporary
    path has the same suffix, so that format-by-suffix writers work.

    Raises:
        Exception: whatever ``write`` raises, after the temporary file is removed.

    Example:
        >>> folder = Path(tempfile.mkdtemp())
        >>> write_atomic(folder / "note.txt", lambda p: p.write_text("whole"))
        >>> (folder / "note.txt").read_text()
        'whole'
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    clear_leftovers(path)
    with _temporary(path) as temporary:
        write(temporary)
        # mkstemp makes files private; a result is as readable as any other file the user writes
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(path)


def clear_leftovers(path: Path, *, any_age: bool = False) -> None:
    """Remove the temporary files that writers of ``path`` left when they were killed.

    A writer holds a lock on its file for as long as it lives, so that one at work is left alone. With ``any_age`` also
    those that versions before 0.2 left, whose names say less; for folders that hold nothing of a person's own.

    Example:
        >>> path = Path(tempfile.mkdtemp()) / "note.txt"
        >>> leftover = path.with_name(".note-0a1b2c3d.part.txt")
        >>> leftover.touch()
        >>> clear_leftovers(path)
        >>> leftover.exists()
        False
    """
    for leftover in leftovers(path, any_age=any_age):
        with suppress(OSError):
            handle = os.open(leftover, os.O_RDWR | getattr(os, "O_NONBLOCK", 0))
            try:
                _lock(handle, wait=False)
                leftover.unlink()
            finally:
                os.close(handle)


def leftovers(path: Path, *, any_age: bool = False) -> list[Path]:
    """The temporary files of ``path``, of writers that are at work or were killed; see :func:`clear_leftovers`."""
    part = f"({re.escape(_PART)})?" if any_age else re.escape(_PART)
    name = re.compile(rf"\.{re.escape(path.stem[:_STEM])}-[a-z0-9_]{{6,}}{part}{re.escape(path.suffix)}")
    try:
        return [path.parent / entry for entry in os.listdir(path.parent) if name.fullmatch(entry)]  # noqa: PTH208
    except OSError:
        return []


def open_regular(path: Path) -> BinaryIO:
    """Open a file for reading if it is one whose reading ends: no pipe, device or folder.

    Raises:
        InputError: it is something else.
        OSError: it cannot be opened.

    Example:
        >>> open_regular(Path("/dev/null"))
        Traceback (most recent call last):
        curvae.errors.InputError: /dev/null is a device; expected a regular file
    """
    # opening a pipe that nobody writes to would wait for ever
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        kind = stat.S_IFMT(os.fstat(handle).st_mode)
        if kind != stat.S_IFREG:
            raise InputError(f"{path} is {_KINDS.get(kind, 'a device')}; expected a regular file")
        return os.fdopen(handle, "rb")
    except BaseException:
        os.close(handle)
        raise


def read_regular(path: Path) -> bytes | None:
    """The content of an ordinary file (:func:`open_regular`); None if there is none.

    Raises:
        InputError: it is something else, or cannot be read.
    """
    try:
        with open_regular(path) as file:
            return file.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error


@contextmanager
def _temporary(path: Path) -> Iterator[Path]:
    """A new file beside ``path``, locked so that nobody clears it away, and removed after an error."""
    handle, name = _marked(path)
    while not os.fstat(handle).st_nlink:  # cleared away before it was locked
        os.close(handle)
        handle, name = _marked(path)
    if fcntl is None:  # a file that is open cannot be renamed there
        os.close(handle)
    try:
        yield name
    except BaseException:
        name.unlink(missing_ok=True)
        raise
    finally:
        if fcntl is not None:
            os.close(handle)


def _marked(path: Path) -> tuple[int, Path]:
    handle, name = tempfile.mkstemp(prefix=f".{path.stem[:_STEM]}-", suffix=_PART + path.suffix, dir=path.parent)
    with suppress(OSError):  # on a file system without locks nobody clears anything away
        _lock(handle, wait=True)
    return handle, Path(name)


def _lock(handle: int, wait: bool) -> None:
    if fcntl is None:
        raise OSError("no such locks on this system")
    fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
