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
from curvae.data.pixels import WHITE
from curvae.data.raster import DEEP, open_image
from curvae.data.reasons import reason
from curvae.data.resize import fit, to_array
from curvae.data.split import Halves, Split
from curvae.errors import InputError

# of images with 8, 10, 12, 14 and 16 bits, all stored in 16
_WHITES = (WHITE, 1023, 4095, 16_383, 65_535)
_DEEPEST = _WHITES[-1]


def load_folder(
    folder: Path,
    split: Split,
    size: int | None = None,
    cache: Path | None = None,
    damaged: str = "stop",
    white: int | None = None,
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
        white: the stored value that becomes 255, in grey images of 16 bits or, if it is 1, in masks; None asks the
            whole set, both halves together.

    Returns:
        ``[N, C, H, W]`` halves; C is 1 if every file is stored in grey, else 3. The record of the split counts and
        names the images that were left out, if any, and has ``"white"`` for masks and where some have 16 bits.

    Raises:
        InputError: no images, images that cannot be read (named and counted), or different sizes and no ``size``.
    """
    train, test, record = listing(folder, split)

    def make() -> Halves:
        every, found = _stacked([*train, *test], size, white, f"reading {folder.name}", damaged)
        names = [path.relative_to(folder).as_posix() for path in (*train, *test)]
        return part(every, names, len(train), record | found, repr(str(folder)))

    if cache is None and len(train) + len(test) < stacking.BIG:
        return make()
    marks = [[(path.relative_to(folder).as_posix(), *mark(path)) for path in half] for half in (train, test)]
    key = ["images with places", size, damaged, white, record, marks]
    return caches.through(caches.place(cache or caches.default(), key), make)


def part(every: stacking.Stack, names: Sequence[str], train: int, record: dict[str, Any], what: str) -> Halves:
    """Part a stack into halves, the first ``train`` of the names for training, and record which images it lacks.

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
        test = record["test_indices"]
        places = [*sorted(set(range(len(names))).difference(test)), *test]
        lost = {places[i] for i in gone}
        record["damaged"]["indices"] = sorted(lost)
        record = {**record, "test_indices": [at for at in test if at not in lost]}
    return Halves(every.pixels[:first], every.pixels[first:], record)


def mark(path: Path) -> tuple[int, int]:
    """Size and time of the last change; -1 for both of what cannot be seen."""
    try:
        state = path.stat()
    except OSError:
        return -1, -1
    return state.st_size, state.st_mtime_ns


def decode(
    path: Path, size: int | None = None, white: int = _DEEPEST, peaks: list[tuple[int, int]] | None = None
) -> UInt8[np.ndarray, "C H W"]:
    """Read one image, upright, in grey if it is stored so and else in RGB, transparency laid over white.

    Args:
        path: of the file; of several frames the first is taken.
        size: see ``load_folder``.
        white: see ``load_folder``.
        peaks: gets the number of bits, 8 or 16, and the image's largest value.

    Raises:
        InputError: it cannot be read.
    """
    try:
        image = _plain(open_image(path), white, peaks)
        return to_array(image if size is None else fit(image, size))
    except InputError:  # it is no file
        raise
    except Exception as error:  # on damaged files Pillow's readers raise almost anything
        why = "of an unknown format" if isinstance(error, UnidentifiedImageError) else reason(error)
        raise InputError(f"{str(path)!r} cannot be read as an image ({why})") from error


def _stacked(
    files: Sequence[Path], size: int | None, white: int | None, title: str, damaged: str
) -> tuple[stacking.Stack, dict[str, int]]:
    """All images, and what means white in them if it is not 255.

    Masks are stored as 0 and 1, and instruments write 10, 12 or 14 bits into files of 16. Which is asked of the set and
    never of one image, which may be dark; a set that is found to be so is read again.
    """
    peaks: list[tuple[int, int]] = []
    taken = _DEEPEST if white is None else white
    every = stacking.stack(files, partial(decode, size=size, white=taken, peaks=peaks), title, damaged)
    fitting = _fitting(peaks) if white is None else taken
    record = {} if fitting == WHITE and not any(bits == 16 for bits, _ in peaks) else {"white": fitting}
    if fitting == taken or not record:
        return every, record
    missing = every.missing  # told already
    del every  # so that the set is not in memory twice
    gone = set(missing)
    whole = [path for position, path in enumerate(files) if position not in gone]
    again = stacking.stack(whole, partial(decode, size=size, white=fitting), title)
    return stacking.Stack(again.pixels, missing), record


def _fitting(peaks: Sequence[tuple[int, int]]) -> int:
    """What means white in a set, from the bits and the largest value of each image."""
    if max(peak for _, peak in peaks) == 1:
        return 1
    deep = [peak for bits, peak in peaks if bits == 16]
    return next(one for one in _WHITES if max(deep) <= one) if deep else WHITE


def _plain(image: Image.Image, white: int, peaks: list[tuple[int, int]] | None) -> Image.Image:
    grey = image.mode in ("1", "L", "LA") or image.mode.startswith("I")
    if image.mode == "F":
        raise ValueError("floating-point pixels; save it with 8 or 16 bits")
    if image.mode.startswith("I"):
        # 16 bits; Pillow's own conversion to 8 would clip them instead of scaling
        deep = np.asarray(image).astype(np.int64)
        if deep.min() < 0 or deep.max() > _DEEPEST:
            raise ValueError("pixels beyond 16 bits")
        _seen(16, int(deep.max()), white, peaks)
        return Image.fromarray(((2 * WHITE * deep + white) // (2 * white)).astype(np.uint8))
    if image.info.get(DEEP):
        upper = int(np.asarray(image.convert("RGB")).max())
        _seen(16, upper << 8 | 255, white, peaks)
        if white < _DEEPEST:
            raise ValueError("16 bits a channel, of which so few are used that 8 would lose them; save it with 8 bits")
    if "A" in image.getbands() or "transparency" in image.info:
        paper = Image.new("RGBA", image.size, "white")
        paper.alpha_composite(image.convert("RGBA"))
        image = paper
    image = image.convert("L" if grey else "RGB")
    pixels = np.asarray(image)
    if not image.info.get(DEEP):
        _seen(8, int(pixels.max()), 1 if white == 1 else WHITE, peaks)
    return Image.fromarray(pixels * WHITE) if white == 1 else image


def _seen(bits: int, peak: int, white: int, peaks: list[tuple[int, int]] | None) -> None:
    if peak > white:
        raise ValueError(f"a pixel of {peak}, above {white}, which means white in these data")
    if peaks is not None:
        peaks.append((bits, peak))
