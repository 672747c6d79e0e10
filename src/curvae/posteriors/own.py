"""What a structure of one's own may get wrong, and what is none."""

from __future__ import annotations

from curvae._checks import a_kind, shown
from curvae._typing import Float, Tensor
from curvae.errors import InputError
from curvae.posteriors.factor import Factor
from curvae.posteriors.structure import Structure


def check_structure(structure: object) -> None:
    """Refuse what is no structure, such as the name or the class of one.

    Raises:
        InputError: it is none.
    """
    if not isinstance(structure, Structure):
        raise InputError(f"structure is {shown(structure)}; expected one of curvae.posteriors, such as Diagonal()")


def factor_of(structure: Structure, parameters: Float[Tensor, "B P"], latents: int) -> Factor:
    """A structure's factor; of one's own it may be anything.

    Raises:
        InputError: it is no factor.

    Example:
        >>> import torch
        >>> from curvae.posteriors import Diagonal
        >>> factor_of(Diagonal(), torch.zeros(1, 2), latents=2).covariance()
        tensor([[[1., 0.],
                 [0., 1.]]])
    """
    found: object = structure.factor(parameters, latents)
    if not isinstance(found, Factor):
        raise InputError(
            f"factor of {structure} returned {a_kind(found)}; expected one of curvae.posteriors: DiagonalFactor(σ), "
            "or BlockFactor(L[:, None], d) of a lower-triangular L [B, d, d]"
        )
    return found
