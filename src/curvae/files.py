"""Files are written whole or not at all, and read only if they are files."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path


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
    handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent)
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


def regular(path: Path) -> Path:
    """The same path, if it is an ordinary file: opening a pipe waits for its writer, and a device may have no end.

    Args:
        path: of the file, or of a link to it.

    Raises:
        OSError: it is missing, cannot be reached, or is a folder, a pipe, a socket or a device.

    Example:
        >>> regular(Path(os.devnull))
        Traceback (most recent call last):
        OSError: [Errno 22] a pipe or a device, not a file: '/dev/null'
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        if path.is_symlink():
            raise FileNotFoundError(errno.ENOENT, "a link that leads nowhere", str(path)) from None
        raise
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "a folder, not a file", str(path))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "a pipe or a device, not a file", str(path))
    return path
