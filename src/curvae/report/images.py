"""Images drawn as images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from curvae.report.drawing import Amounts, Captioned, Drawing, Outputs
from curvae.report.pictures import Picture, grid, to_pixels

# of uncompressed pixels on the whole page: PNG and base64 make less than 3 MB of it, of noise about 2.6 MB
_PIXEL_BYTES = 1_900_000
STEPS = 9
"""Of a path from one image to another."""

_LEVELS = (
    Amounts(examples=12, samples=64, latents=6, pairs=3),
    Amounts(examples=10, samples=36, latents=5),
    Amounts(examples=8, samples=25, latents=4),
    Amounts(examples=8, samples=16, latents=4, side=64),
    # two models of 64 × 64 faces side by side, at their own size
    Amounts(examples=8, samples=16, latents=3, side=64, pairs=1),
    *(Amounts(examples=8, samples=16, latents=4, side=side) for side in (48, 32)),
    Amounts(examples=6, samples=9, latents=2, side=32, pairs=1),
    Amounts(examples=4, samples=4, latents=1, side=24, pairs=1),
)


@dataclass(frozen=True)
class ImageDrawing(Drawing):
    """Images ``[N, (C,) H, W]`` as images."""

    limits: tuple[float, float]  # the values shown as black and as full brightness
    side: int  # images with a longer one are made smaller

    def rebuilt(self, originals: Float[np.ndarray, "B *D"], outputs: Outputs) -> list[Captioned]:
        """A row of originals, and a row for each run."""
        first = Captioned("original held-out images", self._row(originals, "original held-out images"))
        rows = [Captioned(s.name, self._row(images, f"reconstructions by {s.name}"), s) for s, images in outputs]
        return [first, *rows]

    def sampled(self, outputs: Outputs, originals: Float[np.ndarray, "N *D"]) -> list[Captioned]:
        """A square of samples for each run."""
        return [
            Captioned(s.name, grid(self._pixels(images), math.isqrt(len(images)), f"samples from {s.name}"), s)
            for s, images in outputs
        ]

    def traversed(self, row: Float[np.ndarray, "V *D"], alt: str) -> Picture:
        """The images of one latent's values in a row."""
        return self._row(row, alt)

    def thumbnails(self, data: Float[np.ndarray, "B *D"]) -> list[Picture | None]:
        """Each image."""
        return [self._row(data[i : i + 1], f"held-out image {i + 1}") for i in range(len(data))]

    def _row(self, images: Float[np.ndarray, "N *D"], alt: str) -> Picture:
        return grid(self._pixels(images), len(images), alt)

    def _pixels(self, images: Float[np.ndarray, "N *D"]) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
        return to_pixels(images, self.limits, self.side)


def image_amounts(shape: Sequence[int], runs: int) -> Amounts:
    """As much as fits on a page of less than 3 MB with this many runs.

    Example:
        >>> image_amounts((1, 28, 28), runs=2).samples, image_amounts((3, 64, 64), runs=4).samples
        (64, 16)
    """
    channels = shape[0] if len(shape) == 3 else 1
    for level in _LEVELS:
        shrink = min(1.0, level.side / max(shape[-2:]))
        pixels = channels * math.prod(shape[-2:]) * shrink**2
        each = level.examples + level.samples + 7 * level.latents + 2 * STEPS * level.pairs
        if pixels * (level.examples + runs * each) <= _PIXEL_BYTES:
            return level
    return _LEVELS[-1]
