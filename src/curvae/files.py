"""Files are written whole or not at all, and read only where reading comes to an end."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from curvae.errors import InputError

_KINDS = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}


def write_atomic(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` fill a temporary file beside ``path``, then rename it into place.

    A reader never sees half a file, and an existing ``path`` stays as it was if ``write`` fails.

    Args:
        path: the final place; its folder is made if it is missing.
        write: called with the temporary path (same suffix as ``path``, so that format-by-suffix writers work).

    Raises:
        Exception: whatever ``write`` raises, after the temporary file is removed.

    Example:
        >>> folder = Path(tempfile.mkdtemp())
        >>> write_atomic(folder / "note.txt", lambda p: p.write_text("whole"))
        >>> (folder / "note.txt").read_text()
        'whole'
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # not the whole stem: with what is added a name that is just short enough would be too long
    handle, name = tempfile.mkstemp(prefix=f".{path.stem[:20]}-", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        write(temporary)
        # mkstemp makes files private; a result is as readable as any other file the user writes
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


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
