r"""Covariances along one axis of latents that have several: among channels at each pixel, or within each token."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from curvae._checks import positive_int
from curvae._typing import Float, Int, Tensor
from curvae.errors import InputError
from curvae.posteriors.factor import Factor
from curvae.posteriors.structure import BlockDiagonal, Structure


class Along(Structure):
    r"""A full covariance among the latents along one axis, independent from one position on the others to the next.

    For latents of shape ``(C, H, W)`` and ``axis=0`` it is one C × C covariance for each pixel, for ``(T, F)`` and
    ``axis=1`` one F × F covariance for each of T tokens. It is :class:`BlockDiagonal` of the latents in another order:
    $\Sigma^*_p=(I+M_{pp}/\beta)^{-1}$ for each position p and the penalty is $\sum_p\log|I+M_{pp}/\beta|$.

    Args:
        shape: of the latents of one sample.
        axis: of ``shape``, −n … n − 1.

    Raises:
        InputError: for an axis that the shape does not have, or (when used) another number of latents.

    Example:
        >>> curvature = torch.full((1, 4, 4), 1.0)  # 2 × 2 latents
        >>> Along((2, 2), axis=0).penalty(curvature, beta=1.0).exp()  # |I + 1 1ᵀ| of size 2, twice
        tensor([9.])
    """

    def __init__(self, shape: Sequence[int], axis: int) -> None:
        self.shape = tuple(positive_int("latents", size) for size in shape)
        if isinstance(axis, bool) or not isinstance(axis, int) or not -len(self.shape) <= axis < len(self.shape):
            raise InputError(f"axis is {axis!r}; expected {-len(self.shape)} … {len(self.shape) - 1} for {self.shape}")
        self.axis = axis % len(self.shape)
        self.blocks = BlockDiagonal(self.shape[self.axis])

    def order(self, latents: int, device: torch.device | None = None) -> Int[Tensor, " d"]:
        """The latents of each position, one position after the other.

        Raises:
            InputError: the shape is not that of so many latents.
        """
        self._check(latents)
        return torch.arange(latents, device=device).view(self.shape).movedim(self.axis, -1).flatten()

    def num_parameters(self, latents: int) -> int:
        """The entries on and below each block's diagonal."""
        self._check(latents)
        return self.blocks.num_parameters(latents)

    def factor(self, parameters: Float[Tensor, "B P"], latents: int) -> ReorderedFactor:
        """Parameters fill the lower triangle of one position after the other."""
        return ReorderedFactor(self.blocks.factor(parameters, latents), self.order(latents, parameters.device))

    def groups(self, latents: int) -> Int[Tensor, " d"]:
        """The position."""
        return self.order(latents).argsort() // self.blocks.size

    def restrict(self, matrix: Float[Tensor, "B d d"]) -> Float[Tensor, "B d d"]:
        """Entries between latents of the same position."""
        position = self.groups(matrix.shape[-1]).to(matrix.device)
        return matrix * (position[:, None] == position)

    def optimal(self, curvature: Float[Tensor, "B d d"], beta: float) -> ReorderedFactor:
        r"""$\Sigma^*_p=(I+M_{pp}/\beta)^{-1}$ for each position."""
        order = self.order(curvature.shape[-1], curvature.device)
        return ReorderedFactor(self.blocks.optimal(self._sorted(curvature), beta), order)

    def penalty(self, curvature: Float[Tensor, "B d d"], beta: float) -> Float[Tensor, " B"]:
        r"""$\sum_p\log|I+M_{pp}/\beta|$."""
        return self.blocks.penalty(self._sorted(curvature), beta)

    def penalty_of_root(self, root: Float[Tensor, "B *D d"], beta: float) -> Float[Tensor, " B"]:
        r"""$\sum_p\log|I+T_p^\top T_p/\beta|$ of each position's columns."""
        order = self.order(root.shape[-1], root.device)
        return self.blocks.penalty_of_root(root.index_select(-1, order), beta)

    def _sorted(self, matrix: Float[Tensor, "B d d"]) -> Float[Tensor, "B d d"]:
        order = self.order(matrix.shape[-1], matrix.device)
        return matrix.index_select(-1, order).index_select(-2, order)

    def _check(self, latents: int) -> None:
        if latents != math.prod(self.shape):
            raise InputError(f"{self} is for {math.prod(self.shape)} latents; got {latents}")

    def __repr__(self) -> str:
        return f"Along({self.shape}, axis={self.axis})"


class ReorderedFactor(Factor):
    """Another factor for the latents in another order.

    Args:
        inner: of the latents in that order.
        order: which latent stands at each place.
    """

    def __init__(self, inner: Factor, order: Int[Tensor, " d"]) -> None:
        self.inner = inner
        self.order, self.back = order, order.argsort()

    def apply(self, noise: Float[Tensor, "*S B d"]) -> Float[Tensor, "*S B d"]:
        """Multiply in the other order."""
        return self.inner.apply(noise.index_select(-1, self.order)).index_select(-1, self.back)

    def solve(self, delta: Float[Tensor, "*S B d"]) -> Float[Tensor, "*S B d"]:
        """Solve in the other order."""
        return self.inner.solve(delta.index_select(-1, self.order)).index_select(-1, self.back)

    def dense(self) -> Float[Tensor, "B d d"]:
        r"""A root of $\Sigma$: lower triangular in the other order only."""
        return self._unsorted(self.inner.dense())

    def log_det(self) -> Float[Tensor, " B"]:
        """The inner factor's."""
        return self.inner.log_det()

    def trace(self) -> Float[Tensor, " B"]:
        """The inner factor's."""
        return self.inner.trace()

    def precision(self) -> Float[Tensor, "B d d"]:
        r"""$\Sigma^{-1}$, dense."""
        return self._unsorted(self.inner.precision())

    def variance(self) -> Float[Tensor, "B d"]:
        r"""The diagonal of $\Sigma$."""
        return self.inner.variance().index_select(-1, self.back)

    def to(self, dtype: torch.dtype) -> ReorderedFactor:
        """In another type."""
        return ReorderedFactor(self.inner.to(dtype), self.order)

    def _unsorted(self, matrix: Float[Tensor, "B d d"]) -> Float[Tensor, "B d d"]:
        return matrix.index_select(-1, self.back).index_select(-2, self.back)
