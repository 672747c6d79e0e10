"""Arrays to pictures, as PNG data addresses that need no file beside the page."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
from jaxtyping import Float, Shaped, UInt8
from PIL import Image

from curvae.data import as_bytes, as_float, cut_off


@dataclass(frozen=True)
class Picture:
    """A picture on the page.

    Attributes:
        uri: ``data:image/png;base64,…``.
        alt: what it shows, in words.
        width: in pixels of the page, unless it is stretched.
        height: likewise.
    """

    uri: str
    alt: str
    width: int
    height: int


def png(image: Image.Image, alt: str, shrink: int = 1) -> Picture:
    """An image as a picture, so many of its pixels as one on the page, for sharp charts.

    Example:
        >>> png(Image.new("L", (6, 4)), "black", shrink=2).width
        3
    """
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    uri = "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
    return Picture(uri, alt, image.width // shrink, image.height // shrink)


def is_image(shape: Sequence[int]) -> bool:
    """Whether a sample of this shape is shown as a picture.

    Example:
        >>> is_image((1, 28, 28)), is_image((3, 64, 64)), is_image((28, 28)), is_image((784,)), is_image((5, 8, 8))
        (True, True, True, False, False)
    """
    sides = shape[-2:]
    return len(sides) == 2 and min(sides) >= 4 and (len(shape) == 2 or (len(shape) == 3 and shape[0] in (1, 3)))


def to_pixels(
    values: Shaped[np.ndarray, "N *D"], limits: tuple[float, float], side: int | None = None
) -> UInt8[np.ndarray, "N H W C"]:
    """Images ``[N, (C,) H, W]``, uint8 (which mean 0 to 1) or floating point, as bytes.

    The limits are shown as black and as full brightness, values beyond as the limits. Images whose longer side has
    more pixels than ``side`` are made smaller.

    Example:
        >>> to_pixels(np.array([[[[-1.0, 0.0], [0.5, 9.0]]]]), (0.0, 1.0))[0, :, :, 0]
        array([[  0,   0],
               [128, 255]], dtype=uint8)
    """
    low, high = limits
    pixels = cut_off((as_float(values) - low) / max(high - low, 1e-12)).numpy()
    pixels = pixels[..., None] if pixels.ndim == 3 else np.moveaxis(pixels, 1, -1)
    longest = max(pixels.shape[1:3])
    if side is None or longest <= side:
        return pixels
    size = tuple(max(1, round(pixels.shape[i] * side / longest)) for i in (2, 1))
    small = [
        np.asarray(Image.fromarray(image.squeeze(-1) if image.shape[-1] == 1 else image).resize(size))
        for image in pixels
    ]
    return np.stack(small).reshape(len(pixels), size[1], size[0], pixels.shape[-1])


def grid(images: Shaped[np.ndarray, "N H W C"], columns: int, alt: str, gap: int = 1) -> Picture:
    """Images, uint8 or in [0, 1], in rows of ``columns``, with see-through gaps that suit any page colour."""
    images = as_bytes(images).numpy()
    count, height, width, channels = images.shape
    rows = -(-count // columns)
    sheet = np.zeros((rows * (height + gap) - gap, columns * (width + gap) - gap, channels + 1), np.uint8)
    for i, image in enumerate(images):
        top, left = i // columns * (height + gap), i % columns * (width + gap)
        sheet[top : top + height, left : left + width, :channels] = image
        sheet[top : top + height, left : left + width, channels] = 255
    return png(Image.fromarray(sheet), alt)


def heat_map(matrix: Float[np.ndarray, "H W"], limit: float, alt: str) -> Picture:
    """A matrix as colours: blue below 0, white at 0, red above, full at the limit; one pixel an entry."""
    position = 0.5 + 0.5 * np.clip(matrix / limit, -1, 1)
    colours = matplotlib.colormaps["RdBu_r"](position, bytes=True)[..., :3]
    return png(Image.fromarray(np.ascontiguousarray(colours)), alt)


def colour_scale() -> Picture:
    """The colours of :func:`heat_map` from −limit to limit."""
    return heat_map(np.linspace(-1, 1, 201)[None], 1.0, "colour scale, blue for negative and red for positive entries")
