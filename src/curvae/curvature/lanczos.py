r"""$\log|I+M/\beta|$ from products with M alone: stochastic Lanczos quadrature."""

from __future__ import annotations

from collections.abc import Callable

import torch

from curvae._checks import positive, positive_int
from curvae._precision import full_precision
from curvae._typing import Float, Tensor
from curvae.curvature.estimator import Estimate, Estimator, spread
from curvae.curvature.operator import Operator
from curvae.curvature.probes import Probes, Signs
from curvae.curvature.pushforward import Decoder
from curvae.errors import InputError
from curvae.likelihoods import Likelihood
from curvae.posteriors import Full, Structure


class Lanczos(Estimator):
    r"""The :class:`~curvae.posteriors.Full` penalty where no d columns can be had: d in the thousands.

    For each probe $v$ (:class:`~curvae.curvature.Signs` and others, $\mathbb E[vv^\top]=I$), ``depth`` steps of
    Lanczos with full reorthogonalisation give a tridiagonal $T_m=Q^\top MQ$, and Gauss quadrature
    $\|v\|^2e_1^\top\log(I+T_m/\beta)e_1\approx v^\top\log(I+M/\beta)v$, whose expectation is the penalty.
    A step is one product pair, a forward-mode and a reverse-mode product with the decoder.

    **Value.** Unbiased up to the quadrature's error, which is never negative (the logarithm's even derivatives are
    negative), falls like $\big(\tfrac{\sqrt\kappa-1}{\sqrt\kappa+1}\big)^{2m}$ with $\kappa=1+\|M\|/\beta$, and is no
    part of the standard error: a small β needs a large ``depth``.

    **Gradient.** That of $\log|I+M/\beta|$ is $\mathbb E[w^\top(\partial M)v]$ with $w=(\beta I+M)^{-1}v$; in the same
    Krylov space $w\approx\|v\|Q(\beta I+T_m)^{-1}e_1$, which is the conjugate gradient's iterate. So the returned value
    carries the gradient of $\langle TV,TW\rangle$ with $v,w$ held fixed: one more forward-mode pass with two tangents
    a probe. Unbiased up to the error of $w$, which falls like $\big(\tfrac{\sqrt\kappa-1}{\sqrt\kappa+1}\big)^m$.

    Source: Ubaru, Chen & Saad, "Fast estimation of tr(f(A)) via stochastic Lanczos quadrature", 2017; Gardner et al.,
    "GPyTorch", 2018, for the gradient.

    Args:
        depth: m, Lanczos steps, ≥ 1; more than d are of no use.
        probes: their number times ``depth`` is the number of product pairs; default ``Signs(4)``.

    Raises:
        InputError: if ``depth`` is not ≥ 1, or the structure is not ``Full()``.

    Example:
        >>> from curvae.likelihoods import Gaussian
        >>> z = torch.zeros(1, 500)
        >>> eta, penalty = Lanczos(depth=2).penalty(lambda z: z, z, z, Gaussian(), Full(), beta=1.0)
        >>> penalty / 500  # log 2
        tensor([0.6931])
    """

    def __init__(self, depth: int = 16, probes: Probes | None = None) -> None:
        self.depth = positive_int("depth", depth)
        self.probes = Signs(4) if probes is None else probes

    def check(self, structure: Structure) -> None:
        """Only the full structure's penalty is a function of M as a whole."""
        if not isinstance(structure, Full):
            raise InputError(f"Lanczos estimates the penalty of Full() only; got {structure}: use Columns or Exact")

    def estimate(
        self,
        fn: Decoder,
        z: Float[Tensor, "B d"],
        x: Tensor,
        likelihood: Likelihood,
        structure: Structure,
        beta: float,
        generator: torch.Generator | None = None,
    ) -> Estimate:
        """Draw the probes with ``generator``; the standard error is over them."""
        self.check(structure)
        positive("beta", beta)
        operator = Operator(fn, z, x, likelihood)
        probes = self.probes.draw(z.detach(), generator)
        with full_precision(z):
            terms, solutions = quadrature(operator, probes, min(self.depth, z.shape[1]), beta)
        value = terms.mean(-1)
        if torch.is_grad_enabled():
            value = value + _with_gradient_only(operator, probes, solutions)
        return Estimate(operator.eta, value, spread(terms))

    def __repr__(self) -> str:
        return f"Lanczos(depth={self.depth}, probes={self.probes})"


Product = Callable[[Float[Tensor, "B d K"]], Float[Tensor, "B d K"]]
"""A symmetric positive semi-definite matrix for each datum, by its products."""


@torch.no_grad()
def quadrature(
    product: Product, probes: Float[Tensor, "B d K"], depth: int, beta: float
) -> tuple[Float[Tensor, "B K"], Float[Tensor, "B d K"]]:
    r"""$v^\top\log(I+M/\beta)\,v$ and $(\beta I+M)^{-1}v$ for each probe, from one Krylov space each.

    Args:
        product: $v\mapsto Mv$.
        probes: start vectors.
        depth: dimension of the Krylov spaces, ≥ 1.
        beta: β.

    Example:
        >>> quadrature(lambda v: 3 * v, torch.ones(1, 2, 1), depth=1, beta=1.0)[0]  # 2 log 4
        tensor([[2.7726]])
    """
    length = torch.linalg.vector_norm(probes, dim=1)
    basis, tridiagonal = lanczos(product, probes / length.unsqueeze(1), depth)
    nodes, vectors = torch.linalg.eigh(tridiagonal)
    nodes, first = nodes.clamp(min=0), vectors[..., 0, :]
    values = length.double().square() * (first.square() * (nodes / beta).log1p()).sum(-1)
    coordinates = (vectors @ (first / (beta + nodes)).unsqueeze(-1)).squeeze(-1) * length.double().unsqueeze(-1)
    return values.to(probes.dtype), torch.einsum("mbdk,bkm->bdk", basis, coordinates.to(probes.dtype))


@torch.no_grad()
def lanczos(
    product: Product, start: Float[Tensor, "B d K"], depth: int
) -> tuple[Float[Tensor, "m B d K"], Float[Tensor, "B K m m"]]:
    r"""An orthonormal basis $Q$ of each Krylov space and $T=Q^\top MQ$, tridiagonal, in float64.

    Where a space is exhausted before ``depth`` steps, the remaining basis vectors are zero and the remaining rows of
    $T$ too, decoupled from the rest.

    Args:
        product: $v\mapsto Mv$.
        start: unit vectors.
        depth: m ≥ 1.
    """
    basis = [start]
    diagonal: list[Tensor] = []
    off_diagonal: list[Tensor] = []
    for step in range(depth):
        image = product(basis[-1])
        diagonal.append((image * basis[-1]).sum(1))
        if step == depth - 1:
            break
        spanned = torch.stack(basis)
        for _ in range(2):  # twice is enough, once is not
            image = image - torch.einsum("mbdk,mbk->bdk", spanned, torch.einsum("mbdk,bdk->mbk", spanned, image))
        rest = torch.linalg.vector_norm(image, dim=1)
        scale = torch.stack([*diagonal, *off_diagonal]).abs().amax(0)
        ended = rest <= 32 * torch.finfo(start.dtype).eps * scale
        off_diagonal.append(rest.masked_fill(ended, 0))
        basis.append((image / rest.masked_fill(ended, 1).unsqueeze(1)).masked_fill(ended.unsqueeze(1), 0))
    tridiagonal = torch.diag_embed(torch.stack(diagonal, -1).double())
    if off_diagonal:
        beside = torch.stack(off_diagonal, -1).double()
        tridiagonal = tridiagonal + torch.diag_embed(beside, 1) + torch.diag_embed(beside, -1)
    return torch.stack(basis), tridiagonal


def _with_gradient_only(
    operator: Operator, probes: Float[Tensor, "B d K"], solutions: Float[Tensor, "B d K"]
) -> Float[Tensor, " B"]:
    r"""Zero, with the gradient of the mean of $\langle Tv,Tw\rangle$ over the probes."""
    pushed = operator.root(torch.cat([probes, solutions], -1))
    with full_precision(pushed):
        left, right = pushed.flatten(1, -2).chunk(2, -1)
        mean = (left * right).sum(1).mean(-1)
    return mean - mean.detach()
