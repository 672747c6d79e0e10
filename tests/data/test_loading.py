"""How a source is recognised, and what holds for all of them. Bad input has a file of its own."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import distributed as dist

from curvae.data import load
from curvae.data.notes import note
from curvae.errors import InputError


def test_names_win_over_files_only_as_plain_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write_images: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    write_images(tmp_path / "mnist", a=(4, 4), b=(4, 4))
    for source in ("./mnist", Path("mnist"), str(tmp_path / "mnist")):
        data = load(source)
        assert (data.name, data.shape) == ("mnist", (1, 4, 4))


def test_the_folder_one_is_in_has_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write_images: Any) -> None:
    write_images(tmp_path / "cats", a=(4, 4), b=(4, 4))
    monkeypatch.chdir(tmp_path / "cats")
    assert load(".").name == "cats"


def test_a_tilde_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write_images: Any) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    write_images(tmp_path / "cats", a=(4, 4), b=(4, 4))
    assert load("~/cats").shape == (1, 4, 4)


def test_size_applies_to_every_kind_of_image_source(tmp_path: Path, write_images: Any, write_idx: Any) -> None:
    for half in ("train", "t10k"):
        write_idx(tmp_path / "digits" / f"{half}-images-idx3-ubyte", np.zeros((5, 9, 9), np.uint8))
    np.save(tmp_path / "a.npy", np.zeros((5, 9, 7, 3), np.uint8))
    write_images(tmp_path / "faces", a=(7, 9, 3), b=(30, 20, 3))
    assert load(tmp_path / "digits", size=4).shape == (1, 4, 4)
    assert load(tmp_path / "a.npy", size=4).shape == (3, 4, 4)
    assert load(tmp_path / "faces", size=4).shape == (3, 4, 4)


def test_too_much_for_the_memory_is_said_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write_images: Any) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise MemoryError

    write_images(tmp_path / "faces", a=(7, 9), b=(7, 9))
    monkeypatch.setattr(np, "empty", refuse)
    with pytest.raises(InputError, match="does not fit in memory; give a smaller size or fewer samples"):
        load(tmp_path / "faces")


def test_images_of_different_sizes_are_both_named_with_theirs(tmp_path: Path, write_images: Any) -> None:
    write_images(tmp_path, a=(6, 4), b=(6, 4), c=(9, 7), d=(6, 4))
    with pytest.raises(InputError) as caught:
        load(tmp_path)
    named = re.findall(r"(\w)\.png' is (\d+x\d+)", str(caught.value))
    assert len(named) == 2
    assert {"4x6", "7x9"} == {size for _, size in named}
    assert ("c", "7x9") in named
    assert "save all in one size, or give one to train or inspect with (--size, of a figure --set size=…)" in str(
        caught.value
    )


@pytest.mark.parametrize(("rank", "told"), [("0", 1), ("1", 0)])
def test_of_several_processes_one_tells_how_data_were_read(
    rank: str, told: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez(tmp_path / "toy.npz", x_train=np.zeros((6, 2)), x_val=np.zeros((3, 2)))
    monkeypatch.setenv("RANK", rank)
    load(str(tmp_path / "toy.npz"))
    assert capsys.readouterr().err.count("note: ") == told


def test_connected_processes_are_asked_who_tells(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A launcher of one's own, Lightning's say, need not set RANK."""
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    for rank, told in ((1, 0), (0, 1)):
        monkeypatch.setattr(dist, "get_rank", lambda rank=rank: rank)
        note("read otherwise")
        assert capsys.readouterr().err.count("note: ") == told
