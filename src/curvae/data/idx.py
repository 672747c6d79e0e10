"""IDX files, the format of MNIST and its relatives (KMNIST, QMNIST, Fashion-MNIST …), plain or gzipped."""

from __future__ import annotations

import gzip
import hashlib
import math
import struct
import zlib
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np

from curvae._typing import UInt8
from curvae.data.reasons import check_size, reason
from curvae.data.split import STANDARD, Halves, Split
from curvae.errors import InputError
from curvae.files import open_regular

# unsigned bytes in three dimensions
_MAGIC = 0x00000803
_LABELS = 0x00000801
_HEADER = struct.Struct(">4I")
_CHUNK = 1 << 20
# bytes that one byte of deflate can become
_MOST_DEFLATED = 1032

# the second spelling is what some unpackers make of the first
_STEMS = {
    "train": ("train-images-idx3-ubyte", "train-images.idx3-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-images.idx3-ubyte"),
}


def find(folder: Path, half: Literal["train", "test"]) -> Path | None:
    """The image file of one half in ``folder`` under one of its standard names, plain or ``.gz``; None if missing.

    Capital letters do not matter. What has the name and is no file, such as a link that leads nowhere, is found, too:
    to take the half for missing would part the other one.
    """
    return _named(folder, _STEMS[half])


def _named(folder: Path, stems: tuple[str, ...]) -> Path | None:
    if not folder.is_dir():
        return None
    names = [stem + suffix for stem in stems for suffix in ("", ".gz")]
    there = {path.name.lower(): path for path in folder.iterdir() if path.name.lower() in names and not path.is_dir()}
    return next((there[name] for name in names if name in there), None)


def is_folder(path: Path) -> bool:
    """Whether a path is a folder with IDX files, and not one of images, should it have images, too."""
    return find(path, "train") is not None or find(path, "test") is not None


def read(path: Path) -> UInt8[np.ndarray, "N H W"]:
    """The pixels of one IDX file of images, plain or gzipped, which its content tells and not its name.

    Raises:
        InputError: unreadable, not IDX images, or a length that differs from what its header says.
    """
    name = repr(str(path))
    try:
        with open_regular(path) as raw:
            gzipped = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            most = path.stat().st_size * (_MOST_DEFLATED if gzipped else 1)
            with gzip.GzipFile(fileobj=raw) if gzipped else raw as stream:
                return _parse(stream, name, most)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{name} cannot be read ({reason(error)}); get the file again") from error


def labels(folder: Path) -> list[UInt8[np.ndarray, " N"]]:
    """The labels beside the images of an IDX folder, those of each half, training labels first.

    They have the standard names, plain or ``.gz``, whichever the images have. Nothing where they are not all there.

    Raises:
        InputError: a file of labels is none, or is damaged.
    """
    found = []
    halves: tuple[Literal["train", "test"], ...] = ("train", "test")
    for half in halves:
        if find(folder, half) is None:
            continue
        path = _named(folder, tuple(stem.replace("images", "labels").replace("idx3", "idx1") for stem in _STEMS[half]))
        if path is None:
            return []
        name = repr(str(path))
        try:
            with open_regular(path) as raw:
                content = raw.read()
            content = gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
        except (OSError, EOFError, zlib.error) as error:
            raise InputError(f"{name} cannot be read ({reason(error)}); get the file again") from error
        if len(content) < 8 or struct.unpack(">2I", content[:8]) != (_LABELS, len(content) - 8):
            raise InputError(f"{name} is no whole IDX file of labels; get the file again")
        found.append(np.frombuffer(content, np.uint8, offset=8))
    return found


def load_folder(folder: Path, split: Split) -> Halves:
    """The images ``[N, 1, H, W]`` of an IDX folder: the two standard files, or a seeded split of the one for training.

    Raises:
        InputError: no training images, an unreadable file, or halves of different image sizes.
    """
    train_path, test_path = find(folder, "train"), find(folder, "test")
    if train_path is None:
        raise InputError(f"{str(folder)!r} has no {_STEMS['train'][0]}[.gz]; expected it beside the t10k images")
    train = read(train_path)[:, None]
    if test_path is None:
        return split.apply(train, repr(str(train_path)))
    test = read(test_path)[:, None]
    if train.shape[1:] != test.shape[1:]:
        sizes = ["x".join(map(str, images.shape[2:])) for images in (train, test)]
        raise InputError(f"{str(folder)!r} has {sizes[0]} training but {sizes[1]} test images; expected one size")
    return Halves(train, test, STANDARD)


def idx_digest(images: UInt8[np.ndarray, "N H W"]) -> str:
    """Sha256 of the IDX file that holds ``images``: the digest published for a data set's unpacked files.

    Example:
        >>> file = bytes.fromhex("00000803 00000001 00000002 00000002 00010203")
        >>> idx_digest(np.array([[[0, 1], [2, 3]]], np.uint8)) == hashlib.sha256(file).hexdigest()
        True
    """
    whole = hashlib.sha256(_HEADER.pack(_MAGIC, *images.shape))
    whole.update(np.ascontiguousarray(images).data)
    return whole.hexdigest()


def _parse(stream: gzip.GzipFile | BinaryIO, name: str, most: int) -> UInt8[np.ndarray, "N H W"]:
    """The images of a stream that has at most ``most`` bytes."""
    header = stream.read(_HEADER.size)
    if len(header) < _HEADER.size:
        raise InputError(f"{name} is truncated: {len(header)} bytes, no whole IDX header; get the file again")
    magic, *shape = _HEADER.unpack(header)
    if magic != _MAGIC:
        raise InputError(f"{name} starts with the number {magic}; expected {_MAGIC}, the mark of IDX images")
    says = f"{name} says {shape[0]} images of {shape[1]}x{shape[2]}"
    expected = math.prod(shape)
    if expected == 0:
        raise InputError(f"{says}; expected at least one pixel")
    if expected > most:
        raise InputError(f"{says} but is truncated; get the file again")
    check_size(expected, f"{name} with its {shape[0]} images of {shape[1]}x{shape[2]}")
    # one byte more than expected, so that a file that is too long is noticed and a gzip checksum is verified
    pixels = _read_up_to(stream, expected + 1)
    if len(pixels) != expected:
        fault = "is truncated" if len(pixels) < expected else "goes on after them"
        raise InputError(f"{says} but {fault}; get the file again")
    return np.frombuffer(pixels, np.uint8).reshape(shape)


def _read_up_to(stream: gzip.GzipFile | BinaryIO, limit: int) -> bytearray:
    """Piece by piece: a damaged header may claim any size, and memory for it must not be taken on its word."""
    pieces = bytearray()
    while len(pieces) < limit:
        piece = stream.read(min(_CHUNK, limit - len(pieces)))
        if not piece:
            break
        pieces += piece
    return pieces
