r"""Square roots of covariances: $\Sigma=LL^\top$ with $L$ lower triangular, stored in the shape of its structure."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch

from curvae._repr import OneLine
from curvae._typing import Float, Tensor


class Factor(OneLine, ABC):
    r"""A batch of lower-triangular factors $L$ of $\Sigma=LL^\top$."""

    def _told(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if not name.startswith("_")}

    @abstractmethod
    def apply(self, noise: Float[Tensor, "*S B d"]) -> Float[Tensor, "*S B d"]:
        r"""$L\epsilon$."""

    @abstractmethod
    def solve(self, delta: Float[Tensor, "*S B d"]) -> Float[Tensor, "*S B d"]:
        r"""$L^{-1}\delta$."""

    @abstractmethod
    def dense(self) -> Float[Tensor, "B d d"]:
        """$L$ as a dense matrix."""

    @abstractmethod
    def log_det(self) -> Float[Tensor, " B"]:
        r"""$\log|\Sigma|$."""

    @abstractmethod
    def trace(self) -> Float[Tensor, " B"]:
        r"""$\mathrm{tr}\,\Sigma$."""

    def variance(self) -> Float[Tensor, "B d"]:
        r"""The diagonal of $\Sigma$."""
        return self.dense().square().sum(-1)

    def to(self, dtype: torch.dtype) -> Factor:
        """In another floating-point type; of a factor that is not lower triangular a class gives its own."""
        dense = self.dense().to(dtype)
        return BlockFactor(dense.unsqueeze(1), dense.shape[-1])

    def covariance(self) -> Float[Tensor, "B d d"]:
        r"""$\Sigma$, dense."""
        dense = self.dense()
        return dense @ dense.mT

    def precision(self) -> Float[Tensor, "B d d"]:
        r"""$\Sigma^{-1}$, dense."""
        root = inverse(self.dense())
        return root.mT @ root


def inverse(lower: Float[Tensor, "*B d d"], unitriangular: bool = False) -> Float[Tensor, "*B d d"]:
    """Of a lower-triangular matrix."""
    identity = torch.eye(lower.shape[-1], dtype=lower.dtype, device=lower.device)
    return torch.linalg.solve_triangular(lower, identity.expand_as(lower), upper=False, unitriangular=unitriangular)


class DiagonalFactor(Factor):
    """Independent latents.

    Args:
        scale: standard deviations ``[B, d]``, > 0.

    Example:
        >>> DiagonalFactor(torch.tensor([[2.0, 1.0]])).covariance()
        tensor([[[4., 0.],
                 [0., 1.]]])
    """

    def __init__(self, scale: Float[Tensor, "B d"]) -> None:
        self.scale = scale

    def apply(self, noise: Float[Tensor, "*S B d"]) -> Float[Tensor, "*S B d"]:
        """Scale each latent."""
        return self.scale * noise

    def solve(self, delta: Float[Tensor, "*S B d"]) -> Float[Tensor, "*S B d"]:
        """Divide each latent by its scale."""
        return delta / self.scale

    def dense(self) -> Float[Tensor, "B d d"]:
        """The scales on a diagonal."""
        return torch.diag_embed(self.scale)

    def log_det(self) -> Float[Tensor, " B"]:
        """Twice the sum of log scales."""
        return 2 * self.scale.log().sum(-1)

    def trace(self) -> Float[Tensor, " B"]:
        """Sum of variances."""
        return self.scale.square().sum(-1)

    def variance(self) -> Float[Tensor, "B d"]:
        """The scales' squares, with no matrix between."""
        return self.scale.square()

    def to(self, dtype: torch.dtype) -> DiagonalFactor:
        """In another type."""
        return DiagonalFactor(self.scale.to(dtype))


class BlockFactor(Factor):
    """Blocks of latents that are independent of each other; one block of size d is a full covariance.

    Args:
        blocks: lower-triangular ``[B, n, b, b]`` with a positive diagonal. Where d is not a multiple of b the last
            block is padded with the identity, which adds nothing to a Kullback–Leibler divergence or a determinant.
        latents: d, with (n − 1)·b < d ≤ n·b.

    Example:
        >>> BlockFactor(torch.tensor([[[[1.0, 0.0], [1.0, 1.0]]]]), latents=2).covariance()
        tensor([[[1., 1.],
                 [1., 2.]]])
    """

    def __init__(self, blocks: Float[Tensor, "B n b b"], latents: int) -> None:
        self.blocks = blocks
        self.latents = latents
        self._padding = blocks.shape[1] * blocks.shape[2] - latents

    def _split(self, vectors: Float[Tensor, "*S B d"]) -> Float[Tensor, "*S B n b 1"]:
        padded = torch.nn.functional.pad(vectors, (0, self._padding))
        return padded.unflatten(-1, self.blocks.shape[1:3]).unsqueeze(-1)

    def _join(self, blocks: Float[Tensor, "*S B n b 1"]) -> Float[Tensor, "*S B d"]:
        return blocks.flatten(-3)[..., : self.latents]

    def apply(self, noise: Float[Tensor, "*S B d"]) -> Float[Tensor, "*S B d"]:
        """Multiply block by block."""
        return self._join(self.blocks @ self._split(noise))

    def solve(self, delta: Float[Tensor, "*S B d"]) -> Float[Tensor, "*S B d"]:
        """Forward substitution, block by block."""
        return self._join(torch.linalg.solve_triangular(self.blocks, self._split(delta), upper=False))

    def dense(self) -> Float[Tensor, "B d d"]:
        """The blocks on a diagonal."""
        batch, count, size, _ = self.blocks.shape
        eye = torch.eye(count, dtype=self.blocks.dtype, device=self.blocks.device)
        full = torch.einsum("bnij,nm->bnimj", self.blocks, eye).reshape(batch, count * size, count * size)
        return full[:, : self.latents, : self.latents]

    def log_det(self) -> Float[Tensor, " B"]:
        """Twice the sum of the diagonal's logarithms (the padding's are 0)."""
        return 2 * self.blocks.diagonal(dim1=-2, dim2=-1).log().sum((-1, -2))

    def trace(self) -> Float[Tensor, " B"]:
        """Sum of squared entries, less the padding's ones."""
        return self.blocks.square().sum((-1, -2, -3)) - self._padding

    def variance(self) -> Float[Tensor, "B d"]:
        """Each row's sum of squares, with no matrix of all latents between."""
        return self.blocks.square().sum(-1).flatten(1)[:, : self.latents]

    def to(self, dtype: torch.dtype) -> BlockFactor:
        """In another type."""
        return BlockFactor(self.blocks.to(dtype), self.latents)
