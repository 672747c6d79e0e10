"""The one way to open an image: of the formats listed here, decoded to its last pixel, and upright."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import BinaryIO

from PIL import Image

from curvae.files import open_regular

# by name, since Pillow goes by content and not by suffix, and hands PostScript that is called x.png to Ghostscript
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")

DEEP = "curvae.deep"
"""In an image's ``info``: whether its file has 16 bits a channel; of colours Pillow keeps the upper 8."""

_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_PNG = b"\x89PNG\r\n\x1a\n"
_CHUNK = struct.Struct(">I4s")


def open_image(source: Path | bytes, formats: tuple[str, ...] = FORMATS) -> Image.Image:
    """Decode an image and turn it upright.

    Only pixels count: what else is in a file (EXIF, colour profile, text) may be damaged.

    Args:
        source: an ordinary file, or its content; of several frames the first is taken.
        formats: Pillow's names of those that are tried.

    Raises:
        Exception: almost any, from Pillow's readers: the file cannot be read, or its pixels are damaged.

    Example:
        >>> buffer = io.BytesIO()
        >>> Image.new("L", (6, 4)).save(buffer, "PNG")
        >>> open_image(buffer.getvalue()).size
        (6, 4)
    """
    with io.BytesIO(source) if isinstance(source, bytes) else open_regular(source) as stream:
        try:
            return _decode(stream, formats)
        except Exception:
            plain = _without_notes(stream)
            if plain is None:
                raise
        return _decode(io.BytesIO(plain), formats)


def _decode(stream: io.BytesIO | BinaryIO, formats: tuple[str, ...]) -> Image.Image:
    image = Image.open(stream, formats=formats)
    deep = any(";16" in str(tile[-1]) for tile in image.tile)
    image.load()
    image.info[DEEP] = deep
    try:
        turn = _TURNS.get(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # a damaged note turns nothing
        turn = None
    return image if turn is None else image.transpose(turn)


def _without_notes(stream: io.BytesIO | BinaryIO) -> bytes | None:
    """A PNG file less the chunks that do not touch its pixels, or None: Pillow refuses the whole for one of them."""
    stream.seek(0)
    if stream.read(len(_PNG)) != _PNG:
        return None
    kept = [_PNG]
    while len(head := stream.read(_CHUNK.size)) == _CHUNK.size:
        length, kind = _CHUNK.unpack(head)
        if kind[:1].islower() and kind not in (b"tRNS", b"eXIf"):  # a small first letter: may be passed over
            stream.seek(length + 4, io.SEEK_CUR)
            continue
        body = stream.read(length + 4)
        if kind != b"eXIf" or zlib.crc32(kind + body[:-4]) == int.from_bytes(body[-4:], "big"):
            kept += [head, body]
    return b"".join(kept)
