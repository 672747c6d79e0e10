r"""Gauss' quadrature for $v^\top\log(I+M/\beta)v$ and Radau's with a node at 0: the truth lies between them."""

from __future__ import annotations

import torch

from curvae._rank import finite_or_zero
from curvae._typing import Float, Tensor


def rule(
    bidiagonal: Float[Tensor, "B K m n"], beta: float, latents: int
) -> tuple[Float[Tensor, "B K"], Float[Tensor, "B K"]]:
    r"""$v^\top f(M)v$ and $v^\top f(M)^2v$ with $f=\log(1+\cdot/\beta)$, for probes of squared length d.

    The matrix $B=P^\top TQ$ is square for Gauss and has one more column for Radau, so that $B^\top B$ is singular.
    """
    nodes, weights = spectrum(bidiagonal)
    values = (nodes / beta).log1p()
    return latents * (weights * values).sum(-1), latents * (weights * values.square()).sum(-1)


def spectrum(bidiagonal: Float[Tensor, "B K m n"]) -> tuple[Float[Tensor, "B K m"], Float[Tensor, "B K m"]]:
    """The rule's nodes but for one at 0, and their weights; not a number where the matrix is none."""
    nodes, inner = _decomposed(bidiagonal)
    return nodes, inner[..., 0].square()


def image(bidiagonal: Float[Tensor, "B K m n"], beta: float) -> Float[Tensor, "B K n"]:
    """f(M) times the first vector of Q, in the basis Q: the rule's value is its first number."""
    nodes, inner = _decomposed(bidiagonal)
    return torch.einsum("bkm,bkmn->bkn", (nodes / beta).log1p() * inner[..., 0], inner)


def _decomposed(bidiagonal: Float[Tensor, "B K m n"]) -> tuple[Float[Tensor, "B K m"], Float[Tensor, "B K m n"]]:
    bidiagonal, broken = finite_or_zero(bidiagonal)
    _, sigma, inner = torch.linalg.svd(bidiagonal, full_matrices=False)
    return sigma.square().masked_fill(broken.unsqueeze(-1), torch.nan), inner


def between(bidiagonal: Float[Tensor, "B K m n"], beta: float, latents: int) -> tuple[Tensor, Tensor]:
    """The best of both rules, and their distance, ``[B, K]`` each."""
    rows = bidiagonal.shape[-2]
    gauss, radau = (rule(bidiagonal[..., :n], beta, latents)[0] for n in (rows, rows + 1))
    return gauss - radau_share(bidiagonal, beta) * (gauss - radau), gauss - radau


def radau_share(bidiagonal: Float[Tensor, "B K m n"], beta: float) -> Float[Tensor, "B 1"]:
    r"""Radau's weight in the best of both rules.

    For a spectrum on $[0,\lambda]$ the errors of both fall like $\rho^{-2m}$ and $-\rho^{-2m-1}$ with
    $\rho=(\sqrt\kappa+1)/(\sqrt\kappa-1)$, $\kappa=1+\lambda/\beta$. With weights $1/(1+\rho)$ and $\rho/(1+\rho)$, the
    second being $\tfrac12(1+\kappa^{-1/2})$, they cancel.
    """
    largest = spectrum(bidiagonal[..., : bidiagonal.shape[-2]])[0].amax((-1, -2)).unsqueeze(-1)
    return (1 + (1 + largest / beta).rsqrt()) / 2


def remainder(bidiagonal: Float[Tensor, "B K m n"], beta: float, latents: int) -> Float[Tensor, " B"]:
    """What further steps would change of the probes' mean: from the last changes, and from the rules' distance."""
    depth = bidiagonal.shape[-2]
    means = []
    for rows in range(max(1, depth - 2), depth + 1):
        value, gap = between(bidiagonal[..., :rows, : rows + 1], beta, latents)
        means.append(value.mean(-1))
    distance = gap.mean(-1)
    if depth < 3:
        return distance / 2
    before, last = (means[1] - means[0]).abs(), (means[2] - means[1]).abs()
    ratio = torch.where(before > 0, last / before, 0.0).clamp(max=0.9)
    return torch.maximum(2 * last * ratio / (1 - ratio), distance / 20)
