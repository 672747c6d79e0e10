r"""Covariance structures: which $\Sigma$ a variational family allows, and what each implies for the decoder."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import nn

from curvae._checks import positive, positive_int
from curvae._once import without_gradient
from curvae._precision import full_precision
from curvae._rank import finite_or_zero
from curvae._typing import Float, Int, Tensor
from curvae.errors import InputError
from curvae.posteriors import logdet
from curvae.posteriors.factor import BlockFactor, DiagonalFactor, Factor, inverse


class Structure(ABC):
    r"""A set of covariances, closed under what the paper needs of it.

    For a decoder with Gauss–Newton curvature $M$ at the posterior's mean, the best covariance in the structure is
    :meth:`optimal` and what it costs the decoder is $\tfrac\beta2$ × :meth:`penalty`.

    Example:
        >>> curvature = torch.full((1, 2, 2), 1.0)
        >>> for structure in (Full(), Diagonal()):  # the larger family has the smaller penalty
        ...     print(structure, structure.penalty(curvature, beta=1.0).exp())
        Full() tensor([3.])
        Diagonal() tensor([4.])
    """

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    @abstractmethod
    def num_parameters(self, latents: int) -> int:
        """How many unconstrained numbers describe one covariance of ``latents`` dimensions."""

    def head(self, features: int, latents: int) -> nn.Module:
        """What turns an encoder's features ``[B, F]`` into parameters ``[B, P]``: a linear map."""
        return nn.Linear(features, self.num_parameters(latents))

    @abstractmethod
    def factor(self, parameters: Float[Tensor, "B P"], latents: int) -> Factor:
        """A factor $L$ from unconstrained parameters; zeros give the identity."""

    @abstractmethod
    def restrict(self, matrix: Float[Tensor, "B d d"]) -> Float[Tensor, "B d d"]:
        """``matrix`` with zeros wherever the structure has no entry."""

    def groups(self, latents: int) -> Int[Tensor, " d"] | None:
        """A number for each latent, the same for those between which the structure has entries; ``None`` for a band.

        What :meth:`restrict` says, without a matrix of size d × d.
        """
        return None

    def seen(self, curvature: Float[Tensor, "B d d"]) -> Float[Tensor, "N d d"]:
        r"""The matrices $M$ of which $I+M/\beta$ must be positive definite for :meth:`optimal` to exist."""
        return self.restrict(curvature)

    @abstractmethod
    def optimal(self, curvature: Float[Tensor, "B d d"], beta: float) -> Factor:
        r"""The minimiser of (8) in $\Sigma$: $(I+M/\beta)^{-1}$ (11), or its like for the structure.

        Raises:
            IndefiniteError: where $I+M/\beta$ (as far as :meth:`seen`) is not positive definite: nothing is then best.
        """

    @abstractmethod
    def penalty(self, curvature: Float[Tensor, "B d d"], beta: float) -> Float[Tensor, " B"]:
        r"""The closed form's log-determinant, $\log|I+M/\beta|$ of (12) and (13), or its like for the structure.

        The objective multiplies it by β/2. Computed in float64 whatever the input's type, and returned in that type.
        Where a whitened Jacobian is at hand, :meth:`penalty_of_root` keeps more digits.
        """

    def penalty_of_root(self, root: Float[Tensor, "B *D d"], beta: float) -> Float[Tensor, " B"]:
        r"""The penalty from a root of the curvature, $T^\top T=M$: the whitened Jacobian, of any shape and rank.

        Same value as :meth:`penalty` of $T^\top T$, in ``root``'s type. Structures with blocks override it to
        be precise where forming $M$ is not (small β, columns that nearly depend on each other).
        """
        with full_precision(root):
            flat = root.flatten(1, -2).double()
            return self.penalty(flat.mT @ flat, beta).to(root.dtype)


class Diagonal(Structure):
    r"""Mean-field: independent latents.

    $\Sigma^*_{ii}=1/(1+M_{ii}/\beta)$ and the penalty is $\sum_i\log(1+M_{ii}/\beta)$, the right side of (14).

    Example:
        >>> curvature = torch.tensor([[[3.0, 1.0], [1.0, 0.0]]])
        >>> Diagonal().penalty(curvature, beta=1.0).exp()
        tensor([4.])
        >>> Diagonal().optimal(curvature, beta=1.0).covariance().diagonal(dim1=-2, dim2=-1)
        tensor([[0.2500, 1.0000]])
    """

    def groups(self, latents: int) -> Int[Tensor, " d"]:
        """Each by itself."""
        return torch.arange(latents)

    def num_parameters(self, latents: int) -> int:
        """One log standard deviation a latent."""
        return latents

    def factor(self, parameters: Float[Tensor, "B P"], latents: int) -> DiagonalFactor:
        """Standard deviations are the exponentials of the parameters."""
        check_count(parameters, self, latents)
        return DiagonalFactor(parameters.exp())

    def restrict(self, matrix: Float[Tensor, "B d d"]) -> Float[Tensor, "B d d"]:
        """The diagonal."""
        return torch.diag_embed(matrix.diagonal(dim1=-2, dim2=-1))

    def optimal(self, curvature: Float[Tensor, "B d d"], beta: float) -> DiagonalFactor:
        r"""$\Sigma^*_{ii}=1/(1+M_{ii}/\beta)$."""
        diagonal = curvature.diagonal(dim1=-2, dim2=-1)
        logdet.check_spectrum(diagonal, positive("beta", beta))
        return DiagonalFactor((1 + diagonal / beta).rsqrt())

    def penalty(self, curvature: Float[Tensor, "B d d"], beta: float) -> Float[Tensor, " B"]:
        r"""$\sum_i\log(1+M_{ii}/\beta)$."""
        positive("beta", beta)
        diagonal = curvature.diagonal(dim1=-2, dim2=-1).double()
        return (diagonal / beta).log1p().sum(-1).to(curvature.dtype)

    def penalty_of_root(self, root: Float[Tensor, "B *D d"], beta: float) -> Float[Tensor, " B"]:
        r"""$\sum_i\log(1+\|T_{:i}\|^2/\beta)$."""
        return logdet.of_columns(root.flatten(1, -2), positive("beta", beta)).sum(-1).to(root.dtype)


class Blocks(Structure):
    """Blocks of neighbouring latents, independent of each other; subclasses say how large a block is."""

    @abstractmethod
    def block_size(self, latents: int) -> int:
        """The size of the (largest) block when there are ``latents`` dimensions."""

    def groups(self, latents: int) -> Int[Tensor, " d"]:
        """The block."""
        return torch.arange(latents) // self.block_size(latents)

    def num_parameters(self, latents: int) -> int:
        """The entries on and below each block's diagonal."""
        size = self.block_size(latents)
        whole, rest = divmod(latents, size)
        return whole * _triangle(size) + _triangle(rest)

    def factor(self, parameters: Float[Tensor, "B P"], latents: int) -> BlockFactor:
        """Parameters fill each block's lower triangle row by row; the diagonal is exponentiated."""
        check_count(parameters, self, latents)
        size = self.block_size(latents)
        count = -(-latents // size)
        padded = torch.nn.functional.pad(parameters, (0, count * _triangle(size) - parameters.shape[-1]))
        rows, columns = torch.tril_indices(size, size, device=parameters.device)
        # index by gathering, not by writing into a tensor: it stays differentiable in every mode and under autocast
        position = torch.full((size, size), _triangle(size), dtype=torch.long, device=parameters.device)
        position[rows, columns] = torch.arange(_triangle(size), device=parameters.device)
        triangles = torch.nn.functional.pad(padded.unflatten(-1, (count, -1)), (0, 1))
        raw = triangles[..., position]
        diagonal = raw.diagonal(dim1=-2, dim2=-1)
        return BlockFactor(raw.tril(-1) + torch.diag_embed(diagonal.exp()), latents)

    def restrict(self, matrix: Float[Tensor, "B d d"]) -> Float[Tensor, "B d d"]:
        """The blocks on the diagonal."""
        latents = matrix.shape[-1]
        block = torch.arange(latents, device=matrix.device) // self.block_size(latents)
        return matrix * (block[:, None] == block)

    def optimal(self, curvature: Float[Tensor, "B d d"], beta: float) -> BlockFactor:
        r"""$\Sigma^*_b=(I+M_{bb}/\beta)^{-1}$ for each block."""
        positive("beta", beta)
        latents = curvature.shape[-1]
        with full_precision(curvature):
            return BlockFactor(_inverse_root(self._blocks(curvature), beta).to(curvature.dtype), latents)

    def penalty(self, curvature: Float[Tensor, "B d d"], beta: float) -> Float[Tensor, " B"]:
        r"""$\sum_b\log|I+M_{bb}/\beta|$, from eigenvalues, so that it keeps its digits where $M\ll\beta$."""
        positive("beta", beta)
        return logdet.of_curvature(self._blocks(curvature), beta).sum(-1).to(curvature.dtype)

    def penalty_of_root(self, root: Float[Tensor, "B *D d"], beta: float) -> Float[Tensor, " B"]:
        r"""$\sum_b\log|I+T_b^\top T_b/\beta|$ of each block's columns; no product across blocks is formed."""
        positive("beta", beta)
        blocks = self.columns(root.flatten(1, -2))
        return logdet.of_root(blocks.flatten(0, 1), beta).unflatten(0, blocks.shape[:2]).sum(-1).to(root.dtype)

    def columns(self, flat: Float[Tensor, "B D d"]) -> Float[Tensor, "B n D b"]:
        """Each block's columns, the last block's padded with zeros."""
        size = self.block_size(flat.shape[-1])
        return torch.nn.functional.pad(flat, (0, -flat.shape[-1] % size)).unflatten(-1, (-1, size)).movedim(-2, 1)

    def _blocks(self, matrix: Float[Tensor, "B d d"]) -> Float[Tensor, "B n b b"]:
        """The blocks on the diagonal, the last one padded with zeros."""
        latents = matrix.shape[-1]
        size = self.block_size(latents)
        count = -(-latents // size)
        padding = count * size - latents
        padded = torch.nn.functional.pad(matrix, (0, padding, 0, padding))
        return padded.reshape(-1, count, size, count, size).diagonal(dim1=1, dim2=3).movedim(-1, 1)


class BlockDiagonal(Blocks):
    r"""Blocks of ``size`` neighbouring latents; the last block is smaller where d is not a multiple of it.

    $\Sigma^*_b=(I+M_{bb}/\beta)^{-1}$ for each block and the penalty is $\sum_b\log|I+M_{bb}/\beta|$.

    Args:
        size: latents in a block, ≥ 1.

    Raises:
        InputError: if ``size`` is not a whole number ≥ 1.

    Example:
        >>> curvature = torch.full((1, 3, 3), 1.0)
        >>> BlockDiagonal(2).penalty(curvature, beta=1.0).exp()   # |I + 1 1ᵀ| of sizes 2 and 1: 3 · 2
        tensor([6.])
    """

    def __init__(self, size: int) -> None:
        self.size = positive_int("block size", size)

    def block_size(self, latents: int) -> int:
        """``size``, or all latents where there are fewer."""
        return min(self.size, latents)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.size})"


class Full(Blocks):
    r"""Any covariance: one block of all latents. $\Sigma^*=(I+M/\beta)^{-1}$ and penalty $\log|I+M/\beta|$.

    Example:
        >>> Full().penalty(torch.diag(torch.tensor([3.0, 1.0]))[None], beta=1.0).exp()
        tensor([8.])
    """

    def block_size(self, latents: int) -> int:
        """All latents."""
        return latents


def _triangle(size: int) -> int:
    return size * (size + 1) // 2


def check_count(parameters: Tensor, structure: Structure, latents: int) -> None:
    """Refuse parameters of another number than the structure takes."""
    expected = structure.num_parameters(latents)
    if parameters.shape[-1] != expected:
        raise InputError(
            f"{structure} of {latents} latents takes {expected} parameters per sample; got {parameters.shape[-1]}"
        )


def _inverse_root(curvature: Float[Tensor, "B n b b"], beta: float) -> Float[Tensor, "B n b b"]:
    r"""Lower-triangular $L$ with $LL^\top=P^{-1}$, $P=I+M/\beta$, in float64.

    The Cholesky factor of the reversed matrix gives $P=UU^\top$ with $U$ upper triangular, so $L=U^{-\top}$: no
    inverse is formed and factored again.
    """
    identity = torch.eye(curvature.shape[-1], dtype=torch.float64, device=curvature.device)
    matrices, broken = finite_or_zero(curvature.double())
    reversed_factor, failed = torch.linalg.cholesky_ex((matrices / beta + identity).flip(-1, -2))
    if bool(failed.any()):
        root = _inverse_root_by_eigenvalues(curvature, beta)
    else:
        root = inverse(reversed_factor.flip(-1, -2).mT)
    return root.masked_fill(broken[..., None, None], torch.nan)


def _inverse_root_by_eigenvalues(curvature: Float[Tensor, "B n b b"], beta: float) -> Float[Tensor, "B n b b"]:
    """The same where β is below the rounding of M; slower, and its derivatives are refused."""
    with torch.no_grad():
        values, vectors = torch.linalg.eigh(finite_or_zero(curvature.detach().double())[0])
        values = logdet.without_noise(values, curvature.dtype)
        logdet.check_spectrum(values, beta)
        upper = torch.linalg.qr((1 + values / beta).rsqrt().unsqueeze(-1) * vectors.mT).R
        root = upper.mT * upper.diagonal(dim1=-2, dim2=-1).sign().unsqueeze(-2)
    return without_gradient(root, curvature, "an optimal covariance with beta below the rounding of M")
