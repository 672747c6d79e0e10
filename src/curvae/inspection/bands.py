"""Spatial frequencies of image-shaped latents."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from scipy.fft import idctn

_COUNT = 4


def band_of(shape: Sequence[int]) -> np.ndarray:
    """The band of each entry of the cosine transform, flat: 0 has the constant.

    Example:
        >>> band_of((1, 2, 2))
        array([0, 2, 2, 3])
    """
    rows, columns = (np.arange(side) / max(side - 1, 1) for side in shape[-2:])
    radius = np.sqrt((rows[:, None] ** 2 + columns**2) / 2)
    band = np.minimum((radius * _COUNT).astype(int), _COUNT - 1)
    return np.broadcast_to(band, shape).ravel()


def waves(coefficients: Float[np.ndarray, "N d"], shape: Sequence[int]) -> Float[np.ndarray, "N d"]:
    """Latents with these coefficients in the orthonormal cosine basis of each channel."""
    return idctn(coefficients.reshape(-1, *shape), axes=(-2, -1), norm="ortho").reshape(len(coefficients), -1)
