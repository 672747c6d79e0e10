"""Files are written whole or not at all, and read only where reading comes to an end."""

from __future__ import annotations

import os
import re
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
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

    A reader never sees half a file, and an existing ``path`` stays as it was if ``write`` fails. A link stays, and so
    do the permissions of an older file. What writers of the same ``path`` left when they were killed is removed. The
    folder of ``path`` is made if it is missing.

    Raises:
        Exception: whatever ``write`` raises, after the temporary folder is removed.

    Example:
        >>> folder = Path(tempfile.mkdtemp())
        >>> write_atomic(folder / "note.txt", lambda p: p.write_text("whole"))
        >>> (folder / "note.txt").read_text()
        'whole'
    """
    if path.is_symlink() and (path.is_file() or not path.exists()):  # what it leads to is no device
        path = Path(os.path.realpath(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    clear_leftovers(path)
    with _temporary(path) as temporary:
        write(temporary)
        # some writers make private files; a new result is as readable as the lock, which is made as any file is
        like = path if path.exists() else temporary.with_name(_LOCK)
        temporary.chmod(like.stat().st_mode & 0o777)
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
            is_folder = leftover.is_dir()
            handle = os.open(leftover / _LOCK if is_folder else leftover, os.O_RDWR | getattr(os, "O_NONBLOCK", 0))
            try:
                _lock(handle, wait=False)
                _empty(leftover) if is_folder else leftover.unlink()
            finally:
                os.close(handle)
        with suppress(OSError):
            leftover.rmdir()  # an empty one only: also that of a writer who was killed before its lock was there


def leftovers(path: Path, *, any_age: bool = False) -> list[Path]:
    """What is temporary beside ``path``, of writers at work and of killed ones; see :func:`clear_leftovers`."""
    part = f"({re.escape(_PART)})?" if any_age else re.escape(_PART)
    name = re.compile(rf"\.{re.escape(path.stem[:_STEM])}-[a-z0-9_]{{6,}}{part}{re.escape(path.suffix[:_STEM])}")
    try:
        return [path.parent / entry for entry in os.listdir(path.parent) if name.fullmatch(entry)]  # noqa: PTH208
    except OSError:
        return []


@contextmanager
def alone(folder: Path, *, wait: bool = True) -> Iterator[None]:
    """Let no other caller of this into a folder, for as long as files that belong together are read or written.

    Where there are no such locks nobody waits.

    Raises:
        InputError: somebody is there, and ``wait`` is off.

    Example:
        >>> with alone(Path(tempfile.mkdtemp())):
        ...     pass
    """
    with ExitStack() as held:
        try:
            handle = os.open(folder, os.O_RDONLY)
            held.callback(os.close, handle)
            _lock(handle, wait)
        except BlockingIOError:
            raise InputError(f"another process works in {folder}; wait for it or stop it") from None
        except OSError:
            pass
        yield


def is_locked(path: Path) -> bool:
    """Whether a process holds a file's lock, as far as that can be seen. The file is not made, nor its lock taken away.

    Example:
        >>> is_locked(Path("nothing"))
        False
    """
    with suppress(OSError):
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        try:
            _lock(handle, wait=False, shared=True)  # so that two who ask do not see each other
        except BlockingIOError:
            return True
        finally:
            os.close(handle)
    return False


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
        mode = os.fstat(handle).st_mode
        if not stat.S_ISREG(mode):
            raise InputError(f"{path} is {kind(mode)}; expected a regular file")
        return os.fdopen(handle, "rb")
    except BaseException:
        os.close(handle)
        raise


def kind(mode: int) -> str:
    """What is no regular file, in words, by its mode.

    Example:
        >>> kind(Path("/dev/null").stat().st_mode)
        'a device'
    """
    return _KINDS.get(stat.S_IFMT(mode), "a device")


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
    if fcntl is None:  # a file that is open cannot be removed there
        os.close(handle)
    try:
        yield folder / path.name
    finally:
        with suppress(OSError):
            _empty(folder)
        if fcntl is not None:
            os.close(handle)
        with suppress(OSError):
            folder.rmdir()  # when the lock is closed: on NFS a file that is open is not gone


def _locked_folder(path: Path) -> tuple[int, Path]:
    suffix = _PART + path.suffix[:_STEM]
    while True:
        made = tempfile.mkdtemp(prefix=f".{path.stem[:_STEM]}-", suffix=suffix, dir=path.parent)
        folder = path.parent / Path(made).name  # Python 3.12 gives a path in which .. after a link leads elsewhere
        try:
            handle = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o666)
        except FileNotFoundError:  # cleared away while it was empty
            continue
        except OSError:
            folder.rmdir()
            raise
        with suppress(OSError):  # on a file system without locks nobody clears anything away
            _lock(handle, wait=True)
        if (folder / _LOCK).exists():
            return handle, folder
        os.close(handle)  # cleared away before it was locked


def _empty(folder: Path) -> None:
    """Remove what is in a temporary folder, the lock last, so that what a kill leaves of it is cleared later."""
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name == _LOCK):
        entry.unlink()


def _lock(handle: int, wait: bool, shared: bool = False) -> None:
    if fcntl is None:
        raise OSError("no such locks on this system")
    fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
