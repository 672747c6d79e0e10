from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from curvae.data import in_order, load, stacking
from curvae.data.folders import listing
from curvae.data.images import decode, load_folder
from curvae.data.split import Split
from curvae.errors import InputError


def test_every_pixel_arrives_in_sorted_order_and_split_by_the_seed(tmp_path: Path, write_images: Any) -> None:
    pixels = write_images(tmp_path / "b", **{f"i{n}": (4, 5, 3) for n in range(6)})
    pixels |= write_images(tmp_path / "a" / "deep", seed=1, **{f"j{n}": (4, 5, 3) for n in range(5)})
    in_order = [pixels[f"j{n}"] for n in range(5)] + [pixels[f"i{n}"] for n in range(6)]
    expected = np.stack([values.transpose(2, 0, 1) for values in in_order])
    data = load(tmp_path, split_seed=5, test_fraction=0.3)
    held_out = data.split["test_indices"]
    assert len(held_out) == 3
    np.testing.assert_array_equal(data.test.numpy(), expected[held_out])
    np.testing.assert_array_equal(data.train.numpy(), np.delete(expected, held_out, axis=0))


def test_train_and_test_subfolders_are_the_standard_split(tmp_path: Path, write_images: Any) -> None:
    train = write_images(tmp_path / "train" / "cats", a=(4, 4), b=(4, 4))
    test = write_images(tmp_path / "test", seed=1, a=(4, 4))
    write_images(tmp_path, stray=(9, 9))
    data = load(tmp_path)
    assert data.split == {"kind": "standard"}
    np.testing.assert_array_equal(data.train.numpy(), np.stack([train["a"], train["b"]])[:, None])
    np.testing.assert_array_equal(data.test.numpy(), test["a"][None, None])


def test_grey_stays_grey_and_one_colour_image_makes_all_rgb(tmp_path: Path, write_images: Any) -> None:
    pixels = write_images(tmp_path, a=(3, 3), b=(3, 3), c=(3, 3))
    assert load(tmp_path).shape == (1, 3, 3)
    pixels |= write_images(tmp_path, seed=1, d=(3, 3, 3), e=(3, 3))
    data = load(tmp_path, test_fraction=0.2)
    assert data.shape == (3, 3, 3)
    held_out = data.split["test_indices"]
    expected = np.stack(
        [np.broadcast_to(np.atleast_3d(pixels[name]), (3, 3, 3)).transpose(2, 0, 1) for name in "abcde"]
    )
    np.testing.assert_array_equal(data.train.numpy(), np.delete(expected, held_out, axis=0))
    np.testing.assert_array_equal(data.test.numpy(), expected[held_out])


def test_mixed_sizes_and_colours_are_brought_to_the_size(tmp_path: Path, write_images: Any) -> None:
    write_images(tmp_path, a=(3, 30), b=(40, 7, 3), c=(16, 16), d=(1, 1))
    data = load(tmp_path, size=16)
    assert data.shape == (3, 16, 16)
    assert len(data.train) + len(data.test) == 4


def test_only_visible_image_files_are_listed(tmp_path: Path, write_images: Any) -> None:
    write_images(tmp_path / "x", a=(2, 2), b=(2, 2))
    write_images(tmp_path / ".thumbnails", a=(9, 9))
    (tmp_path / "x" / "._a.png").write_bytes(b"a note of another system")
    (tmp_path / "x" / "labels.txt").write_text("a 1")
    (tmp_path / "x" / "folder.png").mkdir()
    (tmp_path / "x" / "b.png").rename(tmp_path / "x" / "B.PNG")
    found = listing(tmp_path, Split())
    assert {path.name for path in (*found.train, *found.test)} == {"B.PNG", "a.png"}


@pytest.mark.parametrize("suffix", ["png", "bmp", "gif", "pgm", "tif", "webp"])
def test_lossless_formats(tmp_path: Path, suffix: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (6, 5), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / f"a.{suffix}", **({"lossless": True} if suffix == "webp" else {}))
    # WebP knows no grey and GIF stores a palette; both may come back as RGB with equal channels
    for channel in decode(tmp_path / f"a.{suffix}"):
        np.testing.assert_array_equal(channel, pixels)


def test_sixteen_bits_are_scaled_and_not_clipped(tmp_path: Path) -> None:
    deep = np.array([[0, 257, 32768], [65535, 65407, 129]], np.uint16)
    Image.fromarray(deep).save(tmp_path / "a.png")
    np.testing.assert_array_equal(decode(tmp_path / "a.png")[0], np.rint(deep / 257).astype(np.uint8))


def test_photographs_are_turned_upright(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 7, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter clockwise
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(decode(tmp_path / "a.png"), np.rot90(pixels, -1).transpose(2, 0, 1))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_is_laid_over_white(tmp_path: Path, mode: str) -> None:
    image = Image.new("RGBA", (2, 1), (10, 10, 10, 255))
    image.putpixel((1, 0), (10, 10, 10, 0))
    image.convert(mode).save(tmp_path / "a.png")
    pixels = decode(tmp_path / "a.png")
    assert len(pixels) == (1 if mode == "LA" else 3)
    np.testing.assert_array_equal(pixels, np.broadcast_to(np.array([[10, 255]], np.uint8), pixels.shape))


def test_bilevel_palette_and_cmyk(tmp_path: Path) -> None:
    Image.new("1", (2, 2), 1).save(tmp_path / "a.png")
    np.testing.assert_array_equal(decode(tmp_path / "a.png"), np.full((1, 2, 2), 255))
    Image.new("RGB", (2, 2), (200, 30, 60)).quantize(4).save(tmp_path / "b.png")
    assert abs(decode(tmp_path / "b.png")[:, 0, 0].astype(int) - [200, 30, 60]).max() <= 1
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "c.jpg", quality=95)
    assert abs(decode(tmp_path / "c.jpg")[:, 4, 4].astype(int) - [255, 0, 0]).max() <= 3


def test_all_damaged_images_are_counted_and_the_first_is_named(tmp_path: Path, write_images: Any) -> None:
    write_images(tmp_path, **{f"i{n}": (16, 16, 3) for n in range(6)})
    for name in ("i2", "i4"):
        path = tmp_path / f"{name}.png"
        path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(InputError, match=r"2 of 6 images fail; the first: '.*i[24].png' cannot be read as an image"):
        load(tmp_path)


def test_big_folders_show_progress_on_stderr_only(
    tmp_path: Path, write_images: Any, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    write_images(tmp_path / "faces", a=(4, 4), b=(4, 4), c=(4, 4))
    load(tmp_path / "faces")
    assert capfd.readouterr() == ("", "")
    monkeypatch.setattr(stacking, "BIG", 3)
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    load(tmp_path / "faces")
    out, err = capfd.readouterr()
    assert out == ""
    assert "reading faces" in err


def test_more_files_than_one_share_keep_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stacking, "_SHARE", 4)
    for number in range(23):
        Image.new("L", (2, 2), number).save(tmp_path / f"{number:03}.png")
    data = load(tmp_path)
    together = sorted([*data.train[:, 0, 0, 0].tolist(), *data.test[:, 0, 0, 0].tolist()])
    assert together == list(range(23))
    assert data.test[:, 0, 0, 0].tolist() == data.split["test_indices"]


def test_a_name_with_a_line_break_stays_on_one_line(tmp_path: Path) -> None:
    (tmp_path / "two\nlines.png").write_bytes(b"no image")
    (tmp_path / "three\nlines.png").write_bytes(b"no image")
    with pytest.raises(InputError) as caught:
        load(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("cached", [False, True])
def test_damaged_images_are_left_out_if_asked(
    tmp_path: Path, write_images: Any, capfd: pytest.CaptureFixture[str], cached: bool
) -> None:
    faces = tmp_path / "faces"
    pixels = write_images(faces, **{f"i{n}": (16, 16, 3) for n in range(9)})
    whole = load(faces, test_fraction=0.4)
    held_out = whole.split["test_indices"]
    gone = {held_out[1], next(n for n in range(9) if n not in held_out)}
    for n in gone:
        path = faces / f"i{n}.png"
        path.write_bytes(path.read_bytes()[:-200])
    for _ in range(2):  # the second time from the cache, if there is one
        data = load(faces, test_fraction=0.4, damaged="skip", cache=tmp_path / "cache" if cached else None)
        assert data.split["damaged"]["count"] == 2
        assert set(data.split["damaged"]["names"]) == {f"i{n}.png" for n in gone}
        assert data.split["test_indices"] == [n for n in held_out if n not in gone]
        for half, numbers in ((data.train, set(range(9)) - set(held_out)), (data.test, held_out)):
            expected = [pixels[f"i{n}"].transpose(2, 0, 1) for n in sorted(set(numbers) - gone)]
            np.testing.assert_array_equal(half.numpy(), np.stack(expected))
        left = [pixels[f"i{n}"].transpose(2, 0, 1) for n in range(9) if n not in gone]
        np.testing.assert_array_equal(in_order(data).numpy(), np.stack(left))
    out, err = capfd.readouterr()
    assert out == ""
    assert err.count("left out: 2 of 9 images fail; the first:") == (1 if cached else 2)


def test_nothing_whole_is_an_error_even_then(tmp_path: Path, write_images: Any) -> None:
    for half in ("train", "test"):
        write_images(tmp_path / half, a=(16, 16), b=(16, 16))
    for name in "ab":
        (tmp_path / "test" / f"{name}.png").write_bytes(b"no image")
    with pytest.raises(InputError, match="has no whole image for testing; get its files again"):
        load(tmp_path, damaged="skip")
    for name in "ab":
        (tmp_path / "train" / f"{name}.png").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"4 of 4 images fail; .*; also '.*', '.*', '.*'; replace or remove"):
        load(tmp_path, damaged="skip")


def test_what_to_do_about_damage_is_one_of_two_things(tmp_path: Path, write_images: Any) -> None:
    write_images(tmp_path, a=(4, 4), b=(4, 4))
    with pytest.raises(InputError, match="damaged is 'ignore'; expected stop or skip"):
        load(tmp_path, damaged="ignore")


def _deep(path: Path, colours: np.ndarray) -> None:
    """A PNG file of 16 bits a channel, which Pillow does not write."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    height, width, _ = colours.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in colours)
    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)


def test_colours_of_16_bits_are_read_where_they_use_them(tmp_path: Path) -> None:
    colours = np.random.default_rng(0).integers(0, 65_536, (6, 5, 4, 3))
    colours[:, 0, 0] = 65_535
    for number, one in enumerate(colours):
        _deep(tmp_path / f"{number}.png", one)
    halves = load_folder(tmp_path, Split())
    assert halves.split["white"] == 65_535
    kept = [number for number in range(6) if number not in halves.split["test_indices"]]
    np.testing.assert_array_equal(halves.train, (colours[kept] >> 8).transpose(0, 3, 1, 2))
    for number, one in enumerate(colours):
        _deep(tmp_path / f"{number}.png", one // 16)
    with pytest.raises(InputError, match=r"6 of 6 images fail; .*16 bits a channel, of which so few are used"):
        load_folder(tmp_path, Split())


def test_masks_of_16_bits_are_masks(tmp_path: Path) -> None:
    for number, mask in enumerate(np.random.default_rng(0).integers(0, 2, (6, 5, 4))):
        Image.fromarray(mask.astype(np.uint16)).save(tmp_path / f"{number}.png")
    halves = load_folder(tmp_path, Split())
    assert halves.split["white"] == 1
    assert set(halves.train.ravel().tolist()) == {0, 255}
