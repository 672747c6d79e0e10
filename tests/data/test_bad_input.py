"""Bad input of every kind: each gets its one clear line, and nothing on disk changes."""

from __future__ import annotations

import gzip
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from curvae import memory
from curvae.data import load
from curvae.errors import InputError


def idx_file(count: int, side: int, *, magic: int = 2051, pixels: int | None = None) -> bytes:
    body = count * side * side if pixels is None else pixels
    return b"".join(n.to_bytes(4, "big") for n in (magic, count, side, side)) + bytes(body)


def folder(path: Path, **files: bytes) -> Path:
    path.mkdir()
    for name, content in files.items():
        (path / name.replace("__", "-").replace("_dot_", ".")).write_bytes(content)
    return path


def idx_folder(path: Path, train: bytes | None = None, test: bytes | None = None, suffix: str = "") -> Path:
    names = {f"train-images-idx3-ubyte{suffix}": train, f"t10k-images-idx3-ubyte{suffix}": test}
    path.mkdir()
    for name, content in names.items():
        if content is not None:
            (path / name).write_bytes(content)
    return path


def npy(path: Path, array: Any, **options: Any) -> Path:
    np.save(path / "a.npy", array, **options)
    return path / "a.npy"


def npz(path: Path, **arrays: Any) -> Path:
    np.savez(path / "a.npz", **arrays)
    return path / "a.npz"


def raw(path: Path, name: str, content: bytes) -> Path:
    (path / name).write_bytes(content)
    return path / name


def pictures(path: Path, *sizes: tuple[int, int], mode: str = "L", suffix: str = "png") -> Path:
    path.mkdir()
    for number, size in enumerate(sizes):
        Image.effect_noise(size, 60).convert(mode).save(path / f"p{number}.{suffix}")
    return path


def damaged(path: Path, keep: int, suffix: str) -> Path:
    pictures(path, *[(32, 32)] * 3, suffix=suffix)
    victim = path / f"p1.{suffix}"
    victim.write_bytes(victim.read_bytes()[:keep])
    return path


def with_nan(value: float) -> np.ndarray[Any, Any]:
    array = np.ones((5, 3))
    array[2, 1] = value
    return array


def zipped_text(path: Path) -> Path:
    with zipfile.ZipFile(path / "a.npz", "w") as archive:
        archive.writestr("hello.txt", "hello")
    return path / "a.npz"


def bad_member(path: Path) -> Path:
    file = npz(path, train=np.arange(600.0).reshape(100, 6))
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0xFF
    file.write_bytes(content)
    return file


def without_permission(path: Path) -> Path:
    file = npy(path, np.ones((4, 2)))
    file.chmod(0)
    return file


def npy_header(text: str) -> bytes:
    return b"\x93NUMPY\2\0" + len(text).to_bytes(4, "little") + text.encode()


def pipe(path: Path) -> Path:
    os.mkfifo(path)
    return path


def link(path: Path, target: str) -> Path:
    path.symlink_to(target)
    return path


def zip_with(path: Path, file: Path, version: int = 20, name: bytes = b"") -> Path:
    """A zip whose directory says other things."""
    content = bytearray(file.read_bytes())
    entry = content.index(b"PK\1\2")
    content[entry + 6 : entry + 8] = version.to_bytes(2, "little")
    if name:
        content[entry + 9] |= 8  # a name in UTF-8
        content[entry + 46 : entry + 46 + len(name)] = name
    (path / "b.npz").write_bytes(content)
    return path / "b.npz"


class Touch:
    """Unpickled, it would leave a trace."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return os.mkdir, ("unpickled",)


GZ = gzip.compress(idx_file(3, 4))
Make = Callable[[Path], Any]
CASES: dict[str, tuple[Make, dict[str, Any], str]] = {
    "empty name": (lambda p: "", {}, "the data source is empty; expected mnist, fashion-mnist"),
    "unknown name": (lambda p: "minst", {}, "'minst' does not exist; expected mnist, fashion-mnist"),
    "missing path": (lambda p: p / "nowhere", {}, "does not exist; expected mnist"),
    "missing file": (lambda p: p / "nowhere.npy", {}, "does not exist"),
    "name too long": (lambda p: "x" * 5000, {}, "cannot be read (File name too long)"),
    "nul in the name": (lambda p: "a\0b", {}, "does not exist"),
    "no such home": (lambda p: "~nobody-of-that-name/x", {}, "starts with ~ but there is no such home folder"),
    "other suffix": (lambda p: raw(p, "a.txt", b"1,2"), {}, "is not a kind of file that curvae reads"),
    "no suffix": (
        lambda p: raw(p, "train-images-idx3-ubyte", idx_file(3, 4)),
        {},
        "expected mnist, fashion-mnist, avatars, sprites, tilted-sprites, orl, a .npy",
    ),
    "a single image": (lambda p: pictures(p / "d", (4, 4)) / "p0.png", {}, "is not a kind of file that curvae reads"),
    "special file": (lambda p: "/dev/null", {}, "is not a kind of file that curvae reads"),
    "empty folder": (lambda p: folder(p / "d"), {}, "holds no images"),
    "folder of text": (lambda p: folder(p / "d", readme_dot_txt=b"hello"), {}, "holds no images"),
    "folder of arrays": (
        lambda p: npy(folder(p / "d"), np.ones((3, 2))).parent,
        {},
        "give an .npy or .npz file by its own",
    ),
    # arguments
    "size zero": (
        lambda p: npy(p, np.ones((3, 2))),
        {"size": 0},
        "size is 0; expected a whole number of pixels from 1",
    ),
    "size negative": (lambda p: npy(p, np.ones((3, 2))), {"size": -8}, "size is -8"),
    "size huge": (lambda p: pictures(p / "d", (4, 4), (4, 4)), {"size": 10**9}, "size is 1000000000"),
    "size of vectors": (lambda p: npy(p, np.ones((3, 2))), {"size": 8}, "size is for images but 'a' holds float32"),
    "fraction": (lambda p: npy(p, np.ones((3, 2))), {"test_fraction": 1.0}, "test_fraction is 1.0; expected a number"),
    "seed": (lambda p: npy(p, np.ones((3, 2))), {"split_seed": -1}, "split_seed is -1; expected a whole number"),
    # IDX
    "idx empty": (lambda p: idx_folder(p / "d", b""), {}, "is truncated: 0 bytes, no whole IDX header"),
    "idx half a header": (lambda p: idx_folder(p / "d", idx_file(3, 4)[:9]), {}, "is truncated: 9 bytes"),
    "idx truncated": (lambda p: idx_folder(p / "d", idx_file(3, 4)[:-1]), {}, "says 3 images of 4x4 but is truncated"),
    "idx too long": (
        lambda p: idx_folder(p / "d", idx_file(3, 4) + b"x"),
        {},
        "says 3 images of 4x4 but goes on after",
    ),
    "idx labels": (
        lambda p: idx_folder(p / "d", idx_file(9, 9, magic=2049)),
        {},
        "starts with the number 2049; expected 2051",
    ),
    "idx not idx": (
        lambda p: idx_folder(p / "d", b"<!DOCTYPE html> no such page"),
        {},
        "expected 2051, the mark of IDX",
    ),
    "idx none": (
        lambda p: idx_folder(p / "d", idx_file(0, 4)),
        {},
        "says 0 images of 4x4; expected at least one pixel",
    ),
    "idx one": (lambda p: idx_folder(p / "d", idx_file(1, 4)), {}, "holds 1 sample(s); expected at least 2"),
    "idx count": (
        lambda p: idx_folder(p / "d", idx_file(5, 4, pixels=48)),
        {},
        "says 5 images of 4x4 but is truncated",
    ),
    "idx test truncated": (
        lambda p: idx_folder(p / "d", idx_file(3, 4), idx_file(2, 4)[:-3]),
        {},
        "t10k-images-idx3-ubyte' says 2 images of 4x4 but is truncated",
    ),
    "idx two sizes": (
        lambda p: idx_folder(p / "d", idx_file(3, 4), idx_file(3, 5)),
        {},
        "has 4x4 training but 5x5 test images; expected one size",
    ),
    "idx no training": (lambda p: idx_folder(p / "d", None, idx_file(3, 4)), {}, "has no train-images-idx3-ubyte[.gz]"),
    "idx of all memory": (
        lambda p: idx_folder(p / "d", gzip.compress(idx_file(2**32 - 1, 2**20, pixels=10**7)), suffix=".gz"),
        {},
        "says 4294967295 images of 1048576x1048576 but is truncated",
    ),
    "idx pipe": (
        lambda p: pipe(idx_folder(p / "d") / "Train-Images-idx3-ubyte").parent,
        {},
        "Train-Images-idx3-ubyte is a pipe; expected a regular file",
    ),
    "idx dangling test": (
        lambda p: link(idx_folder(p / "d", idx_file(3, 4)) / "t10k-images-idx3-ubyte", "/nowhere").parent,
        {},
        "t10k-images-idx3-ubyte' cannot be read (No such file",
    ),
    "gz truncated": (lambda p: idx_folder(p / "d", GZ[:-9], suffix=".gz"), {}, "cannot be read (Compressed file ended"),
    "gz checksum": (
        lambda p: idx_folder(p / "d", GZ[:-8] + b"\0\0\0\0" + GZ[-4:], suffix=".gz"),
        {},
        "cannot be read (CRC check failed",
    ),
    "gz damaged": (lambda p: idx_folder(p / "d", GZ[:10] + b"\xff" * 20, suffix=".gz"), {}, "cannot be read (Error -3"),
    # NumPy
    "npy nan": (lambda p: npy(p, with_nan(np.nan)), {}, "sample 2 holds NaN; fill it in, or train with masked: before"),
    "npy inf": (lambda p: npy(p, with_nan(-np.inf)), {}, "sample 2 holds infinity"),
    "npy beyond float32": (lambda p: npy(p, with_nan(1e300)), {}, "a value beyond float32; expected finite numbers"),
    "npy scalar": (lambda p: npy(p, np.float64(3)), {}, "holds an array of shape (); expected [N, ...]"),
    "npy one axis": (lambda p: npy(p, np.ones(7)), {}, "holds an array of shape (7,); expected [N, ...]"),
    "npy no samples": (lambda p: npy(p, np.ones((0, 3))), {}, "holds an array of shape (0, 3); expected at least one"),
    "npy empty samples": (
        lambda p: npy(p, np.ones((3, 0))),
        {},
        "holds an array of shape (3, 0); expected at least one",
    ),
    "npy one sample": (lambda p: npy(p, np.ones((1, 3))), {}, "holds 1 sample(s); expected at least 2"),
    "npy complex": (lambda p: npy(p, np.ones((3, 2), complex)), {}, "holds complex128 values; expected real numbers"),
    "npy text": (lambda p: npy(p, np.array([["a", "b"]] * 3)), {}, "holds <U1 values; expected real numbers"),
    "npy dates": (lambda p: npy(p, np.zeros((3, 2), "M8[D]")), {}, "values; expected real numbers"),
    "npy records": (lambda p: npy(p, np.zeros((3, 2), "i4,f4")), {}, "values; expected real numbers"),
    "npy objects": (
        lambda p: npy(p, np.array([[Touch()]] * 3, dtype=object), allow_pickle=True),
        {},
        "holds pickled Python objects, which are never loaded",
    ),
    "npy pickle": (lambda p: raw(p, "a.npy", pickle.dumps(Touch())), {}, "holds pickled Python objects"),
    "npy rubbish": (
        lambda p: raw(p, "a.npy", b"<!DOCTYPE html> no such page"),
        {},
        "a.npy' is not a NumPy file: it begins with b'<!DOCTYP'; expected one that numpy.save",
    ),
    "npy zeros": (lambda p: raw(p, "a.npy", bytes(999)), {}, "is not a NumPy file: it begins with b'\\x00"),
    "npy gzipped": (
        lambda p: raw(p, "a.npy", gzip.compress(b"x")),
        {},
        "is not a NumPy file: it is gzipped; unpack it",
    ),
    "npy two arrays": (
        lambda p: raw(p, "b.npy", npy(p, np.ones((9, 3))).read_bytes() * 2),
        {},
        "b.npy' has more data after its first array; expected one array in a file",
    ),
    "npy of 5000 digits": (
        lambda p: raw(
            p, "a.npy", npy_header("{'descr': '<f4', 'fortran_order': False, 'shape': (" + "9" * 5000 + ", 2)}")
        ),
        {},
        "cannot be read as a NumPy file",
    ),
    "npy nested": (
        lambda p: raw(p, "a.npy", npy_header("(" * 9000)),
        {},
        "cannot be read as a NumPy file",
    ),
    "npy pipe": (lambda p: pipe(p / "a.npy"), {}, "a.npy is a pipe; expected a regular file"),
    "npy device": (lambda p: link(p / "a.npy", "/dev/zero"), {}, "a.npy is a device; expected a regular file"),
    "npz pipe": (lambda p: f"{pipe(p / 'a.npz')}:images", {}, "a.npz is a pipe; expected a regular file"),
    "npz no such key": (
        lambda p: f"{npz(p, images=np.ones((3, 2)), labels=np.ones(3))}:image",
        {},
        "a.npz' has no array 'image'; it holds 'images', 'labels'",
    ),
    "npz empty key": (lambda p: f"{npz(p, images=np.ones((3, 2)))}:", {}, "has no array ''; it holds 'images'"),
    "npz key of no file": (lambda p: p / "none.npz:images", {}, "none.npz:images' does not exist"),
    "npy key": (lambda p: f"{npy(p, np.ones((3, 2)))}:images", {}, "does not exist"),
    "npz unknown version": (
        lambda p: zip_with(p, npz(p, a=np.ones((4, 3))), version=99),
        {},
        "cannot be read as a NumPy file (zip file version 9.9",
    ),
    "npz names that are no text": (
        lambda p: zip_with(p, npz(p, a=np.ones((4, 3))), name=b"\xff.npy"),
        {},
        "cannot be read as a NumPy file ('utf-8' codec can't decode",
    ),
    "npz objects": (
        lambda p: npz(p, train=np.array([[Touch()]] * 3, dtype=object), test=np.ones((1, 2))),
        {},
        "holds pickled Python objects",
    ),
    "npy empty file": (lambda p: raw(p, "a.npy", b""), {}, "cannot be read as a NumPy file (No data left in file)"),
    "npy truncated": (
        lambda p: raw(p, "b.npy", npy(p, np.ones((9, 3))).read_bytes()[:-1]),
        {},
        "cannot be read as a NumPy file (mmap length is greater than file size)",
    ),
    "npy header": (
        lambda p: raw(p, "a.npy", b"\x93NUMPY\1\0\x10\0{'descr': 1, ..."),
        {},
        "cannot be read as a NumPy file",
    ),
    "npy unreadable": (without_permission, {}, "cannot be read as a NumPy file (Permission denied)"),
    "npz truncated": (
        lambda p: raw(p, "b.npz", npz(p, a=np.ones((9, 3))).read_bytes()[:-40]),
        {},
        "cannot be read as a NumPy file (File is not a zip file)",
    ),
    "npz checksum": (bad_member, {}, "cannot be read as a NumPy file (Bad CRC-32 for file 'train.npy')"),
    "npz no arrays": (lambda p: npz(p), {}, "holds no arrays; expected 'train' and 'test'"),
    "npz of text": (zipped_text, {}, "holds files that are not arrays"),
    "npz many arrays": (
        lambda p: npz(p, images=np.ones((3, 2)), masks=np.ones(3), labels=np.ones(3)),
        {},
        "holds 'images', 'masks', 'labels'; expected 'train' and 'test', 'x_train' and 'x_test', or one array; give "
        "one by its name, as in a.npz:images",
    ),
    "npz only training": (
        lambda p: npz(p, x_train=np.ones((3, 2)), y_train=np.ones(3)),
        {},
        "holds 'x_train', 'y_train'; expected",
    ),
    "npz shapes": (
        lambda p: npz(p, train=np.ones((4, 2)), test=np.ones((4, 3))),
        {},
        "train is float32 of shape (4, 2) but test is float32 of shape (4, 3)",
    ),
    "npz types": (
        lambda p: npz(p, train=np.ones((4, 2), np.uint8), test=np.ones((4, 2))),
        {},
        "train is uint8 of shape (4, 2) but test is float32",
    ),
    "npz nan in test": (lambda p: npz(p, train=np.ones((5, 3)), test=with_nan(np.nan)), {}, "sample 2 holds NaN"),
    # images
    "images told to resize": (
        lambda p: pictures(p / "d", (4, 6), (7, 9)),
        {},
        "save all in one size, or give one to train or inspect with (--size, of a figure --set size=…)",
    ),
    "one image": (lambda p: pictures(p / "d", (4, 6)), {}, "holds 1 sample(s); expected at least 2"),
    "png truncated": (lambda p: damaged(p / "d", 300, "png"), {}, "1 of 3 images fail; the first: "),
    "jpg truncated": (
        lambda p: damaged(p / "d", 700, "jpg"),
        {},
        "p1.jpg' cannot be read as an image (image file is trunc",
    ),
    "image empty": (
        lambda p: damaged(p / "d", 0, "bmp"),
        {},
        "p1.bmp' cannot be read as an image (of an unknown format",
    ),
    "image of floats": (
        lambda p: pictures(p / "d", (4, 4), (4, 4), mode="F", suffix="tif"),
        {},
        "floating-point pixels; save it with 8 or 16 bits",
    ),
    "empty test folder": (
        lambda p: folder(pictures(p / "d", (4, 4)) / "train") and folder(p / "d" / "test").parent,
        {},
        "train' holds no images",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_bad_input_gets_one_clear_line_and_changes_nothing(
    tmp_path: Path, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, options, message = CASES[case]
    monkeypatch.chdir(tmp_path)
    source = make(tmp_path)
    if case == "npy unreadable" and os.access(source, os.R_OK):
        pytest.skip("this user may read everything")
    before = {path: path.lstat().st_mtime_ns for path in sorted(tmp_path.rglob("*"))}
    with pytest.raises(InputError) as caught:
        load(source, **options)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert {path: path.lstat().st_mtime_ns for path in sorted(tmp_path.rglob("*"))} == before


@pytest.mark.parametrize("kind", ["npy", "npz", "idx", "images", "idx.gz"])
def test_more_than_the_machine_has_is_refused_before_it_is_read(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources: dict[str, Make] = {
        "npy": lambda p: npy(p, np.ones((100, 30))),
        "npz": lambda p: npz(p, train=np.ones((100, 30)), test=np.ones((9, 30))),
        "idx": lambda p: idx_folder(p / "d", idx_file(100, 8)),
        "idx.gz": lambda p: idx_folder(p / "d", gzip.compress(idx_file(100, 8)), suffix=".gz"),
        "images": lambda p: pictures(p / "d", *[(20, 20)] * 9),
    }
    source = sources[kind](tmp_path)
    monkeypatch.setattr(memory, "total", lambda: 3000.0)
    with pytest.raises(InputError, match="GB of memory, more than this machine has"):
        load(source)
