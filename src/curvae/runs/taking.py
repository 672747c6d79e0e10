"""Taking a folder for a run: one process at a time, and after a start that was killed too."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from curvae._checks import is_unicode
from curvae.errors import InputError
from curvae.files import clear_leftovers, is_locked, leftovers

_FILES = (
    "config.json",
    "metrics.jsonl",
    "last.ckpt",
    "model.json",
    "model.safetensors",
    "evaluation.json",
    "evaluation.npz",
)

# seconds: longer than is_held holds a lock, too short for a person to notice
_WAIT = 0.2


class TakenError(InputError):
    """A run folder is another's: a process trains in it, or has begun its run."""


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a run folder, made if it is missing, against other processes; the lock goes with the process.

    Raises:
        TakenError: another process holds it.
        InputError: it cannot be written.
    """
    from filelock import FileLock, Timeout  # of an extra: only who trains needs it

    lock = FileLock(path / ".lock", timeout=_WAIT, poll_interval=_WAIT / 4)
    try:
        path.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise TakenError(f"{path} is being trained by another process; wait for it or stop it") from None
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror or error}; choose another --out") from error
    try:
        yield
    finally:
        lock.release()


def is_held(path: Path) -> bool:
    """Whether a process holds a run folder (:func:`locked`), as far as that can be seen.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> with locked(folder):
        ...     is_held(folder)
        True
        >>> is_held(folder)
        False
    """
    lock = path / ".lock"
    if sys.platform != "win32":
        return is_locked(lock)
    from filelock import FileLock, Timeout

    if not lock.exists():
        return False
    try:
        with FileLock(lock, timeout=0):
            return False
    except Timeout:
        return True
    except OSError:  # a folder that cannot be written
        return False


def clear(path: Path) -> None:
    """Remove what killed writers left in a run folder; its holder calls this (:func:`locked`)."""
    for folder in (path, path / "checkpoints", *(path / "snapshots").glob("*")):
        for name in _FILES:
            clear_leftovers(folder / name, any_age=True)


def check_free(path: Path) -> None:
    """Refuse a path that a new run cannot have.

    Raises:
        TakenError: it holds a run.
        InputError: it is not empty, is not a folder, or its name is not UTF-8.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> check_free(folder / "new")
        >>> _ = (folder / "config.json").write_text("{}")
        >>> check_free(folder)
        Traceback (most recent call last):
        curvae.runs.taking.TakenError: ... already holds a run; use --resume to continue it, or another --out
    """
    if not is_unicode(str(path)):  # safetensors reads no such path
        raise InputError(f"{str(path)!r} is not UTF-8; expected a name that is")
    if path.exists() and not path.is_dir():
        raise InputError(f"{path} is a file; expected a new or empty folder for the run")
    used = path.is_dir() and any(entry not in _remains(path) and os.path.lexists(entry) for entry in path.iterdir())
    if (path / "config.json").exists():  # asked last: another process may put it there meanwhile
        raise TakenError(f"{path} already holds a run; use --resume to continue it, or another --out")
    if used:
        raise InputError(f"{path} is not empty and holds no run; expected a new or empty folder")


def _remains(path: Path) -> set[Path]:
    """What a start leaves that is killed before its ``config.json`` is there."""
    return {path / ".lock", *leftovers(path / "config.json", any_age=True)}
