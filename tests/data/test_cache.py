from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from curvae.data import cache as caches
from curvae.data import images, load, stacking
from curvae.data.dataset import content_digest
from curvae.data.split import Halves
from curvae.errors import InputError


@pytest.fixture
def faces(tmp_path: Path, write_images: Any) -> Path:
    write_images(tmp_path / "faces", **{f"i{n}": (6, 6, 3) for n in range(8)})
    return tmp_path / "faces"


@pytest.fixture
def decodings(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The paths that have been decoded."""
    seen: list[Path] = []
    real = images.decode

    def decode(path: Path, *args: Any, **kwargs: Any) -> Any:
        seen.append(path)
        return real(path, *args, **kwargs)

    monkeypatch.setattr(images, "decode", decode)
    return seen


def test_second_time_nothing_is_decoded_and_all_is_the_same(faces: Path, tmp_path: Path, decodings: list[Path]) -> None:
    plain = load(faces)
    first = load(faces, cache=tmp_path / "cache")
    assert len(decodings) == 16
    second = load(faces, cache=tmp_path / "cache")
    assert len(decodings) == 16
    for data in (first, second):
        assert data.digest == plain.digest
        assert data.split == plain.split
        assert torch.equal(data.train, plain.train)
        assert torch.equal(data.test, plain.test)


def test_a_change_of_any_kind_decodes_again(faces: Path, tmp_path: Path, decodings: list[Path]) -> None:
    cache = tmp_path / "cache"
    load(faces, cache=cache)
    known = len(decodings)
    steps: list[tuple[dict[str, Any], Any]] = [
        ({"size": 4}, lambda: None),
        ({"split_seed": 9}, lambda: None),
        ({}, lambda: os.utime(faces / "i3.png", ns=(1, 1))),
        ({}, lambda: (faces / "i3.png").rename(faces / "z.png")),
        ({}, lambda: (faces / "z.png").unlink()),
    ]
    for options, change in steps:
        change()
        load(faces, cache=cache, **options)
        assert len(decodings) > known
        known = len(decodings)


def test_a_moved_folder_is_recognised(faces: Path, tmp_path: Path, decodings: list[Path]) -> None:
    load(faces, cache=tmp_path / "cache")
    faces.rename(tmp_path / "elsewhere")
    load(tmp_path / "elsewhere", cache=tmp_path / "cache")
    assert len(decodings) == 8


@pytest.mark.parametrize("damage", ["truncated", "flipped", "foreign", "incomplete", "empty"])
def test_a_damaged_cache_is_made_anew(faces: Path, tmp_path: Path, decodings: list[Path], damage: str) -> None:
    expected = load(faces, cache=tmp_path / "cache")
    (kept,) = (tmp_path / "cache").iterdir()
    content = bytearray(kept.read_bytes())
    if damage == "flipped":
        content[-1] ^= 1
    elif damage == "truncated":
        content = content[:-5]
    elif damage == "incomplete":
        other = np.zeros((2, 1, 2, 2), np.uint8)
        caches.write(kept, Halves(other, other.copy(), {"kind": "standard"}))
        content = bytearray(kept.read_bytes().replace(b'"train"', b'"brain"'))
    else:
        content = bytearray(b"" if damage == "empty" else b"something else")
    kept.write_bytes(content)
    again = load(faces, cache=tmp_path / "cache")
    assert len(decodings) == 16
    assert again.digest == expected.digest
    load(faces, cache=tmp_path / "cache")
    assert len(decodings) == 16
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [kept.name]


def test_a_run_that_fails_leaves_nothing(faces: Path, tmp_path: Path) -> None:
    (faces / "i3.png").write_bytes(b"no image")
    with pytest.raises(InputError):
        load(faces, cache=tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_cache_that_cannot_be_made(faces: Path, tmp_path: Path, decodings: list[Path]) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="cannot cache images in"):
        load(faces, cache=tmp_path / "file")
    assert not decodings  # noticed before the work, not after
    assert (tmp_path / "file").read_text() == "in the way"


def test_a_full_disk_is_said_so_and_leaves_nothing(
    faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def save(tensors: object, path: Path, metadata: object) -> None:
        path.write_bytes(b"half of it")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(caches, "save_file", save)
    with pytest.raises(InputError, match=r"cannot write the cache .* \(No space left on device\)"):
        load(faces, cache=tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_big_folders_are_kept_unasked_in_the_users_cache(
    faces: Path, tmp_path: Path, decodings: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stacking, "BIG", 8)
    first, second = load(faces), load(faces)
    assert len(decodings) == 8
    assert first.digest == second.digest
    assert [path.suffix for path in caches.default().iterdir()] == [".safetensors"]
    (faces / "i7.png").unlink()
    load(faces)
    load(faces)
    assert len(decodings) == 8 + 7 + 7  # a small one is not


def test_where_the_users_cache_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert caches.default() == tmp_path / "own-cache"
    monkeypatch.delenv("CURVAE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert caches.default() == tmp_path / "xdg" / "curvae"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert caches.default() == tmp_path / ".cache" / "curvae"


def test_the_digest_that_is_kept_is_that_of_the_content(faces: Path, tmp_path: Path) -> None:
    load(faces, cache=tmp_path / "cache")
    data = load(faces, cache=tmp_path / "cache")
    assert data.digest == content_digest(data.train, data.test)
    resized = load(faces, cache=tmp_path / "cache", size=3)
    assert resized.digest == content_digest(resized.train, resized.test) != data.digest


def test_a_record_that_was_changed_is_not_believed(faces: Path, tmp_path: Path, decodings: list[Path]) -> None:
    expected = load(faces, cache=tmp_path / "cache")
    (kept,) = (tmp_path / "cache").iterdir()
    content = kept.read_bytes()
    assert content.count(b'\\"seed\\": 0') == 1
    kept.write_bytes(content.replace(b'\\"seed\\": 0', b'\\"seed\\": 7'))
    assert load(faces, cache=tmp_path / "cache").split == expected.split
    assert len(decodings) == 16
