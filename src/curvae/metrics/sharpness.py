"""How sharp images are."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from jaxtyping import Shaped

from curvae._typing import Float, Tensor
from curvae.data.pixels import WHITE, as_bytes
from curvae.errors import InputError

# ITU-R BT.601, as Pillow makes grey of colours
_LUMA = (0.299, 0.587, 0.114)


@torch.no_grad()
def sharpness(images: Shaped[Tensor, "B C H W"] | Shaped[np.ndarray, "B C H W"]) -> Float[Tensor, " B"]:
    r"""Variance of the Laplacian of each image, the usual measure of focus: 0 for a flat image, larger if sharper.

    The image is rounded to 256 levels and made grey (BT.601); its Laplacian is
    $4x_{ij}-x_{i-1,j}-x_{i+1,j}-x_{i,j-1}-x_{i,j+1}$ at the pixels with four neighbours, and the variance (divided by
    their number) is over these. Noise raises it as edges do.

    Args:
        images: grey (C = 1) or RGB (C = 3), uint8 or in [0, 1], at least 3 × 3 pixels.

    Returns:
        In squared units of [0, 1], float64.

    Raises:
        InputError: ``images`` are no such images.

    Example:
        >>> checks = torch.tensor([[0.0, 1.0, 0.0, 1.0], [1.0, 0.0, 1.0, 0.0]]).repeat(2, 1)[None, None]
        >>> sharpness(torch.cat([checks, 0.5 * torch.ones_like(checks)])).tolist()
        [16.0, 0.0]
    """
    if images.ndim != 4 or images.shape[1] not in (1, 3) or min(images.shape[2:]) < 3:
        raise InputError(f"images have shape {tuple(images.shape)}; expected [B, 1 or 3, H, W], at least 3 × 3 pixels")
    x = as_bytes(images).double() / WHITE
    grey = x[:, 0] if x.shape[1] == 1 else torch.einsum("bchw,c->bhw", x, x.new_tensor(_LUMA))
    middle, rows, columns = grey[:, 1:-1, 1:-1], grey[:, :, 1:-1], grey[:, 1:-1]
    laplacian = 4 * middle - rows[:, :-2] - rows[:, 2:] - columns[..., :-2] - columns[..., 2:]
    return laplacian.flatten(1).var(1, correction=0)


def mean_sharpness(images: Iterable[Tensor | np.ndarray]) -> float:
    """Of all images of some batches.

    Args:
        images: batches ``[B, C, H, W]`` of any size.

    Raises:
        InputError: as :func:`sharpness`, or no images.

    Example:
        >>> mean_sharpness([torch.zeros(2, 1, 5, 5)])
        0.0
    """
    found = [sharpness(batch).cpu() for batch in images if len(batch)]
    if not found:
        raise InputError("there are no images; expected at least one")
    return float(torch.cat(found).mean())
