"""Files are written whole or not at all, and read only where reading comes to an end."""

from __future__ import annotations

import os
import re
import shutil
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
# beside the file in its temporary folder: a name that no file of a person has
_LOCK = ".curvae-writer"
# of the name in that of a temporary file: with what is added a name that is just short enough would be too long
_STEM = 20
_KINDS = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}


def write_atomic(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` make a file of the same name in a temporary folder beside ``path``, then move it into place.

    A reader never sees half a file, and an existing ``path`` stays as it was if ``write`` fails. What writers of the
    same ``path`` left when they were killed is removed. The folder of ``path`` is made if it is missing.

    Raises:
        Exception: whatever ``write`` raises, after the temporary folder is removed.

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
        # some writers make private files; a result is as readable as any other file the user writes
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(path)


def clear_leftovers(path: Path, *, any_age: bool = False) -> None:
    """Remove the temporary folders that writers of ``path`` left when they were killed.

    A writer holds a lock in its folder for as long as it lives, so that one at work is left alone. Temporary files of
    versions that made no folder go, too; with ``any_age`` also those of versions before 0.2, whose names say less: for
    places that hold nothing of a person's own.

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
            whole = leftover.is_dir()
            handle = os.open(leftover / _LOCK if whole else leftover, os.O_RDWR | getattr(os, "O_NONBLOCK", 0))
            try:
                _lock(handle, wait=False)
                shutil.rmtree(leftover) if whole else leftover.unlink()
            finally:
                os.close(handle)


def leftovers(path: Path, *, any_age: bool = False) -> list[Path]:
    """What is temporary beside ``path``, of writers at work and of killed ones; see :func:`clear_leftovers`."""
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
    """``path``'s name in a new folder beside it, locked so that nobody clears it away, and removed in the end.

    The lock is a file of its own: a writer may put another file in the place of its first one, as safetensors does.
    """
    handle, folder = _locked_folder(path)
    while not folder.exists():  # cleared away before it was locked
        os.close(handle)
        handle, folder = _locked_folder(path)
    if fcntl is None:  # a file that is open cannot be removed there
        os.close(handle)
    try:
        yield folder / path.name
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if fcntl is not None:
            os.close(handle)


def _locked_folder(path: Path) -> tuple[int, Path]:
    folder = Path(tempfile.mkdtemp(prefix=f".{path.stem[:_STEM]}-", suffix=_PART + path.suffix, dir=path.parent))
    handle = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT)
    with suppress(OSError):  # on a file system without locks nobody clears anything away
        _lock(handle, wait=True)
    return handle, folder


def _lock(handle: int, wait: bool) -> None:
    if fcntl is None:
        raise OSError("no such locks on this system")
    fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
