"""Folders of image files of any size and colour."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from curvae._typing import UInt8
from curvae.data import cache as caches
from curvae.data import stacking
from curvae.data.folders import listing
from curvae.data.raster import open_image
from curvae.data.reasons import reason
from curvae.data.resize import fit, to_array
from curvae.data.split import Halves, Split
from curvae.errors import InputError


def load_folder(
    folder: Path, split: Split, size: int | None = None, cache: Path | None = None, damaged: str = "stop"
) -> Halves:
    """Every image under ``folder``, in the order of their paths.

    Args:
        folder: searched recursively, see ``folders.listing``. If it has folders called ``train`` and ``test`` (or
            ``val``), they are the standard split and nothing else is read.
        split: used where it has not.
        size: side in pixels of the square that each image is brought to (see ``resize.fit``); None keeps the images
            as they are, which then must be of one size.
        cache: folder for the decoded pixels, which are read from there next time unless a file has changed; None
            means ``cache.default()`` for folders big enough to make one wait, and no cache for others.
        damaged: ``"stop"`` or ``"skip"``, see ``stacking.stack``.

    Returns:
        ``[N, C, H, W]`` halves; C is 1 if every file is stored in grey, else 3. The record of the split counts and
        names the images that were left out, if any.

    Raises:
        InputError: no images, images that cannot be read (named and counted), or different sizes and no ``size``.
    """
    train, test, record = listing(folder, split)

    def make() -> Halves:
        every = stacking.stack([*train, *test], partial(decode, size=size), f"reading {folder.name}", damaged)
        names = [path.relative_to(folder).as_posix() for path in (*train, *test)]
        return part(every, names, len(train), record, repr(str(folder)))

    if cache is None and len(train) + len(test) < stacking.BIG:
        return make()
    marks = [[(path.relative_to(folder).as_posix(), *mark(path)) for path in half] for half in (train, test)]
    return caches.through(caches.place(cache or caches.default(), ["images", size, damaged, record, marks]), make)


def part(every: stacking.Stack, names: Sequence[str], train: int, record: dict[str, Any], what: str) -> Halves:
    """Part a stack into halves and put into the record which images it lacks.

    Args:
        every: training images, then test images.
        names: of all of them, those that are missing included.
        train: how many of the names are for training.
        record: of the split.
        what: the source's name, for the error.

    Raises:
        InputError: one half has no image left.
    """
    gone = set(every.missing)
    first = train - sum(position < train for position in gone)
    if first == 0 or first == len(every.pixels):
        raise InputError(
            f"{what} has no whole image for {'training' if first == 0 else 'testing'}; get its files again"
        )
    if gone:
        record = {**record, "damaged": {"count": len(gone), "names": [names[i] for i in every.missing]}}
    if gone and "test_indices" in record:
        kept = [at for i, at in enumerate(record["test_indices"]) if train + i not in gone]
        record = {**record, "test_indices": kept}
    return Halves(every.pixels[:first], every.pixels[first:], record)


def mark(path: Path) -> tuple[int, int]:
    """Size and time of the last change; -1 for both of what cannot be seen."""
    try:
        state = path.stat()
    except OSError:
        return -1, -1
    return state.st_size, state.st_mtime_ns


def decode(path: Path, size: int | None = None) -> UInt8[np.ndarray, "C H W"]:
    """Read one image, upright, in grey if it is stored so and else in RGB, transparency laid over white.

    Args:
        path: of the file; of several frames the first is taken.
        size: see ``load_folder``.

    Raises:
        InputError: it cannot be read.
    """
    try:
        image = _plain(open_image(path))
        return to_array(image if size is None else fit(image, size))
    except InputError:  # it is no file
        raise
    except Exception as error:  # on damaged files Pillow's readers raise almost anything
        why = "of an unknown format" if isinstance(error, UnidentifiedImageError) else reason(error)
        raise InputError(f"{str(path)!r} cannot be read as an image ({why})") from error


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
