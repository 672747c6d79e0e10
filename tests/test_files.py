"""Writing whole, clearing what the dead left, reading what ends."""

import os
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from curvae import files
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


def test_what_a_kill_at_the_begin_or_the_end_leaves_is_cleared(tmp_path: Path) -> None:
    path, empty = tmp_path / "a.json", tmp_path / ".a-0a1b2c3d.part.json"
    _leave(path)
    empty.mkdir()  # before its lock is made, or after it is gone
    with pytest.raises(RuntimeError):  # here a folder is emptied by half
        _broken_unlink(lambda: clear_leftovers(path))
    write_atomic(path, lambda temporary: temporary.write_text("whole"))
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.json"]


def _broken_unlink(call: Callable[[], object]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        unlink, removed = Path.unlink, list[Path]()

        def once(path: Path, **options: bool) -> None:
            if removed:
                raise RuntimeError
            removed.append(path)
            unlink(path, **options)

        patch.setattr(Path, "unlink", once)
        call()


def test_a_folder_that_is_cleared_before_it_is_locked_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, lock, made, seen = tmp_path / "a.json", files._lock, tempfile.mkdtemp, list[str]()

    def cleared_at_once(**options: Any) -> str:
        seen.append("made")
        folder = made(**options)
        if len(seen) == 1:
            clear_leftovers(path)  # another process, before the lock is there
        return folder

    def cleared_then(handle: int, wait: bool) -> None:
        if wait and "locked" not in seen:
            seen.append("locked")
            clear_leftovers(path)  # and after
        lock(handle, wait)

    monkeypatch.setattr(tempfile, "mkdtemp", cleared_at_once)
    monkeypatch.setattr(files, "_lock", cleared_then)
    write_atomic(path, lambda temporary: temporary.write_text("whole"))
    assert seen == ["made", "made", "locked", "made"]
    assert path.read_text() == "whole"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.json"]


def test_the_folder_goes_when_no_file_in_it_is_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On NFS a file that is open stays under another name when it is removed, and its folder with it."""
    lock, rmdir, handles, gone = files._lock, Path.rmdir, list[int](), list[Path]()

    def on_nfs(folder: Path) -> None:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(handles[-1])
        gone.append(folder)
        rmdir(folder)

    monkeypatch.setattr(files, "_lock", lambda handle, wait: (handles.append(handle), lock(handle, wait)))
    monkeypatch.setattr(Path, "rmdir", on_nfs)
    _leave(tmp_path / "a.json")
    write_atomic(tmp_path / "a.json", lambda temporary: temporary.write_text("whole"))
    assert len(gone) == 2
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.parametrize("name", ["x." + "y" * 250, "x" * 251 + ".npz", "\N{GRINNING FACE}" * 62 + ".npz", ".x"])
def test_any_name_that_the_system_takes(name: str, tmp_path: Path) -> None:
    write_atomic(tmp_path / name, lambda temporary: temporary.write_text("whole"))
    assert (tmp_path / name).read_text() == "whole"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_path_that_leads_up_from_a_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "disk" / "deep").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "disk" / "deep")
    made = tempfile.mkdtemp
    monkeypatch.setattr(tempfile, "mkdtemp", lambda **options: os.path.abspath(made(**options)))  # noqa: PTH100 - 3.12's
    write_atomic(tmp_path / "link" / ".." / "a.json", lambda temporary: temporary.write_text("whole"))
    assert (tmp_path / "disk" / "a.json").read_text() == "whole"


def test_a_link_stays_and_what_it_leads_to_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / "old.json").write_text("old")
    for name in ("old.json", "new.json"):
        link = tmp_path / f"link-to-{name}"
        link.symlink_to(Path("disk") / name)
        write_atomic(link, lambda temporary: temporary.write_text("whole"))
        assert link.is_symlink()
        assert (tmp_path / "disk" / name).read_text() == "whole"
    zero = tmp_path / "zero.json"
    zero.symlink_to("/dev/zero")
    write_atomic(zero, lambda temporary: temporary.write_text("whole"))
    assert zero.read_text() == "whole"


def test_permissions_are_the_older_files_or_those_of_any_new_one(tmp_path: Path) -> None:
    private, new, plain = tmp_path / "private", tmp_path / "new", tmp_path / "plain"
    private.touch(0o600)
    plain.touch()
    for path in (private, new):
        write_atomic(path, lambda temporary: temporary.touch(0o640))
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert new.stat().st_mode == plain.stat().st_mode


def test_a_full_disk_leaves_the_older_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("old")
    code = (
        "import pathlib, resource; from curvae.files import write_atomic\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        f"write_atomic(pathlib.Path({str(path)!r}), lambda to: to.write_bytes(bytes(10_000)))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert "OSError" in done.stderr
    assert path.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1
