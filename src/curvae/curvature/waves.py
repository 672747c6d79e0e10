"""An orthonormal basis for latents that have places: spatial frequencies, and channels turned to principal axes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from curvae._rank import finite_or_zero
from curvae._typing import Float, Tensor


class Waves:
    r"""Cosines over the places of latents ``[C, *places]`` or ``[tokens, C]``, and axes of the channels.

    A decoder that treats all places alike, as convolutions do, has a curvature that mixes neither frequencies nor, in
    the right axes, channels: nearly diagonal in this basis, and with it every function of M. Latents that are vectors
    keep their own axes. ``like`` gives type and place; ``shape`` is that of one sample's latents.
    """

    def __init__(self, like: Float[Tensor, "B d"], shape: Sequence[int]) -> None:
        self._shape = tuple(shape)
        self._axis = 2 if len(self._shape) == 2 else 1
        places = self._shape[:1] if len(self._shape) == 2 else self._shape[1:]
        self._cosines = [_cosines(size, like) for size in places]
        self._axes: Float[Tensor, "B C C"] | None = None
        self.channels = self._shape[self._axis - 1] if places else 1

    def synthesise(self, coefficients: Float[Tensor, "B d K"]) -> Float[Tensor, "B d K"]:
        """Latents with these coefficients."""
        if not self._cosines:
            return coefficients
        x = self._apart(coefficients)
        if self._axes is not None:
            x = torch.einsum("bca,ba...->bc...", self._axes, x)
        return self._together(self._along_places(x, 0))

    def align(self, coefficients: Float[Tensor, "B d K"], images: Float[Tensor, "B d K"]) -> None:
        """Turn the channels to the axes of M's block, summed over frequencies, by coefficients s and images MUs."""
        signs, seen = (self._apart(t).double() for t in (coefficients, images))
        seen = self._along_places(seen, 1)
        block, _ = finite_or_zero(signs.flatten(2) @ seen.flatten(2).mT)
        self._axes = torch.linalg.eigh(block + block.mT).eigenvectors.to(coefficients)

    def _along_places(self, x: Float[Tensor, "B C *P K"], summed: int) -> Float[Tensor, "B C *P K"]:
        for axis, cosines in enumerate(self._cosines, 2):
            x = torch.tensordot(x, cosines.to(x), ([axis], [summed])).movedim(-1, axis)
        return x

    def _apart(self, flat: Float[Tensor, "B d K"]) -> Float[Tensor, "B C *P K"]:
        return flat.unflatten(1, self._shape).movedim(self._axis, 1)

    def _together(self, x: Float[Tensor, "B C *P K"]) -> Float[Tensor, "B d K"]:
        return x.movedim(1, self._axis).flatten(1, -2)


def _cosines(size: int, like: Tensor) -> Float[Tensor, "n n"]:
    """The orthonormal cosine basis (DCT-II), a wave in each row."""
    k = torch.arange(size, dtype=torch.float64)
    rows = torch.cos(math.pi * k[:, None] * (k + 0.5) / size) * math.sqrt(2 / size)
    rows[0] /= math.sqrt(2)
    return rows.to(like.device)
