"""One rule for what counts as zero in a spectrum, and for matrices that are not finite."""

from __future__ import annotations

import torch

from curvae._typing import Bool, Float, Tensor

NOISE = 8
"""In units of rounding, relative to the largest: what is left of a singular value or eigenvalue that is zero.

A matrix that was rounded once has at most 4, whatever its size (measured for 2 … 5000 rows and 2 … 100 columns, ranks 1
and d − 1); a decoder's products round in every layer.
"""


def negligible(
    spectrum: Float[Tensor, "*N d"], dtype: torch.dtype, coarseness: Tensor | float = 1.0
) -> Bool[Tensor, "*N d"]:
    """Which singular values, or eigenvalues of a symmetric matrix, cannot be told from zero.

    Those within 8 units of rounding of it, relative to the largest. The rule knows the matrix's scale, not that of
    its rows and columns: where these are arbitrary, bring them to length one first.

    ``dtype`` is that in which the *matrix* was last rounded, whatever its spectrum was computed in; ``coarseness`` says
    how much worse than its type the matrix is.

    Example:
        >>> negligible(torch.tensor([1.0, 1e-3, 1e-8]), torch.float32)
        tensor([False, False,  True])
    """
    size = spectrum.detach().abs()
    return size <= NOISE * torch.finfo(dtype).eps * coarseness * size.amax(-1, keepdim=True)


def finite_or_zero(matrices: Float[Tensor, "*N r c"]) -> tuple[Float[Tensor, "*N r c"], Bool[Tensor, "*N"]]:
    """Zeros for matrices that are not finite, and which these are: LAPACK would refuse the whole batch for one.

    Example:
        >>> finite_or_zero(torch.tensor([[[1.0]], [[torch.nan]]]))
        (tensor([[[1.]],
        <BLANKLINE>
                [[0.]]]), tensor([False,  True]))
    """
    broken = ~matrices.isfinite().all(-1).all(-1)
    return matrices.masked_fill(broken[..., None, None], 0.0), broken
