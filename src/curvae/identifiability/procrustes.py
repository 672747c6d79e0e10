"""Orthogonal Procrustes, and the rotation that is left once permutations and reflections are removed (App. C)."""

from __future__ import annotations

import math

import torch

from curvae._typing import Float, Tensor
from curvae.errors import InputError


def orthogonal_procrustes(reference: Float[Tensor, "N d"], latents: Float[Tensor, "N d"]) -> Float[Tensor, "d d"]:
    r"""The orthogonal matrix that best takes ``latents`` to ``reference``: $\min_O\|Z-OM\|_F$ (App. C).

    With $Z, M$ holding one sample a column, $O=UV^\top$ from the singular value decomposition of $ZM^\top$.

    Args:
        reference: true latents, one sample a row.
        latents: inferred latents, one sample a row.

    Returns:
        O, so that ``latents @ O.T`` is close to ``reference``.

    Raises:
        InputError: the two differ in shape, or hold NaN or infinities.

    Example:
        >>> z = torch.randn(100, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        >>> o = torch.linalg.qr(z[:3]).Q
        >>> torch.allclose(orthogonal_procrustes(z @ o.T, z), o)
        True
    """
    if reference.shape != latents.shape or reference.ndim != 2:
        raise InputError(
            f"reference has shape {tuple(reference.shape)} and latents {tuple(latents.shape)}; "
            "expected the same [N, d] for both"
        )
    cross = reference.mT @ latents
    if not bool(torch.isfinite(cross).all()):
        raise InputError("the latents hold NaN or infinities (or overflow); expected finite numbers")
    u, _, vt = torch.linalg.svd(cross)
    return u @ vt


def rotation_angle(orthogonal: Float[Tensor, "2 2"]) -> float:
    """The angle of a 2×2 orthogonal matrix in degrees in (−45, 45], axes' permutations and reflections removed.

    A permutation of two axes or the reflection of one changes the direction of the first column by a multiple of 90°,
    so the angle is that direction modulo 90°.

    Raises:
        InputError: the matrix is not 2×2.

    Example:
        >>> half = math.sqrt(0.5)
        >>> rotation_angle(torch.tensor([[half, -half], [half, half]], dtype=torch.float64))
        45.0
        >>> rotation_angle(torch.tensor([[0.0, 1.0], [1.0, 0.0]]))
        0.0
    """
    if orthogonal.shape != (2, 2):
        raise InputError(f"the matrix has shape {tuple(orthogonal.shape)}; expected 2×2: an angle needs two axes")
    angle = math.degrees(math.atan2(float(orthogonal[1, 0]), float(orthogonal[0, 0])))
    return _into_range(angle)


def _into_range(angle: float) -> float:
    """Modulo 90° into (−45, 45]."""
    remainder = math.remainder(angle, 90.0)
    # math.remainder rounds half to even: −45 and 45 are the same rotation here, and the range holds 45
    return 45.0 if remainder <= -45.0 else remainder + 0.0
