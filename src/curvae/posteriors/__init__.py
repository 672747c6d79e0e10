"""Variational families: covariance structures and the normal posteriors built on them."""

from curvae.posteriors.factor import BlockFactor, DiagonalFactor, Factor
from curvae.posteriors.normal import Normal
from curvae.posteriors.structure import BlockDiagonal, Diagonal, Full, Structure

__all__ = ["BlockDiagonal", "BlockFactor", "Diagonal", "DiagonalFactor", "Factor", "Full", "Normal", "Structure"]
