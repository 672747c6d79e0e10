r"""$\log|I+M/\beta|$ of positive semi-definite M, to the digits that the input has.

A Gram matrix squares a Jacobian's condition number: of $M=T^\top T$ float64 keeps eigenvalues only down to
$10^{-16}\|M\|$. That is enough while $\|M\|/\beta$ is far from $10^{16}$, and fast. Beyond, the singular values of
$T$ itself are used, which reach down to $10^{-16}\|T\|$, hence $10^{-32}\|M\|$.
"""

from __future__ import annotations

import torch

from curvae._precision import full_precision
from curvae._typing import Float, Tensor

_WORST_CONDITION = 1e9
"""Bound on ‖M‖/β up to which the Gram matrix serves: float64 leaves the gradient seven digits there."""

_SERIES_BELOW = 1e-5
"""tr M/β under which tr X − ½‖X‖² is more precise than a Cholesky factor of I + X, which forgets X's last digits."""


def of_root(root: Float[Tensor, "N D d"], beta: float) -> Float[Tensor, " N"]:
    r"""$\log|I+T^\top T/\beta|$ in float64, from a (whitened) Jacobian $T$ of any shape and rank.

    Values and gradients keep six digits while the largest singular value of $T$ is below $10^5\sqrt\beta$ whatever
    the others are, and beyond if the smaller ones are either above rounding or exactly zero.

    Example:
        >>> of_root(torch.tensor([[[1e-9, 0.0], [0.0, 1.0]]]), beta=1.0)
        tensor([0.6931], dtype=torch.float64)
    """
    with full_precision(root):
        root = root.double()
        gram = (root.mT @ root if root.shape[-1] <= root.shape[-2] else root @ root.mT) / beta
        trace = gram.diagonal(dim1=-2, dim2=-1).sum(-1)
        # a datum that is not finite stays on the fast path, which hands its NaN on; LAPACK's SVD would raise
        hard = (trace > _WORST_CONDITION) & trace.isfinite()
        try:
            if not bool(hard.any()):
                return _of_identity_plus(gram, trace)
        except RuntimeError:  # vmap, as over an ensemble, cannot ask what a tensor holds: go both ways
            easy = _of_identity_plus(gram.masked_fill(hard[:, None, None], 0.0), trace.masked_fill(hard, 0.0))
            return torch.where(hard, _of_singular_values(torch.where(hard[:, None, None], root, 0.0), beta), easy)
        easy = _of_identity_plus(gram.masked_fill(hard[:, None, None], 0.0), trace.masked_fill(hard, 0.0))
        return easy.index_put((hard,), _of_singular_values(root[hard], beta))


def of_columns(root: Float[Tensor, "N D d"], beta: float) -> Float[Tensor, "N d"]:
    r"""$\log(1+\|T_{:i}\|^2/\beta)$ of each column, in float64.

    Example:
        >>> of_columns(torch.tensor([[[1e25], [0.0]]]), beta=1.0)  # its square is beyond float32
        tensor([[115.1293]], dtype=torch.float64)
    """
    return (squared_norms(root) / beta).log1p()


def squared_norms(root: Float[Tensor, "N D d"]) -> Float[Tensor, "N d"]:
    r"""$\|T_{:i}\|^2$ in float64; the gradient of a column of zeros is zero."""
    with full_precision(root):
        return torch.linalg.vector_norm(root, dim=1, dtype=torch.float64).square()


def of_curvature(curvature: Float[Tensor, "*N d d"], beta: float) -> Float[Tensor, "*N"]:
    r"""$\log|I+M/\beta|$ in float64 where only $M$ is known.

    Eigenvalues that are negative by no more than the rounding of ``curvature``'s own type count as zero; any other
    keeps its sign, so that one below $-\beta$ gives NaN: such an M is no curvature of a maximum.

    Example:
        >>> of_curvature(torch.diag(torch.tensor([3.0, -1e-9])), beta=1e-10).isfinite()
        tensor(True)
    """
    with full_precision(curvature):
        eigenvalues = torch.linalg.eigvalsh(curvature.double())
        return (without_noise(eigenvalues, curvature.dtype) / beta).log1p().sum(-1)


def without_noise(eigenvalues: Float[Tensor, "*N d"], dtype: torch.dtype) -> Float[Tensor, "*N d"]:
    """Zero for what a positive semi-definite matrix stored as ``dtype`` shows below zero by rounding alone."""
    floor = -eigenvalues.shape[-1] * torch.finfo(dtype).eps * eigenvalues.detach().abs().amax(-1, keepdim=True)
    return torch.where((eigenvalues < 0) & (eigenvalues >= floor), 0.0, eigenvalues)


def _of_identity_plus(gram: Float[Tensor, "N d d"], trace: Float[Tensor, " N"]) -> Float[Tensor, " N"]:
    identity = torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
    # no check: a Gram matrix of finite numbers is positive definite once I is added, and the check would halt a GPU
    factor = torch.linalg.cholesky_ex(identity + gram).L
    value = 2 * factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    return torch.where(trace < _SERIES_BELOW, trace - 0.5 * gram.square().sum((-1, -2)), value)


def _of_singular_values(root: Float[Tensor, "N D d"], beta: float) -> Float[Tensor, " N"]:
    values = torch.linalg.svdvals(root)
    # below rounding a singular value is a zero that was missed, and its gradient 2σ/(β+σ²) would be noise
    rounding = max(root.shape[-2:]) * torch.finfo(values.dtype).eps * values.detach().amax(-1, keepdim=True)
    return (torch.where(values > rounding, values, 0.0).square() / beta).log1p().sum(-1)
