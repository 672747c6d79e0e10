"""Which images of a folder are read, and which of them its own subfolders hold out."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from curvae.data import folders as folders_module
from curvae.data import load
from curvae.errors import InputError


def grey(path: Path, value: int) -> Path:
    """A picture that can be told by its value."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (2, 2), value).save(path, "PNG")
    return path


def values(half: Any) -> list[int]:
    return half[:, 0, 0, 0].tolist()


def both(data: Any) -> list[int]:
    return sorted([*values(data.train), *values(data.test)])


def test_links_to_folders_and_files_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    root = tmp_path / "root"
    for value in range(3):
        grey(root / "cats" / f"{value}.png", value)
        grey(tmp_path / "store" / "dogs" / "deep" / f"{value}.png", 10 + value)
    grey(tmp_path / "elsewhere.png", 20)
    (root / "dogs").symlink_to(tmp_path / "store" / "dogs")
    (root / "linked.png").symlink_to(tmp_path / "elsewhere.png")
    (root / "cats" / "self").symlink_to(root / "cats")
    (root / "cats" / "up").symlink_to("..")
    (root / "above").symlink_to(tmp_path)
    (tmp_path / "store" / "dogs" / "back").symlink_to(root)
    (tmp_path / "store" / "dogs" / "other").symlink_to(root / "cats")
    assert both(load(root)) == [0, 1, 2, 10, 11, 12, 20]


def test_the_same_image_by_two_links_is_not_on_both_sides(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for value in range(6):
        (tmp_path / f"link{value}.png").symlink_to(grey(tmp_path / f"{value}.png", value))
    assert both(load(tmp_path)) == list(range(6))
    assert "left out 6 links to images that are already included" in capfd.readouterr().err


def _dangling_file(root: Path) -> None:
    (root / "gone.png").symlink_to(root / "nowhere.png")


def _dangling_folder(root: Path) -> None:
    (root / "dogs").symlink_to("/nowhere/dogs")


def _link_to_itself(root: Path) -> None:
    (root / "loop.png").symlink_to(root / "loop.png")


def _pipe(root: Path) -> None:
    os.mkfifo(root / "pipe.png")


def _device(root: Path) -> None:
    (root / "zero.png").symlink_to("/dev/zero")


def _postscript(root: Path) -> None:
    (root / "x.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 2 2\n%%EndComments\nshowpage\n")


DAMAGE = {
    _dangling_file: "No such file",
    _dangling_folder: "No such file",
    _link_to_itself: "Too many levels",
    _pipe: "is a pipe; expected a regular file",
    _device: "is a device; expected a regular file",
    _postscript: "of an unknown format",
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_what_cannot_be_read_counts_as_damaged(tmp_path: Path, damage: Any) -> None:
    root = tmp_path / "root"
    for value in range(4):
        grey(root / f"{value}.png", value)
    damage(root)
    with pytest.raises(InputError, match=rf"1 of 5 images fail; the first: .*{DAMAGE[damage]}.*--damaged skip"):
        load(root)
    for cache in (None, tmp_path / "cache", tmp_path / "cache"):
        data = load(root, damaged="skip", cache=cache, test_fraction=0.5)
        assert both(data) == [0, 1, 2, 3]
        assert data.split["damaged"]["count"] == 1


def test_a_folder_that_cannot_be_listed_counts_as_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for value in range(4):
        grey(tmp_path / f"{value}.png", value)
    grey(tmp_path / "closed" / "5.png", 5)
    (tmp_path / "lost+found").mkdir()
    real = os.scandir

    def scandir(place: Any) -> Any:
        if Path(place).name in ("closed", "lost+found"):
            raise PermissionError(13, "Permission denied", str(place))
        return real(place)

    monkeypatch.setattr(folders_module.os, "scandir", scandir)
    with pytest.raises(InputError, match=r"1 of 5 images fail; the first: .*closed"):
        load(tmp_path)
    assert both(load(tmp_path, damaged="skip", test_fraction=0.5)) == [0, 1, 2, 3]


LAYOUTS: dict[str, tuple[list[str], str, str]] = {
    # folders, each with as many images as its number; those held out; what stderr says
    "train and val": (["train", "val"], "val", "1 images are for training ('train'), 2 are held out ('val')"),
    "capital letters": (["TRAIN", "Test"], "Test", "('TRAIN'), 2 are held out ('Test')"),
    "all three": (["train", "valid", "test"], "test", "held out ('test'); left out: 2 of 'valid'"),
    "validation alone": (["training", "validation", "x"], "validation", "left out: 3 beside them ('x')"),
    "by class": (["cats/train", "cats/test", "dogs/train", "dogs/test"], "test", "4 images are for training"),
    "under images": (["images/train2017", "images/val2017"], "val2017", "held out ('val2017')"),
    "pairs": (["trainA", "testA", "steam_train"], "testA", "left out: 3 beside them ('steam_train')"),
    "classes in parts": (["train/a", "train/b", "test/a", "test/b"], "test", "3 images are for training"),
}


@pytest.mark.parametrize("case", LAYOUTS)
def test_folders_named_after_parts_are_the_split(tmp_path: Path, case: str, capfd: pytest.CaptureFixture[str]) -> None:
    names, held_out, told = LAYOUTS[case]
    expected: dict[bool, list[int]] = {False: [], True: []}
    for number, name in enumerate(names, 1):
        for index in range(number):
            grey(tmp_path / name / f"{index}.png", 10 * number + index)
            if name.lower().startswith(("train", "images/train")) or "/train" in name:
                expected[False].append(10 * number + index)
            elif held_out in name:
                expected[True].append(10 * number + index)
    data = load(tmp_path)
    assert data.split["kind"] == "standard"
    assert sorted(values(data.train)) == sorted(expected[False])
    assert sorted(values(data.test)) == sorted(expected[True])
    out, err = capfd.readouterr()
    assert out == ""
    assert told in err
    assert err.count("\n") == 1


def test_a_link_to_test_images_among_the_training_images_is_told(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for value in range(3):
        grey(tmp_path / "train" / f"{value}.png", value)
        grey(tmp_path / "test" / f"{value}.png", 10 + value)
    (tmp_path / "test" / "extra").symlink_to(tmp_path / "train")
    (tmp_path / "train" / "up").symlink_to(tmp_path)
    data = load(tmp_path)
    assert sorted(values(data.train)) == [0, 1, 2]
    assert "; 3 of these are links to training images" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["train", "cats", "dogs"], "has images in 'train' and beside it in 'cats', 'dogs' but no folder of test or"),
        (["test", "cats"], "has images in 'test' and beside it in 'cats' but no folder of training images"),
        (["val", "test"], "has images in 'val' and 'test' but no folder of training images"),
    ],
)
def test_parts_from_which_no_split_follows_are_refused(tmp_path: Path, names: list[str], message: str) -> None:
    for name in names:
        grey(tmp_path / name / "a.png", 0)
        grey(tmp_path / name / "b.png", 1)
    with pytest.raises(InputError) as caught:
        load(tmp_path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_one_part_alone_is_split_as_any_folder(tmp_path: Path) -> None:
    for value in range(5):
        grey(tmp_path / "train" / f"{value}.png", value)
    (tmp_path / "labels").mkdir()
    assert load(tmp_path).split["kind"] == "seeded"


def test_images_of_formats_that_are_not_read_are_told(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for value in range(3):
        grey(tmp_path / f"{value}.png", value)
        (tmp_path / f"{value}.HEIC").write_bytes(b"another format")
    load(tmp_path)
    assert "left out 3 files in formats that curvae does not read (.heic)" in capfd.readouterr().err


def test_names_may_be_bytes_that_are_no_text_and_look_like_markup(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from curvae.data import stacking

    monkeypatch.setattr(stacking, "BIG", 2)
    root = tmp_path / os.fsdecode(b"caf\xe9 [red]")
    for value in range(3):
        grey(root / os.fsdecode(b"\xe9%d.png" % value), value)
    data = load(root, cache=tmp_path / "cache")
    assert both(data) == [0, 1, 2]
    assert data.name.encode("utf-8").startswith(b"caf\\udce9")
    np.testing.assert_array_equal(load(root, cache=tmp_path / "cache").train, data.train)
