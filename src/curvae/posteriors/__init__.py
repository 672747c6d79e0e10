"""Variational families: covariance structures and the normal posteriors built on them."""

from curvae.posteriors.along import Along
from curvae.posteriors.banded import Banded, BandedFactor
from curvae.posteriors.factor import BlockFactor, DiagonalFactor, Factor
from curvae.posteriors.normal import Normal
from curvae.posteriors.shared import Shared
from curvae.posteriors.structure import BlockDiagonal, Diagonal, Full, Structure

__all__ = [
    "Along",
    "Banded",
    "BandedFactor",
    "BlockDiagonal",
    "BlockFactor",
    "Diagonal",
    "DiagonalFactor",
    "Factor",
    "Full",
    "Normal",
    "Shared",
    "Structure",
]
