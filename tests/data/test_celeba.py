"""On small folders in CelebA's exact layout, made here: names, sizes, list of parts, JPEG. No image of it is needed."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from curvae.data import Dataset, absolute, celeba, load
from curvae.data.dataset import content_digest
from curvae.errors import InputError

# the official file numbers its 202 599 images through three parts in this order
PARTS = [0] * 9 + [1] * 4 + [2] * 5
NAMES = [f"{number:06}.jpg" for number in range(1, len(PARTS) + 1)]


def jpeg(number: int, size: tuple[int, int] = (178, 218)) -> bytes:
    """A smooth picture, different for every number."""
    rng = np.random.default_rng(number)
    small = Image.fromarray(rng.integers(0, 256, (7, 6, 3), dtype=np.uint8))
    stream = io.BytesIO()
    small.resize(size, Image.Resampling.BICUBIC).save(stream, "JPEG", quality=90)
    return stream.getvalue()


CONTENTS = {name: jpeg(number) for number, name in enumerate(NAMES)}


def write_list(path: Path, parts: list[int] = PARTS) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{name} {part}\n" for name, part in zip(NAMES, parts, strict=True)))


def write_folder(folder: Path) -> Path:
    folder.mkdir(parents=True)
    for name, content in CONTENTS.items():
        (folder / name).write_bytes(content)
    return folder


def write_zip(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.mkdir("img_align_celeba")
        for name, content in CONTENTS.items():
            archive.writestr(f"img_align_celeba/{name}", content)
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_folder(tmp_path / "celeba" / "img_align_celeba")
    write_list(tmp_path / "celeba" / "list_eval_partition.txt")
    return tmp_path / "celeba"


@pytest.fixture
def decodings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the images that have been decoded."""
    seen: list[str] = []
    real = celeba.decode

    def decode(name: str, images: celeba.Images, size: int) -> object:
        seen.append(name)
        return real(name, images, size)

    monkeypatch.setattr(celeba, "decode", decode)
    return seen


def expected(part: int, size: int = 64) -> torch.Tensor:
    """The middle 140 × 140 by array slices: 19 columns and 39 rows go on each side."""
    images = []
    for name, own in zip(NAMES, PARTS, strict=True):
        if own == part:
            pixels = np.asarray(Image.open(io.BytesIO(CONTENTS[name])))
            middle = Image.fromarray(np.ascontiguousarray(pixels[39:-39, 19:-19]))
            assert middle.size == (140, 140)
            images.append(np.asarray(middle.resize((size, size), Image.Resampling.BICUBIC)).transpose(2, 0, 1))
    return torch.from_numpy(np.stack(images))


def check(data: Dataset) -> None:
    assert (data.name, data.shape) == ("celeba", (3, 64, 64))
    assert data.split == {"kind": "standard", "validation": 4}
    assert torch.equal(data.train, expected(0))
    assert torch.equal(data.test, expected(2))
    assert data.digest == content_digest(data.train, data.test)


Layout = Callable[[Path], Path]


def official(base: Path) -> Path:
    write_zip(base / "Img" / "img_align_celeba.zip")
    write_list(base / "Eval" / "list_eval_partition.txt")
    return base


def unpacked_official(base: Path) -> Path:
    write_folder(base / "Img" / "img_align_celeba")
    write_list(base / "Eval" / "list_eval_partition.txt")
    return base / "Img" / "img_align_celeba"


def flat_zip(base: Path) -> Path:
    write_list(base / "list_eval_partition.txt")
    return write_zip(base / "img_align_celeba.zip")


def renamed_zip(base: Path) -> Path:
    write_list(base / "list_eval_partition.txt")
    return write_zip(base / "faces.ZIP")


def nested_with_commas(base: Path) -> Path:
    write_folder(base / "img_align_celeba" / "img_align_celeba")
    lines = [f"{name},{part}\n" for name, part in zip(NAMES, PARTS, strict=True)]
    (base / "list_eval_partition.csv").write_text("image_id,partition\n" + "".join(lines))
    return base


def zip_with_its_own_list(base: Path) -> Path:
    base.mkdir()
    with zipfile.ZipFile(base / "archive.zip", "w") as archive:
        for name, content in CONTENTS.items():
            archive.writestr(f"img_align_celeba/img_align_celeba/{name}", content)
            archive.writestr(f"__MACOSX/img_align_celeba/img_align_celeba/._{name}", b"a note")
        lines = [f"{name},{part}\r\n" for name, part in zip(NAMES, PARTS, strict=True)]
        archive.writestr("list_eval_partition.csv", "image_id,partition\r\n" + "".join(lines))
        archive.writestr("__MACOSX/list_eval_partition.csv", "a note")
    return base / "archive.zip"


def link_to_another_name(base: Path) -> Path:
    write_folder(base / "store" / "aligned")
    write_list(base / "list_eval_partition.txt")
    (base / "img_align_celeba").symlink_to(base / "store" / "aligned")
    return base / "img_align_celeba"


def all_in_one(base: Path) -> Path:
    write_folder(base)
    write_list(base / "list_eval_partition.txt")
    return base


@pytest.mark.parametrize(
    "layout",
    [
        official,
        unpacked_official,
        flat_zip,
        renamed_zip,
        nested_with_commas,
        all_in_one,
        zip_with_its_own_list,
        link_to_another_name,
    ],
    ids=lambda f: f.__name__,
)
def test_every_layout_in_use(tmp_path: Path, layout: Layout) -> None:
    place = layout(tmp_path / "data")
    check(load(place))
    check(load(absolute(str(place))))  # as the command line keeps it


def test_from_within_the_folder(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root / "img_align_celeba")
    check(load("."))
    monkeypatch.chdir(root)
    check(load("."))
    check(load("img_align_celeba"))


def test_images_in_no_part_are_counted(root: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (root / "list_eval_partition.txt").write_text(
        "".join(f"{name} {part}\n" for name, part in zip(NAMES[:-2], PARTS[:-2], strict=True))
    )
    (root / "img_align_celeba" / "._000001.jpg").write_bytes(b"a note")
    data = load(root)
    assert data.split == {"kind": "standard", "validation": 4, "unlisted": 2}
    assert torch.equal(data.test, expected(2)[:-2])
    assert "left out: 2 images of " in capfd.readouterr().err


def test_the_folder_or_the_one_around_it(root: Path) -> None:
    check(load(root))
    check(load(root / "img_align_celeba"))
    check(load(str(root)))


def test_the_order_of_the_list_does_not_matter_and_its_parts_do(root: Path) -> None:
    lines = (root / "list_eval_partition.txt").read_text().splitlines()
    (root / "list_eval_partition.txt").write_text("\n".join(reversed(lines)))
    check(load(root))
    write_list(root / "list_eval_partition.txt", [2] * 5 + [1] * 4 + [0] * 9)
    moved = load(root)
    assert (len(moved.train), len(moved.test)) == (9, 5)
    assert torch.equal(moved.test, expected(0)[:5])


@pytest.mark.usefixtures("root")
def test_another_size(root: Path) -> None:
    data = load(root, size=32)
    assert torch.equal(data.train, expected(0, 32))
    assert data.digest == content_digest(data.train, data.test)


def test_decoded_once_and_mapped(root: Path, tmp_path: Path, decodings: list[str]) -> None:
    for _ in range(2):
        check(load(root, cache=tmp_path / "cache"))
        assert sorted(decodings) == [name for name, part in zip(NAMES, PARTS, strict=True) if part != 1]
    root.rename(tmp_path / "moved")
    check(load(tmp_path / "moved", cache=tmp_path / "cache"))
    assert len(decodings) == 14
    (tmp_path / "moved" / "img_align_celeba" / NAMES[3]).write_bytes(jpeg(99))
    changed = load(tmp_path / "moved", cache=tmp_path / "cache")
    assert len(decodings) == 28
    assert [n for n in range(9) if not torch.equal(changed.train[n], expected(0)[n])] == [3]


def test_the_zip_is_decoded_once(tmp_path: Path, decodings: list[str]) -> None:
    place = flat_zip(tmp_path / "data")
    for _ in range(2):
        check(load(place))  # in the user's own cache, unasked
    assert len(decodings) == 14


def test_truncated_images_stop_or_are_left_out(root: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for number in (2, 6, 15):
        path = root / "img_align_celeba" / NAMES[number]
        path.write_bytes(CONTENTS[NAMES[number]][:-300])
    with pytest.raises(InputError) as caught:
        load(root)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith("3 of 14 images fail; the first: '000003.jpg' in ")
    assert "truncated" in message
    assert (
        "; also '000007.jpg', '000016.jpg'; replace or remove, or train without such images (--damaged skip, "
        in message
    )
    assert message.endswith("of a figure --set damaged=skip)")
    for _ in range(2):
        data = load(root, damaged="skip")
        assert data.split["damaged"] == {"count": 3, "names": ["000003.jpg", "000007.jpg", "000016.jpg"]}
        assert torch.equal(data.train, expected(0)[[0, 1, 3, 4, 5, 7, 8]])
        assert torch.equal(data.test, expected(2)[[0, 1, 3, 4]])
    assert capfd.readouterr().err.count("left out: 3 of 14 images fail") == 1  # the second time from the cache
    (root / "img_align_celeba" / NAMES[2]).write_bytes(CONTENTS[NAMES[2]])
    assert load(root, damaged="skip").split["damaged"]["count"] == 2


def test_damage_inside_the_zip_is_named(tmp_path: Path) -> None:
    place = flat_zip(tmp_path / "data")
    content = bytearray(place.read_bytes())
    at = content.index(CONTENTS[NAMES[4]])
    content[at + 400] ^= 0xFF
    place.write_bytes(content)
    with pytest.raises(InputError, match=r"1 of 14 images fail; the first: '000005\.jpg' in '.*zip' .*CRC"):
        load(place)


def _no_list(root: Path) -> Path:
    (root / "list_eval_partition.txt").unlink()
    return root


def _no_list_for_the_zip(root: Path) -> Path:
    return write_zip(root / "far" / "away" / "from" / "img_align_celeba.zip")


def _only_the_list(root: Path) -> Path:
    write_list(root / "other" / "list_eval_partition.txt")
    (root / "other" / "img_celeba").mkdir()
    return root / "other"


def _only_annotations(root: Path) -> Path:
    write_list(root / "official" / "Eval" / "list_eval_partition.txt")
    return root / "official"


def _some_missing(root: Path) -> Path:
    for number in (1, 10, 14):  # the one in the middle is for validation and not missed
        (root / "img_align_celeba" / NAMES[number]).unlink()
    return root


def _other_images(root: Path) -> Path:
    for name in NAMES:
        (root / "img_align_celeba" / name).rename(root / "img_align_celeba" / f"x{name}")
    return root


def _in_the_wild(root: Path) -> Path:
    for name in NAMES:
        (root / "img_align_celeba" / name).write_bytes(jpeg(0, (400, 300)))
    return root


def _damaged_list_in_the_zip(root: Path) -> Path:
    path = zip_with_its_own_list(root / "zipped")
    content = bytearray(path.read_bytes())
    content[content.index(b"000002.jpg,0")] ^= 1
    path.write_bytes(content)
    return path


def _listed(text: str) -> Callable[[Path], Path]:
    def write(root: Path) -> Path:
        (root / "list_eval_partition.txt").write_text(text)
        return root

    return write


def _foreign_zip(root: Path) -> Path:
    with zipfile.ZipFile(root / "photos.zip", "w") as archive:
        archive.writestr("holiday/1.jpg", jpeg(0))
    return root / "photos.zip"


def _zip_of_a_version_to_come(root: Path) -> Path:
    path = write_zip(root / "new.zip")
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\1\2") + 6] = 99
    path.write_bytes(content)
    return path


def _zip_with_names_that_are_no_text(root: Path) -> Path:
    path = write_zip(root / "names.zip")
    content = bytearray(path.read_bytes())
    entry = content.index(b"PK\1\2")
    content[entry + 9] |= 8  # a name in UTF-8
    content[entry + 46] = 0xFF
    path.write_bytes(content)
    return path


def _truncated_zip(root: Path) -> Path:
    path = write_zip(root / "half.zip")
    path.write_bytes(path.read_bytes()[:5000])
    return path


BAD: dict[str, tuple[Layout, str]] = {
    "no list": (_no_list, "img_align_celeba' has no list_eval_partition.txt beside it; get it from CelebA's folder"),
    "zip without list": (_no_list_for_the_zip, "zip' has no list_eval_partition.txt beside it"),
    "only the list": (_only_the_list, "has list_eval_partition.txt but neither img_align_celeba nor img_align_cel"),
    "only annotations": (_only_annotations, "give the folder that has both"),
    "some missing": (_some_missing, "lacks 2 of the 14 images that the list of parts names, the first '000002.jpg'"),
    "other images": (_other_images, "holds none of the 14 images that the list of parts names, such as '000001.jpg'"),
    "in the wild": (_in_the_wild, "14 of 14 images fail; .*400x300 pixels; expected the aligned images, 178x218"),
    "foreign line": (_listed("000001.jpg 0\n000002.jpg 3\n"), "line 2 is '000002.jpg 3'; expected a new file name and"),
    "twice": (_listed("000001.jpg 0\n000001.jpg 2\n"), "line 2 is '000001.jpg 2'; expected a new file name and"),
    "cut line": (_listed("000001.jpg 0\n0000"), "line 2 is '0000'; expected a new file name and"),
    "no test part": (_listed("000001.jpg 0\n000002.jpg 1\n"), "names no test image; get it again"),
    "empty list": (_listed(""), "names no training image; get it again"),
    "binary list": (_listed("\xff\xfe"), "list_eval_partition.txt', line 1 is 'ÿþ'; expected a new"),
    "damaged list in the zip": (_damaged_list_in_the_zip, r"list_eval_partition.csv' cannot be read .Bad CRC.*again"),
    "foreign zip": (_foreign_zip, r"holds no img_align_celeba/\*.jpg; expected CelebA's img_align_celeba.zip"),
    "zip of a version to come": (_zip_of_a_version_to_come, "new.zip' cannot be read as a zip .zip file version 9.9"),
    "zip with names that are no text": (
        _zip_with_names_that_are_no_text,
        "names.zip' cannot be read as a zip .'utf-8' c",
    ),
    "truncated zip": (_truncated_zip, r"half.zip' cannot be read as a zip \(File is not a zip file\); get it again"),
}


@pytest.mark.parametrize("case", BAD)
@pytest.mark.parametrize("damaged", ["stop", "skip"])
def test_what_is_wrong_is_said_in_one_line(root: Path, case: str, damaged: str) -> None:
    make, message = BAD[case]
    place = make(root)
    before = sorted(path for path in root.rglob("*"))
    with pytest.raises(InputError, match=message) as caught:
        load(place, damaged=damaged)
    assert "\n" not in str(caught.value)
    assert sorted(path for path in root.rglob("*")) == before


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("zipped", [False, True])
def test_lists_as_editors_save_them(tmp_path: Path, encoding: str, end: str, zipped: bool) -> None:
    lines = [f"{name} {part}" for name, part in zip(NAMES, PARTS, strict=True)]
    content = end.join([*lines, "caf\xe9.jpg 1", ""]).encode(encoding)
    if zipped:
        write_zip(tmp_path / "a.zip")
        with zipfile.ZipFile(tmp_path / "a.zip", "a") as archive:
            archive.writestr("list_eval_partition.txt", content)
    else:
        write_folder(tmp_path / "img_align_celeba")
        (tmp_path / "list_eval_partition.txt").write_bytes(content)
    data = load(tmp_path / "a.zip" if zipped else tmp_path)
    assert torch.equal(data.train, expected(0))
    assert torch.equal(data.test, expected(2))
    assert data.split == {"kind": "standard", "validation": 5}


def test_a_pipe_and_a_link_to_nothing_in_an_images_place_are_damaged(root: Path) -> None:
    images = root / "img_align_celeba"
    for name in (NAMES[0], NAMES[1]):
        (images / name).unlink()
    os.mkfifo(images / NAMES[0])
    (images / NAMES[1]).symlink_to("/nowhere.jpg")
    with pytest.raises(InputError, match="2 of 14 images fail; the first: .*000001.jpg is a pipe; expected a regular"):
        load(root)
    assert load(root, damaged="skip").split["damaged"] == {"count": 2, "names": NAMES[:2]}


def test_entries_of_a_zip_that_claim_the_memory_are_damaged(
    tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_zip(root / "other" / "a.zip")
    write_list(root / "other" / "list_eval_partition.txt")
    monkeypatch.setattr(celeba, "_LARGEST", max(len(content) for content in CONTENTS.values()) - 1)
    with pytest.raises(InputError, match="of 14 images fail; the first: .* bytes unpacked; expected at most"):
        load(path)


def test_other_folders_go_on_as_before(tmp_path: Path) -> None:
    write_folder(tmp_path / "faces")
    data = load(tmp_path / "faces")
    assert (data.name, data.shape, data.split["kind"]) == ("faces", (3, 218, 178), "seeded")
