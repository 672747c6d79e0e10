"""An orthonormal basis for latents that have places: spatial frequencies, and channels turned to principal axes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from curvae._rank import finite_or_zero
from curvae._typing import Float, Int, Tensor
from curvae.curvature.estimators import coins

_BITS = 16
"""Of a colour: more than rows have."""
Drawn = tuple[Float[Tensor, "B d"], Int[Tensor, " d"]]
"""A sign and a colour of each coefficient."""


class Waves:
    r"""Cosines over the places of latents ``[C, *places]`` or ``[tokens, C]``, and axes of the channels.

    A decoder that treats all places alike, as convolutions do, has a curvature that mixes neither frequencies nor, in
    the right axes, channels: nearly diagonal in this basis, and with it every function of M. Latents that are vectors
    keep their own axes. ``like`` gives type and place; ``shape`` is that of one sample's latents.
    """

    def __init__(self, like: Float[Tensor, "B d"], shape: Sequence[int]) -> None:
        self._like, self._shape = like, tuple(shape)
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

    def analyse(self, latents: Float[Tensor, "B d K"]) -> Float[Tensor, "B d K"]:
        """Their coefficients."""
        if not self._cosines:
            return latents
        x = self._along_places(self._apart(latents), 1)
        if self._axes is not None:
            x = torch.einsum("bca,bc...->ba...", self._axes.to(x), x)
        return self._together(x)

    def align(self, images: Float[Tensor, "B d K"]) -> None:
        """Turn the channels to the principal axes of images $Mv$ of random v: those of $M^2$'s sum over the places."""
        seen, _ = finite_or_zero(self._apart(images).double().flatten(2))
        self._axes = torch.linalg.eigh(seen @ seen.mT).eigenvectors.to(images)

    def draw(self, generator: torch.Generator | None) -> Drawn:
        """For :meth:`probes`."""
        return coins(self._like, self._like.shape[1], generator=generator), self._colours(generator)

    def probes(self, drawn: Drawn, rows: range) -> Float[Tensor, "B d K"]:
        """Latents whose coefficients are the signs drawn, times rows of Walsh's functions of the colours.

        Over the first $2^k$ rows together, the products of two coefficients add up to 0 unless their colours agree
        modulo $2^k$. Over independent probes none would.
        """
        signs, colours = drawn
        parity = colours.unsqueeze(-1) & torch.tensor(rows, device=colours.device)
        for shift in (8, 4, 2, 1):
            parity = parity ^ (parity >> shift)
        return self.synthesise(signs.unsqueeze(-1) * (1 - 2 * (parity & 1)))

    def _colours(self, generator: torch.Generator | None) -> Int[Tensor, " d"]:
        """Seldom alike for neighbours along an axis, where M couples most; by chance for all others.

        In each cell of four places along every axis the last two bits are a Latin square (or cube) of its own, at
        random, and all else is chance. Two waves that differ along one axis of a cell are never alike, and no others
        are alike modulo $2^k$ in more than $4/3$ of $2^{-k}$ of the draws ($10/9$ for k = 1): what neighbours gain
        may not be lost to pairs that are always alike, of whose coupling the probes would tell nothing.
        """
        device, d = self._like.device, math.prod(self._shape)
        colours = torch.randint(1 << _BITS, (d,), generator=generator, device=device)
        if not self._cosines:
            return colours
        places = torch.unravel_index(torch.arange(d, device=device), self._shape)
        strides = [math.prod(self._shape[axis + 1 :]) for axis in range(len(places))]
        cells = torch.stack([stride * (place >> 2) for stride, place in zip(strides, places, strict=True)]).sum(0)
        colours = colours & ~3
        for place in places:
            orders = torch.rand((d, 4), generator=generator, device=device).argsort(-1)
            colours = colours ^ orders[cells, place & 3]
        return colours

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
