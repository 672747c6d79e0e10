r"""$\log|I+M/\beta|$ from products with M alone: stochastic Lanczos quadrature."""

from __future__ import annotations

from collections.abc import Callable

import torch

from curvae._checks import positive, positive_int
from curvae._once import with_gradient_of
from curvae._precision import full_precision
from curvae._rank import NOISE, finite_or_zero, negligible
from curvae._typing import Float, Tensor
from curvae.curvature.estimator import Estimator, PenaltyEstimate, spread
from curvae.curvature.linearised import Linearised
from curvae.curvature.probes import Probes, Signs, check_probes
from curvae.errors import InputError
from curvae.posteriors import Full, Structure


class Lanczos(Estimator):
    r"""The :class:`~curvae.posteriors.Full` penalty where no d columns can be had: d in the thousands.

    For each probe $v$ (:class:`~curvae.curvature.Signs` and others, $\mathbb E[vv^\top]=I$), ``depth`` steps of
    Golub–Kahan bidiagonalisation give $B_m=P^\top TQ$ with $M=T^\top T$, so that $B_m^\top B_m=Q^\top MQ$ is the
    tridiagonal matrix of Lanczos, and Gauss quadrature
    $\|v\|^2e_1^\top\log(I+B_m^\top B_m/\beta)e_1\approx v^\top\log(I+M/\beta)v$, whose expectation is the penalty.
    A step is one product pair, a forward-mode and a reverse-mode product with the decoder; the last needs no reverse.

    **Value.** Unbiased up to the quadrature's error, which is never negative (the logarithm's even derivatives are
    negative), falls like $\big(\tfrac{\sqrt\kappa-1}{\sqrt\kappa+1}\big)^{2m}$ with $\kappa=1+\|M\|/\beta$, and is no
    part of the standard error: a small β needs a large ``depth``.

    **Gradient.** That of $\log|I+M/\beta|$ is $2\,\mathbb E[u^\top(\partial T)v]$ with
    $u=(\beta I+TT^\top)^{-1}Tv$; in the same space $u\approx\|v\|PB_m(\beta I+B_m^\top B_m)^{-1}e_1$, T times the
    conjugate gradient's iterate. So the returned value carries the gradient of $2\langle u,Tv\rangle$ with $u,v$ held
    fixed: one more forward-mode pass with one tangent a probe. Unbiased up to the error of $u$, which falls like
    $\big(\tfrac{\sqrt\kappa-1}{\sqrt\kappa+1}\big)^m$. Second derivatives are refused.

    **Rounding.** T is used, and not M, because rounding changes the singular values of a matrix by ε of the largest:
    the eigenvalues of M are then good to $\varepsilon^2\|M\|$. Products with M alone leave
    $\varepsilon\|M\|$, which the directions that M does not see take for curvature, and $(\beta I+M)^{-1}v$ is huge
    in just these. Both bases are orthogonalised anew in every step, and what falls below 8 ε is zero. In float32, for
    $\|M\|/\beta=10^{-3}\dots10^9$ and M of any rank, "never negative" and "falls" then hold to 0.1 % of the value,
    and at full depth $u$ is exact to 2 % (10 % where singular values of T go down to rounding). The price is memory for
    ``depth`` vectors in output space for each probe.

    Source: Ubaru, Chen & Saad, "Fast estimation of tr(f(A)) via stochastic Lanczos quadrature", 2017; Gardner et al.,
    "GPyTorch", 2018, for the gradient.

    Args:
        depth: m, steps, ≥ 1; more than d or D + 1 are of no use and not made.
        probes: their number times ``depth`` is the number of product pairs; default ``Signs(4)``.

    Raises:
        InputError: if ``depth`` is not ≥ 1, ``probes`` is a number, or the structure is not ``Full()``.
        DerivativeError: when the penalty's gradient is differentiated, or the penalty by forward mode.

    Example:
        >>> from curvae.likelihoods import Gaussian
        >>> z = torch.zeros(1, 500)
        >>> eta, penalty = Lanczos(depth=2).penalty(Linearised(lambda z: z, z, z, Gaussian()), Full(), beta=1.0)
        >>> penalty / 500  # log 2
        tensor([0.6931])
    """

    def __init__(self, depth: int = 16, probes: Probes | None = None) -> None:
        self.depth = positive_int("depth", depth)
        self.probes = Signs(4) if probes is None else probes
        check_probes(self.probes)

    def check(self, structure: Structure) -> None:
        """Only the full structure's penalty is a function of M as a whole."""
        if not isinstance(structure, Full):
            raise InputError(f"Lanczos estimates the penalty of Full() only; got {structure}: use Columns or Exact")

    def estimate(
        self, at: Linearised, structure: Structure, beta: float, generator: torch.Generator | None = None
    ) -> PenaltyEstimate:
        """Draw the probes with ``generator``; the standard error is over them."""
        self.check(structure)
        positive("beta", beta)
        z, shape, operator = at.latents, at.point.shape[1:], at.operator()
        probes = self.probes.draw(z.detach(), generator)
        depth = min(self.depth, z.shape[1], operator.eta[:1].numel() + 1)
        with full_precision(z):
            push = lambda v: operator.push(v.unflatten(1, shape))  # noqa: E731
            pull = lambda u: operator.pull(u).flatten(1, -2)  # noqa: E731
            terms, solutions = quadrature(push, pull, probes, depth, beta)
            value = terms.mean(-1)
        if torch.is_grad_enabled():
            pushed = operator.root(probes.unflatten(1, shape))
            with full_precision(z):
                slope = 2 * (pushed * solutions).flatten(1).sum(1) / probes.shape[-1]
            value = with_gradient_of(value, slope, "the penalty by Lanczos")
        return PenaltyEstimate(operator.eta, value, spread(terms))

    def __repr__(self) -> str:
        return f"Lanczos(depth={self.depth}, probes={self.probes})"


Push = Callable[[Float[Tensor, "B d K"]], Float[Tensor, "B *D K"]]
"""A matrix T for each sample, by its products with vectors."""
Pull = Callable[[Float[Tensor, "B *D K"]], Float[Tensor, "B d K"]]
"""Its transpose."""


@torch.no_grad()
def quadrature(
    push: Push, pull: Pull, probes: Float[Tensor, "B d K"], depth: int, beta: float
) -> tuple[Float[Tensor, "B K"], Float[Tensor, "B *D K"]]:
    r"""$v^\top\log(I+T^\top T/\beta)\,v$ and $(\beta I+TT^\top)^{-1}Tv$ for each probe, from one Krylov space each.

    Example:
        >>> quadrature(lambda v: 2 * v, lambda u: 2 * u, torch.ones(1, 2, 1), depth=1, beta=1.0)[0]  # 2 log 5
        tensor([[3.2189]])
    """
    length = torch.linalg.vector_norm(probes, dim=1, dtype=torch.float64)
    left, bidiagonal = bidiagonalise(push, pull, (probes / length.unsqueeze(1)).to(probes.dtype), depth)
    bidiagonal, diverged = finite_or_zero(bidiagonal)
    outer, sigma, inner = torch.linalg.svd(bidiagonal)
    sigma = torch.where(negligible(sigma, probes.dtype), 0.0, sigma)
    first = inner[..., 0]
    values = length.square() * (first.square() * (sigma.square() / beta).log1p()).sum(-1)
    coordinates = (outer @ (first * sigma / (beta + sigma.square())).unsqueeze(-1)).squeeze(-1) * length.unsqueeze(-1)
    coordinates = coordinates.masked_fill(diverged.unsqueeze(-1), torch.nan).to(probes.dtype)
    return values.masked_fill(diverged, torch.nan).to(probes.dtype), torch.einsum(
        "mb...k,bkm->b...k", left, coordinates
    )


class Bidiagonalisation:
    r"""Golub and Kahan's process: orthonormal bases $P$ and $Q$ of Krylov spaces and $B=P^\top TQ$, upper bidiagonal.

    Where a space is exhausted, the remaining basis vectors are zero and the remaining rows of $B$ too, decoupled from
    the rest. It starts with unit vectors, the first of $Q$.
    """

    def __init__(self, push: Push, pull: Pull, start: Float[Tensor, "B d K"]) -> None:
        self._push, self._pull = push, pull
        self.right, self.left = [start], list[Tensor]()
        self._diagonal, self._beside = list[Tensor](), list[Tensor]()
        self._largest = torch.zeros_like(start[:, 0], dtype=torch.float64)

    def push(self) -> None:
        """One more vector of $P$, a column of $B$."""
        self._add(self._push(self.right[-1]), self.left, self._diagonal)

    def pull(self) -> None:
        """One more vector of $Q$, which with the next ``push`` is a column of $B$."""
        self._add(self._pull(self.left[-1]), self.right, self._beside)

    def _add(self, image: Tensor, basis: list[Tensor], lengths: list[Tensor]) -> None:
        length, unit = _orthonormal(image, basis, self._largest)
        self._largest = self._largest.maximum(length)
        lengths.append(length)
        basis.append(unit)

    @property
    def count(self) -> int:
        """K, of start vectors for each sample."""
        return self.right[0].shape[-1]

    @property
    def depth(self) -> int:
        """m, of vectors in each left basis."""
        return len(self.left)

    @property
    def matrix(self) -> Float[Tensor, "B K m n"]:
        """$B$ in float64: square after a ``push``, with one more column after a ``pull``."""
        diagonal, beside = torch.stack(self._diagonal, -1), self._beside
        rows = len(self._diagonal)
        wide = torch.diag_embed(diagonal)
        if len(beside) == rows:
            wide = torch.nn.functional.pad(wide, (0, 1))
        if beside:
            wide = wide + torch.diag_embed(torch.stack(beside, -1), 1)[..., :rows, : wide.shape[-1]]
        return wide


@torch.no_grad()
def bidiagonalise(
    push: Push, pull: Pull, start: Float[Tensor, "B d K"], depth: int
) -> tuple[Float[Tensor, "m B *D K"], Float[Tensor, "B K m m"]]:
    r"""The left basis and the square matrix of ``depth`` ≥ 1 steps of :class:`Bidiagonalisation`."""
    process = Bidiagonalisation(push, pull, start)
    process.push()
    for _ in range(depth - 1):
        process.pull()
        process.push()
    return torch.stack(process.left), process.matrix


def _orthonormal(
    image: Float[Tensor, "B *N K"], basis: list[Float[Tensor, "B *N K"]], largest: Float[Tensor, "B K"]
) -> tuple[Float[Tensor, "B K"], Float[Tensor, "B *N K"]]:
    """What the images add to the bases: its length, and its direction; zero where it is rounding."""
    if basis:
        spanned = torch.stack(basis)
        for _ in range(2):  # twice is enough, once is not
            image = image - torch.einsum(
                "mb...k,mbk->b...k", spanned, torch.einsum("mb...k,b...k->mbk", spanned, image)
            )
    length = torch.linalg.vector_norm(image.flatten(1, -2), dim=1, dtype=torch.float64)
    ended = length <= NOISE * torch.finfo(image.dtype).eps * largest
    wide = (slice(None), *[None] * (image.dim() - 2))
    unit = (image / length.masked_fill(ended, 1.0)[wide]).to(image.dtype)
    return length.masked_fill(ended, 0.0), unit.masked_fill(ended[wide], 0.0)
