"""The one rule for pixels: uint8 from 0 to 255, or floating-point numbers from 0 to 1, and nothing else."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Shaped

from curvae._typing import Float, Tensor, UInt8
from curvae.data.split import Halves
from curvae.errors import InputError

WHITE = 255
"""The byte that means 1."""


def as_float(batch: Shaped[Tensor, "*D"] | Shaped[np.ndarray, "*D"]) -> Float[Tensor, "*D"]:
    """The values that a model sees: uint8 pixels become float32 in [0, 1], floating-point values stay as they are.

    Args:
        batch: ``[B, *D]`` (or one sample), a tensor on any device or an array.

    Returns:
        The same shape: ``batch / 255`` for uint8, else ``batch`` itself (of an array, a copy).

    Raises:
        InputError: another type.

    Example:
        >>> as_float(torch.tensor([0, 51, 255], dtype=torch.uint8))
        tensor([0.0000, 0.2000, 1.0000])
    """
    values = batch if isinstance(batch, Tensor) else of_array(batch)
    if values.is_floating_point():
        return values
    if values.dtype != torch.uint8:
        raise InputError(f"a batch is {values.dtype}; expected uint8 pixels or floating-point values")
    return values.to(torch.float32).div_(WHITE)


def as_images(images: Shaped[Tensor, "*D"] | Shaped[np.ndarray, "*D"]) -> Float[Tensor, "*D"]:
    """:func:`as_float` of images, whose values have to be on the scale of pixels.

    Raises:
        InputError: another type, values that are not finite, or values that no pixel is rounded from, such as those of
            images in [−1, 1] or from 0 to 255.

    Example:
        >>> as_images(torch.tensor([-1.0, 1.0]))
        Traceback (most recent call last):
        curvae.errors.InputError: images have values from -1 to 1; expected 0 to 1 (or uint8, 0 to 255): scale ...
    """
    values = as_float(images)
    if values.numel() == 0:
        return values
    low, high = (float(end) for end in torch.aminmax(values))
    if not np.isfinite(low) or not np.isfinite(high):  # rounding to bytes would make some colour of it
        raise InputError("images are not finite; a model may have diverged")
    half = 0.5 / WHITE
    if low < -half or high > 1 + half:
        raise InputError(
            f"images have values from {low:.4g} to {high:.4g}; expected 0 to 1 (or uint8, 0 to {WHITE}): scale them, "
            "or clip a model's outputs with .clamp(0, 1)"
        )
    return values


def as_bytes(images: Shaped[Tensor, "*D"] | Shaped[np.ndarray, "*D"]) -> UInt8[Tensor, "*D"]:
    """The way back: pixels as they are stored, rounded where they are not bytes already.

    Raises:
        InputError: as :func:`as_images`.

    Example:
        >>> as_bytes(torch.tensor([0.0, 0.2, 0.201, 1.0])).tolist()
        [0, 51, 51, 255]
    """
    values = images if isinstance(images, Tensor) else of_array(images)
    if values.dtype == torch.uint8:
        return values
    # half precision does not hold every byte
    exact = as_images(values).to(torch.promote_types(values.dtype, torch.float32))
    return (exact * WHITE).round_().clamp_(0, WHITE).to(torch.uint8)


def cut_off(values: Shaped[Tensor, "*D"] | Shaped[np.ndarray, "*D"]) -> UInt8[Tensor, "*D"]:
    """:func:`as_bytes` of a model's outputs, which may lie beyond black and white and are then shown as these.

    Raises:
        InputError: another type, or values that are not finite.

    Example:
        >>> cut_off(torch.tensor([-0.3, 0.2, 7.0])).tolist()
        [0, 51, 255]
    """
    return as_bytes(as_float(values).clamp(0, 1))


def whitened(halves: Halves, white: int | None, what: str) -> Halves:
    """Bytes that are bits, 0 and 1 alone, become pixels, 0 and 255: masks are stored so.

    Args:
        halves: of any type; only bytes may change.
        white: the byte that means 1 in them, 1 or 255; None asks both halves together, so that one half or one image
            that happens to be dark decides nothing.
        what: the source's name, for the error.

    Returns:
        The halves, with ``"white": 1`` in the record of the split where that was found.

    Raises:
        InputError: ``white`` is 1 but there are other values.

    Example:
        >>> from curvae.data.split import STANDARD
        >>> whitened(Halves(np.eye(2, dtype=np.uint8), np.ones((1, 2), np.uint8), STANDARD), None, "toy").train.tolist()
        [[255, 0], [0, 255]]
    """
    if "white" in halves.split:  # image files are, where they are read
        return halves
    bits = is_mask(halves.train, halves.test)
    if white == 1 and halves.train.dtype == np.uint8 and not bits and max(halves.train.max(), halves.test.max()) > 1:
        raise InputError(f"{what} holds bytes above 1; expected masks of 0 and 1, as these data were at first")
    if not bits or white not in (1, None):
        return halves
    return Halves(halves.train * WHITE, halves.test * WHITE, {**halves.split, "white": 1})


def is_mask(*halves: Shaped[np.ndarray, "..."]) -> bool:
    """Whether bytes are bits: 0 and 1 alone, and some 1, in all halves of a set together.

    Example:
        >>> is_mask(np.array([0, 1], np.uint8)), is_mask(np.array([0, 1, 255], np.uint8)), is_mask(np.array([0.0, 1.0]))
        (True, False, False)
    """
    if any(half.dtype != np.uint8 for half in halves):
        return False
    # a photograph shows in its first rows that it is none
    return all(not _beyond_one(half) for half in halves) and any(bool(half.any()) for half in halves)


def _beyond_one(half: Shaped[np.ndarray, "N *D"]) -> bool:
    return any(bool((half[start : start + 256] > 1).any()) for start in range(0, len(half), 256))


def of_array(values: Shaped[np.ndarray, "*D"]) -> Shaped[Tensor, "*D"]:
    """A copy in this machine's byte order: PyTorch takes no other, nor views that run backwards or are read-only.

    Long floats, which it does not take either, become double ones.
    """
    long = values.dtype == np.longdouble
    return torch.from_numpy(np.array(values, dtype=np.float64 if long else values.dtype.newbyteorder("="), order="C"))
