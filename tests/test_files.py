"""Writing whole, clearing what the dead left, reading what ends."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from curvae.errors import InputError
from curvae.files import clear_leftovers, leftovers, open_regular, write_atomic


def _leave(path: Path) -> Path:
    """What a killed writer of ``path`` leaves."""
    code = (
        "import os, pathlib, signal; from curvae.files import write_atomic\n"
        f"path = pathlib.Path({str(path)!r})\n"
        "write_atomic(path, lambda to: (to.write_text('half'), os.kill(os.getpid(), signal.SIGKILL)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -signal.SIGKILL
    (left,) = leftovers(path)
    assert (left / path.name).read_text() == "half"
    return left


def test_only_the_files_of_dead_writers_are_cleared(tmp_path: Path) -> None:
    path, older = tmp_path / "a.json", tmp_path / ".a-0a1b2c3d.part.json"
    dead = _leave(path)
    older.touch()

    def write(temporary: Path) -> None:
        assert not dead.exists()
        assert not older.exists()
        older.touch()
        new = temporary.with_name(".tmp-of-the-writer")
        for content in ("half", "whole"):  # as safetensors does: another file in place of the one before
            new.write_text(content)
            new.replace(temporary)
            clear_leftovers(path)  # another process, at the same time
            assert temporary.exists()
        assert not older.exists()

    write_atomic(path, write)
    assert path.read_text() == "whole"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.json"]


def test_files_of_a_persons_own_are_not(tmp_path: Path) -> None:
    names = (".a-0a1b2c3d.json", ".a-original.json", ".a-x.part.json", ".b-0a1b2c3d.part.json", ".a-0a1b2c3d.part.txt")
    for name in names:
        (tmp_path / name).touch()
    write_atomic(tmp_path / "a.json", lambda temporary: temporary.write_text("whole"))
    assert all((tmp_path / name).exists() for name in names)
    old = {place.name for place in leftovers(tmp_path / "a.json", any_age=True)}
    assert old == {".a-0a1b2c3d.json", ".a-original.json"}


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    os.mkfifo(tmp_path / "pipe")
    for name in ("file", "link"):
        with open_regular(tmp_path / name) as file:
            assert file.read() == b"x"
    for path, kind in ((tmp_path / "pipe", "a pipe"), (tmp_path, "a folder"), (Path("/dev/zero"), "a device")):
        with pytest.raises(InputError, match=f"is {kind}; expected a regular file"):
            open_regular(path)
    with pytest.raises(FileNotFoundError):
        open_regular(tmp_path / "nothing")
