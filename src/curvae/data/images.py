"""Folders of image files of any size and colour."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from rich.console import Console
from rich.progress import track

from curvae._typing import UInt8
from curvae.data import cache as caches
from curvae.data.reasons import reason
from curvae.data.resize import fit, to_array
from curvae.data.split import STANDARD, Halves, Split
from curvae.errors import InputError

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp")

# folders beyond this many files show their progress
_BIG = 2000
# files handed to the threads at a time: bounds what waits in memory
_SHARE = 256


def load_folder(folder: Path, split: Split, size: int | None = None, cache: Path | None = None) -> Halves:
    """Every image under ``folder``, in the order of their paths.

    Args:
        folder: searched recursively; hidden files and folders, and files that are no images by suffix, are passed
            over. If it has the subfolders ``train`` and ``test``, they are the standard split and nothing else is read.
        split: used where it has not.
        size: side in pixels of the square that each image is brought to (see ``resize.fit``); None keeps the images
            as they are, which then must be of one size.
        cache: folder for the decoded pixels, which are read from there next time unless a file has changed.

    Returns:
        ``[N, C, H, W]`` halves; C is 1 if every file is stored in grey, else 3.

    Raises:
        InputError: no images, images that cannot be read (named and counted), or different sizes and no ``size``.
    """
    train, test, record = _part(folder, split)
    if cache is None:
        return _read(folder, train, test, record, size)
    place = caches.place(cache, folder, train, test, size)
    kept = caches.read(place)
    if kept is None:
        caches.prepare(cache)  # before the work, not after
        decoded = _read(folder, train, test, record, size)
        caches.write(place, decoded.train, decoded.test)
        kept = decoded.train, decoded.test
    return Halves(*kept, record)


def listing(folder: Path) -> list[Path]:
    """Image files under ``folder``, sorted by their path relative to it.

    Raises:
        InputError: there are none.
    """
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES}
    # names with a dot in front are thumbnails and other systems' notes
    shown = [relative for relative in sorted(found) if not any(part.startswith(".") for part in relative.split("/"))]
    files = [found[relative] for relative in shown if found[relative].is_file()]
    if not files:
        hint = "; give an .npy or .npz file by its own path" if any(folder.glob("*.np[yz]")) else ""
        raise InputError(f"{str(folder)!r} holds no images; expected png, jpg, … or train-images-idx3-ubyte[.gz]{hint}")
    return files


def decode(path: Path, size: int | None = None) -> UInt8[np.ndarray, "C H W"]:
    """Read one image, upright, in grey if it is stored so and else in RGB, transparency laid over white.

    Args:
        path: of the file; of several frames the first is taken.
        size: see ``load_folder``.

    Raises:
        InputError: it cannot be read.
    """
    try:
        with Image.open(path) as opened:
            image = _plain(ImageOps.exif_transpose(opened))
            return to_array(image if size is None else fit(image, size))
    except Exception as error:  # on damaged files Pillow's readers raise almost anything
        why = "of an unknown format" if isinstance(error, UnidentifiedImageError) else reason(error)
        raise InputError(f"{str(path)!r} cannot be read as an image ({why})") from error


def _part(folder: Path, split: Split) -> tuple[list[Path], list[Path], dict[str, Any]]:
    if (folder / "train").is_dir() and (folder / "test").is_dir():
        return listing(folder / "train"), listing(folder / "test"), STANDARD
    files = listing(folder)
    train, test = split.indices(len(files), repr(str(folder)))
    return [files[i] for i in train.tolist()], [files[i] for i in test.tolist()], split.record(test)


def _read(folder: Path, train: list[Path], test: list[Path], record: dict[str, Any], size: int | None) -> Halves:
    pixels = _stack([*train, *test], size, f"reading {folder.name}")
    return Halves(pixels[: len(train)], pixels[len(train) :], record)


def _stack(files: Sequence[Path], size: int | None, title: str) -> UInt8[np.ndarray, "N C H W"]:
    pixels = np.empty((0, 1, 0, 0), np.uint8)
    first: Path | None = None
    failures: list[InputError] = []
    shown = track(
        zip(files, _decode_all(files, size), strict=True),
        title,
        total=len(files),
        console=Console(stderr=True),
        transient=True,
        disable=len(files) < _BIG,
    )
    for position, (path, image) in enumerate(shown):
        if isinstance(image, InputError):
            failures.append(image)
            continue
        if first is None:
            first, pixels = path, np.empty((len(files), *image.shape), np.uint8)
        if image.shape[1:] != pixels.shape[2:]:
            raise InputError(
                f"images differ in size: {str(first)!r} is {_size(pixels)} and {str(path)!r} is {_size(image)}; "
                "give a size (--size) to bring all to"
            )
        if len(image) > pixels.shape[1]:
            pixels = np.repeat(pixels, len(image), axis=1)  # all were grey so far: at most once
        pixels[position] = image
    if failures:
        raise InputError(f"{len(failures)} of {len(files)} images fail; the first: {failures[0]}; replace or remove")
    return pixels


def _decode_all(files: Sequence[Path], size: int | None) -> Iterator[UInt8[np.ndarray, "C H W"] | InputError]:
    # threads, not processes: Pillow decodes and resizes without the interpreter lock
    with ThreadPoolExecutor(min(16, os.cpu_count() or 1)) as pool:
        for begin in range(0, len(files), _SHARE):
            yield from pool.map(partial(_attempt, size=size), files[begin : begin + _SHARE])


def _attempt(path: Path, size: int | None) -> UInt8[np.ndarray, "C H W"] | InputError:
    try:
        return decode(path, size)
    except InputError as error:
        return error


def _plain(image: Image.Image) -> Image.Image:
    grey = image.mode in ("1", "L", "LA") or image.mode.startswith("I")
    if image.mode == "F":
        raise ValueError("floating-point pixels; save it with 8 or 16 bits")
    if image.mode.startswith("I"):
        # 16 bits; Pillow's own conversion to 8 would clip them instead of scaling
        deep = np.asarray(image).astype(np.int64)
        if deep.min() < 0 or deep.max() > 0xFFFF:
            raise ValueError("pixels beyond 16 bits")
        return Image.fromarray(((deep + 128) // 257).astype(np.uint8))
    if "A" in image.getbands() or "transparency" in image.info:
        paper = Image.new("RGBA", image.size, "white")
        paper.alpha_composite(image.convert("RGBA"))
        image = paper
    return image.convert("L" if grey else "RGB")


def _size(image: UInt8[np.ndarray, "*any H W"]) -> str:
    return f"{image.shape[-1]}x{image.shape[-2]}"
