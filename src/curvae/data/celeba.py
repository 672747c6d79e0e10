"""CelebA as its users have it: the aligned images, unpacked or still in their zip, and the list of its three parts."""

from __future__ import annotations

import codecs
import sys
import zipfile
from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from curvae._typing import UInt8
from curvae.data import cache as caches
from curvae.data.images import mark, part
from curvae.data.raster import open_image
from curvae.data.reasons import reason
from curvae.data.resize import to_array
from curvae.data.split import STANDARD, Halves
from curvae.data.stacking import stack
from curvae.errors import InputError
from curvae.files import open_regular

SIDE = 64
LISTS = ("list_eval_partition.txt", "list_eval_partition.csv")
_FOLDER = "img_align_celeba"
_ALIGNED = (178, 218)
# the middle 140 × 140
_BOX = (19, 39, 159, 179)
_TRAIN, _VALIDATION, _TEST = 0, 1, 2
# bytes of an unpacked file in a zip: images have 10 kB, the list has 4 MB, and a few kB can unpack to all of the memory
_LARGEST = 1 << 26


class Unpacked:
    """A folder of images."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __str__(self) -> str:
        return str(self.folder)

    def names(self) -> set[str]:
        """File names of all images."""
        return {path.name for path in self.folder.glob("*.jpg")}

    def source(self, name: str) -> Path:
        """Where one image is."""
        return self.folder / name

    def mark(self, name: str) -> tuple[int, int]:
        """Size and time of the last change."""
        return mark(self.folder / name)


class Zipped:
    """The zip as it is downloaded; nothing is unpacked to disk. Some have the list of parts in them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.archive = zipfile.ZipFile(path)
        except Exception as error:  # of versions to come, with names that are not text, …
            raise InputError(f"{str(path)!r} cannot be read as a zip ({reason(error)}); get it again") from error
        inside = {Path(info.filename): info for info in self.archive.infolist()}
        self.entries = {
            path.name: info for path, info in inside.items() if path.parent.name == _FOLDER and path.suffix == ".jpg"
        }
        if not self.entries:
            raise InputError(
                f"{str(path)!r} holds no {_FOLDER}/*.jpg; expected CelebA's {_FOLDER}.zip (unpack any other zip)"
            )
        own = (info for path, info in inside.items() if path.name in LISTS and "__MACOSX" not in path.parts)
        self.list = next(own, None)

    def __str__(self) -> str:
        return str(self.path)

    def names(self) -> set[str]:
        """File names of all images."""
        return set(self.entries)

    def source(self, name: str) -> bytes:
        """The content of one image."""
        return self.read(self.entries[name])

    def read(self, entry: zipfile.ZipInfo) -> bytes:
        """The content of one file.

        Raises:
            Exception: almost any, of damaged files and of any that is far too big.
        """
        if entry.file_size > _LARGEST:
            raise ValueError(f"{entry.file_size} bytes unpacked; expected at most {_LARGEST}")
        return self.archive.read(entry)

    def mark(self, name: str) -> tuple[int, int]:
        """Size and checksum, as the zip says."""
        return self.entries[name].file_size, self.entries[name].CRC


Images = Unpacked | Zipped


def find(path: Path) -> Path | None:
    """The folder or zip of CelebA's images that ``path`` means; None if it means none.

    Args:
        path: the folder ``img_align_celeba`` or ``img_align_celeba.zip`` itself, or a folder that has either in it or
            in its subfolder ``Img``; any other folder with ``000001.jpg`` and the list of parts in it; any other zip.

    Raises:
        InputError: a folder with the list of parts and no images.
    """
    path = path.absolute()  # the name and the neighbours of "." count, too
    if path.is_file():
        return path if path.suffix.lower() == ".zip" else None
    if path.name != _FOLDER:
        if any((path / name).is_file() for name in LISTS) and (path / "000001.jpg").is_file():
            return path
        places = [base / name for base in (path, path / "Img") for name in (_FOLDER, f"{_FOLDER}.zip")]
        found = next((place for place in places if place.exists()), None)
        if found is None and any((base / name).is_file() for base in (path, path / "Eval") for name in LISTS):
            raise InputError(
                f"{str(path)!r} has {LISTS[0]} but neither {_FOLDER} nor {_FOLDER}.zip; give the folder that has both"
            )
        if found is None or found.is_file():
            return found
        path = found
    return path / _FOLDER if (path / _FOLDER).is_dir() else path  # some unpackers make a folder of its own


def load(place: Path, size: int | None = None, cache: Path | None = None, damaged: str = "stop") -> Halves:
    """CelebA's standard training and test parts, cropped.

    The crop is the middle 140 × 140 of the 178 × 218 pixels, brought to 64 × 64: the crop of Tolstikhin et al.,
    "Wasserstein Auto-Encoders" (2018), whose code calls it ``closecrop``. (Resized by bicubic interpolation with
    antialiasing, as everything here is; theirs is Lanczos. The paper says "cropped" and no more.)

    Args:
        place: what :func:`find` found. ``list_eval_partition.txt`` (or the same as ``.csv``) must be inside or beside
            it (in a zip, too), or in ``Eval`` beside its folder, as in the official layout.
        size: side in pixels of the result; None means 64.
        cache: folder for the decoded pixels; None means ``cache.default()``.
        damaged: ``"stop"`` or ``"skip"``, see ``stacking.stack``.

    Returns:
        ``[N, 3, size, size]`` halves: the parts 0 (training) and 2 (test). The record of the split says how many
        images of part 1 (validation) were not read, and how many are in no part, as after a list that was cut short.

    Raises:
        InputError: no list of parts, a list that cannot be read, images that are missing, damaged or not the aligned
            ones.
    """
    images = Zipped(place) if place.is_file() else Unpacked(place)
    parts = _parts(place, images)
    train, test = (sorted(name for name, number in parts.items() if number == half) for half in (_TRAIN, _TEST))
    every = [*train, *test]
    _complete(every, images)
    side = size or SIDE
    record = {**STANDARD, "validation": Counter(parts.values())[_VALIDATION]}
    unlisted = sum(not name.startswith(".") for name in images.names() - parts.keys())  # "._1.jpg" are a Mac's notes
    if unlisted:
        record["unlisted"] = unlisted

    def make() -> Halves:
        if unlisted:
            print(
                f"left out: {unlisted} images of {str(images)!r} that the list of parts does not name", file=sys.stderr
            )
        stacked = stack(every, partial(decode, images=images, size=side), "reading CelebA", damaged)
        return part(stacked, every, len(train), record, repr(str(images)))

    marks = [[(name, *images.mark(name)) for name in half] for half in (train, test)]
    key = ["celeba", _BOX, side, damaged, record, marks]
    return caches.through(caches.place(cache or caches.default(), key), make)


def decode(name: str, images: Images, size: int = SIDE) -> UInt8[np.ndarray, "3 size size"]:
    """One image, cropped.

    Raises:
        InputError: it cannot be read, or is not 178 × 218.
    """
    try:
        image = open_image(images.source(name))
        if image.size != _ALIGNED:
            raise ValueError(f"{image.width}x{image.height} pixels; expected the aligned images, 178x218")
        cropped = image.convert("RGB").crop(_BOX)
        return to_array(cropped.resize((size, size), Image.Resampling.BICUBIC))
    except InputError:  # it is no file
        raise
    except Exception as error:  # on damaged files Pillow's and zlib's readers raise almost anything
        raise InputError(f"{name!r} in {str(images)!r} cannot be read as an image ({reason(error)})") from error


def locate_list(place: Path) -> Path:
    """The list of parts that goes with a folder or zip of images.

    Raises:
        InputError: there is none.
    """
    bases = [place, place.parent, place.parent.parent, place.parent / "Eval", place.parent.parent / "Eval"]
    found = next((base / name for base in bases for name in LISTS if (base / name).is_file()), None)
    if found is None:
        raise InputError(
            f"{str(place)!r} has no {LISTS[0]} beside it; get it from CelebA's folder Eval: it says which images are "
            "for training and which for testing"
        )
    return found


def read_list(path: Path) -> dict[str, int]:
    """The part of each image: 0 training, 1 validation, 2 test.

    The file has a name and a number a line, with a space or comma between them; a heading is passed over.

    Raises:
        InputError: unreadable, or a line of another kind.
    """
    try:
        with open_regular(path) as stream:
            return _read_lines(stream.read(), str(path))
    except OSError as error:
        raise InputError(f"{str(path)!r} cannot be read ({reason(error)}); get it again") from error


def _parts(place: Path, images: Images) -> dict[str, int]:
    if not isinstance(images, Zipped) or images.list is None:
        return read_list(locate_list(place))
    name = str(place / images.list.filename)
    try:
        content = images.read(images.list)
    except Exception as error:  # as for images
        raise InputError(f"{name!r} cannot be read ({reason(error)}); get the zip again") from error
    return _read_lines(content, name)


def _read_lines(content: bytes, what: str) -> dict[str, int]:
    parts: dict[str, int] = {}
    for number, line in enumerate(_text(content).splitlines(), 1):
        fields = line.replace(",", " ").split()
        if not fields or fields == ["image_id", "partition"]:
            continue
        if len(fields) != 2 or fields[1] not in ("0", "1", "2") or fields[0] in parts:
            raise InputError(
                f"{what!r}, line {number} is {line[:60]!r}; expected a new file name and 0, 1 or 2; get it again"
            )
        parts[fields[0]] = int(fields[1])
    missing = [half for half, at in (("training", _TRAIN), ("test", _TEST)) if at not in parts.values()]
    if missing:
        raise InputError(f"{what!r} names no {missing[0]} image; get it again")
    return parts


def _text(content: bytes) -> str:
    """As editors save it: UTF-8 with or without a byte-order mark, UTF-16 with one, or one byte for each character."""
    try:
        return content.decode(
            "utf-16" if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
        )
    except UnicodeDecodeError:
        return content.decode("latin-1")


def _complete(every: list[str], images: Images) -> None:
    there = images.names()
    lost = [name for name in every if name not in there]
    if len(lost) == len(every):
        raise InputError(
            f"{str(images)!r} holds none of the {len(every)} images that the list of parts names, such as "
            f"{every[0]!r}; expected CelebA's {_FOLDER} folder or zip"
        )
    if lost:
        raise InputError(
            f"{str(images)!r} lacks {len(lost)} of the {len(every)} images that the list of parts names, the first "
            f"{lost[0]!r}; unpack or get it again"
        )
