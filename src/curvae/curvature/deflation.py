r"""Taking what is known of M out of $\log|I+M/\beta|$, exactly."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from curvae._rank import finite_or_zero
from curvae._typing import Float, Int, Tensor
from curvae.curvature.lanczos import Bidiagonalisation, Pull, Push

# squared sine below which a direction is taken for one that is there already
_NEW = 1e-2


@dataclass(frozen=True)
class Products:
    """T and its transpose, and latents for their type and place."""

    push: Push
    pull: Pull
    like: Float[Tensor, "B d"]


@dataclass(frozen=True)
class Deflation:
    r"""$\log|I+M/\beta|=\log|P|+\log|I+N/\beta|$ with $P=I+T^\top\Pi T/\beta$ and $N=S^\top S$, $S=(I-\Pi)TP^{-1/2}$.

    $\Pi=LL^\top$ projects on directions in output space that have been pulled back, so that $P$ is known, of low rank
    beside I, and everything that it sees of M is out of N. With $L$ from Krylov spaces of M it sees most of the largest
    eigenvalues. The identity holds for every $L$.
    """

    outputs: Float[Tensor, "B D r"]  # L, orthonormal columns in the outputs, zeros where there is nothing new
    pulled: Float[Tensor, "B d r"]  # T' L
    vectors: Float[Tensor, "B d q"]  # its left singular vectors
    nodes: Float[Tensor, "B q"]  # its squared singular values
    beta: float

    @property
    def logs(self) -> Float[Tensor, "B q"]:
        """Their sum is log|P|."""
        return (self.nodes / self.beta).log1p()

    @property
    def rank(self) -> Int[Tensor, " B"]:
        """Of Π."""
        return (self.outputs.square().sum(1) > 0.5).sum(-1)

    def products(self, of: Products) -> Products:
        """S for T."""
        outputs = self.outputs.to(of.like)

        def outside(u: Tensor) -> Tensor:
            flat = u.flatten(1, -2)
            return (flat - outputs @ (outputs.mT @ flat)).view(u.shape)

        return Products(
            lambda v: outside(of.push(self.power(-0.5, v))), lambda u: self.power(-0.5, of.pull(outside(u))), of.like
        )

    def power(self, exponent: float, v: Float[Tensor, "B d K"]) -> Float[Tensor, "B d K"]:
        """P to a power, times vectors."""
        vectors, factor = self.vectors.to(v), ((1 + self.nodes / self.beta) ** exponent - 1).to(v)
        return v + vectors @ (factor.unsqueeze(-1) * (vectors.mT @ v))


def deflation(process: Bidiagonalisation, beta: float, known: Deflation | None = None) -> Deflation:
    """By the left bases of a process, which has been pulled last, beside what was ``known`` when it was started."""
    left = torch.stack(process.left).flatten(2, -2).double().permute(1, 2, 0, 3).flatten(2)
    right = torch.stack(process.right).double()
    pulled = torch.einsum("nbdk,bkmn->bdmk", right, process.matrix).flatten(2)
    left, pulled = finite_or_zero(left)[0], finite_or_zero(pulled)[0]
    if known is not None:  # what rounding has left of it
        left = left - known.outputs @ (known.outputs.mT @ left)
    squares, turn = torch.linalg.eigh(left.mT @ left)  # the probes' bases are orthonormal each by itself only
    turn = turn * torch.where(squares > _NEW, squares.clamp(min=_NEW).rsqrt(), 0.0).unsqueeze(-2)
    left, pulled = left @ turn, pulled @ turn
    if known is not None:  # the process pulled by P^(-1/2) T' (I − Π)
        left = torch.cat([known.outputs, left], -1)
        pulled = torch.cat([known.pulled, known.power(0.5, pulled)], -1)
    vectors, singular, _ = torch.linalg.svd(pulled, full_matrices=False)
    return Deflation(left, pulled, vectors, singular.square(), beta)
