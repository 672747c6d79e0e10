r"""$\log|I+M/\beta|$ of positive semi-definite M, to the digits that the input has.

A Gram matrix squares a Jacobian's condition number: of $M=T^\top T$ float64 keeps eigenvalues only down to
$10^{-16}\|M\|$. That is enough while $\|M\|/\beta$ is far from $10^{16}$, and fast. Beyond, the singular values of
$T$ itself are used, which reach down to $10^{-16}\|T\|$, hence $10^{-32}\|M\|$.
"""

from __future__ import annotations

from typing import Any

import torch

from curvae._once import with_gradient_of
from curvae._precision import full_precision
from curvae._rank import finite_or_zero, negligible
from curvae._transforms import recording
from curvae._typing import Float, Tensor
from curvae.errors import IndefiniteError

_WORST_CONDITION = 1e9
"""Bound on ‖M‖/β up to which the Gram matrix serves: float64 leaves the gradient seven digits there."""

_SERIES_BELOW = 1e-5
"""tr M/β under which tr X − ½‖X‖² is more precise than a Cholesky factor of I + X, which forgets X's last digits."""


def of_root(root: Float[Tensor, "N D d"], beta: float) -> Float[Tensor, " N"]:
    r"""$\log|I+T^\top T/\beta|$ in float64, from a (whitened) Jacobian $T$ of any shape and rank.

    Values and gradients keep six digits while the largest singular value of $T$ is below $10^5\sqrt\beta$ whatever
    the others are, and beyond if the smaller ones are either above rounding or exactly zero. There are second
    derivatives where $\mathrm{tr}M/\beta\le10^9$; beyond they are refused. While a CUDA graph is recorded, which cannot
    ask for the largest one, all go the way that is right below $10^{4.5}\sqrt\beta$.

    Example:
        >>> of_root(torch.tensor([[[1e-9, 0.0], [0.0, 1.0]]]), beta=1.0)
        tensor([0.6931], dtype=torch.float64)
    """
    with full_precision(root):
        root = root.double()
        gram = (root.mT @ root if root.shape[-1] <= root.shape[-2] else root @ root.mT) / beta
        trace = gram.diagonal(dim1=-2, dim2=-1).sum(-1)
        # a sample that is not finite stays on the fast path, which hands its NaN on; LAPACK's SVD would raise
        hard = (trace > _WORST_CONDITION) & trace.isfinite()
        try:
            if recording(root.device) or not bool(hard.any()):
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
        return root.double().square().sum(1)


def of_curvature(curvature: Float[Tensor, "*N d d"], beta: float) -> Float[Tensor, "*N"]:
    r"""$\log|I+M/\beta|$ in float64 where only $M$ is known.

    Eigenvalues within the rounding of ``curvature``'s own type count as zero; any other keeps its sign, so that one
    below $-\beta$ gives NaN: such an M is no curvature of a maximum. The gradient is $(\beta I+M)^{-1}$, and every
    further derivative follows from it, with no difference of two eigenvalues in any denominator.

    Example:
        >>> of_curvature(torch.diag(torch.tensor([3.0, -1e-9])), beta=1e-10).isfinite()
        tensor(True)
    """
    with full_precision(curvature):
        matrices, broken = finite_or_zero(curvature.double())
        value = _Spectral.apply(matrices, beta, curvature.dtype)[0]  # type: ignore[no-untyped-call]
        return value.masked_fill(broken, torch.nan)


def check_definite(curvature: Float[Tensor, "*N d d"], beta: float) -> None:
    r"""Refuse M where $I+M/\beta$ is not positive definite beyond rounding; one that is not finite is not judged.

    Raises:
        IndefiniteError: an eigenvalue of M is ≤ −β.
    """
    with full_precision(curvature):
        values = torch.linalg.eigvalsh(finite_or_zero(curvature.detach().double())[0])
        check_spectrum(without_noise(values, curvature.dtype), beta)


def check_spectrum(eigenvalues: Float[Tensor, "*N d"], beta: float) -> None:
    """The same from the eigenvalues of M, for a diagonal M its entries."""
    if bool((eigenvalues <= -beta).any()):
        worst = float(eigenvalues[eigenvalues <= -beta].min())
        raise IndefiniteError(
            f"I + M/beta is not positive definite: its smallest eigenvalue in the batch is {1 + worst / beta:.4g} "
            f"(M has an eigenvalue {worst:.4g} <= -beta = {-beta:.4g}), so no covariance is optimal and (9), (10) do "
            "not exist; use curvature='gauss-newton' (12), a larger beta, or Taylor"
        )


def without_noise(eigenvalues: Float[Tensor, "*N d"], dtype: torch.dtype) -> Float[Tensor, "*N d"]:
    """Zero for what a matrix stored as ``dtype`` shows by rounding alone."""
    return torch.where(negligible(eigenvalues, dtype), 0.0, eigenvalues)


class _Spectral(torch.autograd.Function):
    r"""$\log|I+M/\beta|$ and $R=(\beta I+M)^{-1}$, which are each other's derivatives: $dR=-R\,dM\,R$."""

    generate_vmap_rule = True

    @staticmethod
    def forward(matrices: Tensor, beta: float, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        values, vectors = torch.linalg.eigh(matrices)
        values = without_noise(values, dtype)
        resolvent = (vectors / (beta + values).unsqueeze(-2)) @ vectors.mT
        return (values / beta).log1p().sum(-1), resolvent

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:  # noqa: ARG004
        ctx.save_for_backward(output[1])
        ctx.save_for_forward(output[1])

    @staticmethod
    def backward(ctx: Any, of_value: Tensor, of_resolvent: Tensor) -> tuple[Tensor | None, ...]:
        (resolvent,) = ctx.saved_tensors
        return of_value[..., None, None] * resolvent - resolvent @ of_resolvent @ resolvent, None, None

    @staticmethod
    def jvp(ctx: Any, moved: Tensor, *_: None) -> tuple[Tensor, Tensor]:
        (resolvent,) = ctx.saved_tensors
        return (resolvent * moved).sum((-1, -2)), -resolvent @ moved @ resolvent


def _of_identity_plus(gram: Float[Tensor, "N d d"], trace: Float[Tensor, " N"]) -> Float[Tensor, " N"]:
    identity = torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
    # no check: a Gram matrix of finite numbers is positive definite once I is added, and the check would halt a GPU
    factor = torch.linalg.cholesky_ex(identity + gram).L
    value = 2 * factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    return torch.where(trace < _SERIES_BELOW, trace - 0.5 * gram.square().sum((-1, -2)), value)


def _of_singular_values(root: Float[Tensor, "N D d"], beta: float) -> Float[Tensor, " N"]:
    with torch.no_grad():
        left, values, right = torch.linalg.svd(root.detach(), full_matrices=False)
        # below rounding a singular value is a zero that was missed, and its gradient 2σ/(β+σ²) would be noise
        values = torch.where(negligible(values, values.dtype), 0.0, values)
        slope = (left * (2 * values / (beta + values.square())).unsqueeze(-2)) @ right
        value = (values.square() / beta).log1p().sum(-1)
    return with_gradient_of(value, (root * slope).sum((-1, -2)), "a log-determinant with tr M/beta > 1e9")
