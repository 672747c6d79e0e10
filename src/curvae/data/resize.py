"""One way to bring any image to a square: Pillow's centred crop and antialiased bicubic resize, in one resampling."""

from __future__ import annotations

import numpy as np
from jaxtyping import Shaped
from PIL import Image, ImageOps

from curvae._typing import UInt8
from curvae.errors import InputError


def fit(image: Image.Image, size: int) -> Image.Image:
    """Scale the shorter side of a grey (L) or RGB image to ``size`` pixels and cut the middle ``size`` × ``size`` out.

    Example:
        >>> fit(Image.new("L", (40, 20)), 8).size
        (8, 8)
    """
    # bicubic is what Fréchet distances in the literature are computed with; Lanczos rings more at sharp edges, and the
    # clipped undershoot brightens MNIST at 8 × 8 by 9 % (bicubic: 5 %)
    return ImageOps.fit(image, (size, size), method=Image.Resampling.BICUBIC)


def fit_all(images: Shaped[np.ndarray, "N *D"], size: int, name: str) -> UInt8[np.ndarray, "N C size size"]:
    """``fit`` each image of uint8 ``[N, C, H, W]`` with C = 1 or 3.

    Raises:
        InputError: ``images`` are not such images.
    """
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1] not in (1, 3):
        raise InputError(f"size is for images but {name} holds {images.dtype} of shape {images.shape}; leave it out")
    if images.shape[2:] == (size, size):
        return images
    return np.stack([to_array(fit(_to_image(image), size)) for image in images])


def to_array(image: Image.Image) -> UInt8[np.ndarray, "C H W"]:
    """The pixels of a grey (L) or RGB image, channels first."""
    pixels = np.asarray(image)
    return pixels[None] if pixels.ndim == 2 else np.ascontiguousarray(pixels.transpose(2, 0, 1))


def _to_image(pixels: UInt8[np.ndarray, "C H W"]) -> Image.Image:
    return Image.fromarray(pixels[0] if len(pixels) == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0)))
