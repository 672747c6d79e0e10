"""Images are opened as what they are said to be, and their pixels survive damaged notes."""

from __future__ import annotations

import io
import struct
import subprocess
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import EpsImagePlugin, Image, ImageOps, UnidentifiedImageError

from curvae.data import load
from curvae.data.raster import open_image

PIXELS = np.random.default_rng(0).integers(0, 256, (5, 8), dtype=np.uint8)


def saved(form: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(PIXELS).save(buffer, form, **options)
    return buffer.getvalue()


def chunk(kind: bytes, content: bytes, checksum: int | None = None) -> bytes:
    whole = zlib.crc32(kind + content) if checksum is None else checksum
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", whole)


def with_chunk(added: bytes, late: bool = False) -> bytes:
    """A PNG with another chunk after its header, or after its pixels."""
    png = saved("PNG")
    at = png.index(b"IEND") - 4 if late else png.index(b"IHDR") + 4 + 13 + 4
    return png[:at] + added + png[at:]


def exif(orientation: int) -> Image.Exif:
    notes = Image.Exif()
    notes[0x0112] = orientation
    return notes


NOTES = {
    "exif of rubbish": chunk(b"eXIf", b"rubbish"),
    "exif cut": chunk(b"eXIf", exif(6).tobytes()[6:20]),
    "exif empty": chunk(b"eXIf", b""),
    "exif with another checksum": chunk(b"eXIf", exif(1).tobytes()[6:], 1),
    "exif in text": chunk(b"tEXt", b"Raw profile type exif\0\nexif\n  9\nno hex\n"),
    "text with another checksum": chunk(b"tEXt", b"Title\0a title", 1),
    "text that unpacks to 100 MB": chunk(b"zTXt", b"Title\0\0" + zlib.compress(bytes(10**8))),
    "text in an unknown packing": chunk(b"iTXt", b"Title\0\1\7\0\0" + b"rubbish"),
    "colours of rubbish": chunk(b"iCCP", b"name\0\0rubbish"),
    "density cut": chunk(b"pHYs", b"\0"),
    "animation of rubbish": chunk(b"acTL", b"\0"),
}


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("case", NOTES)
def test_pixels_are_read_though_a_note_is_damaged(case: str, late: bool) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's own; while a set is read they are not shown
        np.testing.assert_array_equal(np.asarray(open_image(with_chunk(NOTES[case], late))), PIXELS)


@pytest.mark.parametrize("form", ["JPEG", "WEBP"])
def test_other_formats_bear_rubbish_for_exif_as_well(form: str) -> None:
    options: dict[str, Any] = {"lossless": True} if form == "WEBP" else {}
    plain = np.asarray(open_image(saved(form, **options)))
    found = open_image(saved(form, exif=b"Exif\0\0rubbish and more", **options))
    np.testing.assert_array_equal(np.asarray(found), plain)


def test_an_orientation_that_can_be_read_beside_damage_turns() -> None:
    png = with_chunk(chunk(b"eXIf", exif(6).tobytes()[6:]) + NOTES["text with another checksum"])
    np.testing.assert_array_equal(np.asarray(open_image(png)), np.rot90(PIXELS, -1))


@pytest.mark.parametrize("form", ["PNG", "JPEG", "TIFF"])
@pytest.mark.parametrize("orientation", [*range(1, 9), 0, 77])
def test_turned_as_pillow_does(form: str, orientation: int) -> None:
    content = saved(form, exif=exif(orientation))
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(content))))
    np.testing.assert_array_equal(np.asarray(open_image(content)), expected)


def test_damaged_pixels_are_still_refused() -> None:
    png = bytearray(with_chunk(NOTES["exif of rubbish"]))
    png[png.index(b"IDAT") + 9] ^= 0xFF
    with pytest.raises(Exception, match="bad header checksum|broken|decod|identify"):
        open_image(bytes(png))


def test_no_program_is_run_for_an_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[object] = []
    monkeypatch.setattr(subprocess, "Popen", lambda *given, **_: started.append(given))
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *given, **_: started.append(given))
    for suffix in ("png", "jpg", "tif"):
        Image.new("RGB", (4, 4)).save(tmp_path / f"x.{suffix}", "EPS")
    Image.new("L", (4, 4)).save(tmp_path / "a.png")
    Image.new("L", (4, 4)).save(tmp_path / "b.png")
    assert len(load(tmp_path, damaged="skip", test_fraction=0.5, split_seed=4).train) == 1
    assert not started


@pytest.mark.parametrize("form", ["EPS", "ICO", "TGA", "PCX", "PDF"])
def test_formats_that_are_not_listed_are_unknown(form: str) -> None:
    with pytest.raises(UnidentifiedImageError):
        open_image(saved(form))


def test_what_pillow_warns_about_stays_off_the_screen(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> None:
    for name in "abc":
        (tmp_path / f"{name}.png").write_bytes(with_chunk(NOTES["exif cut"]))
    load(tmp_path)
    assert not recwarn.list
    assert capfd.readouterr() == ("", "")


def test_an_image_of_more_pixels_than_memory_is_damaged(tmp_path: Path) -> None:
    header = struct.pack(">2I5B", 2**31 - 1, 2**31 - 1, 8, 0, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(10**6)))
    (tmp_path / "bomb.png").write_bytes(bomb + chunk(b"IEND", b""))
    for name in "abcd":
        (tmp_path / f"{name}.png").write_bytes(saved("PNG"))
    assert load(tmp_path, damaged="skip", test_fraction=0.5).split["damaged"]["names"] == ["bomb.png"]
