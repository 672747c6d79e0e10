"""Observation models for values in [0, 1] and for heavy tails."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from curvae._checks import positive
from curvae._typing import Float, Tensor
from curvae.likelihoods.base import Location, UnitInterval, check_same_shape, per_sample


class ContinuousBernoulli(UnitInterval):
    r"""The normalised density on $[0,1]$ that the Bernoulli's cross-entropy lacks, on logits $\eta$.

    $\log p=x\eta-A(\eta)$ with $A=\log\frac{e^\eta-1}\eta$, so $-H_{p_x}=A''=\frac1{\eta^2}-\frac1{4\sinh^2(\eta/2)}$:
    the variance, at most 1/12 and independent of $x$. Source: Loaiza-Ganem & Cunningham, NeurIPS 2019.

    Example:
        >>> ContinuousBernoulli().log_prob(torch.zeros(1, 2), torch.tensor([[0.2, 0.9]])).exp()   # uniform
        tensor([1.])
    """

    def nll(self, eta: Float[Tensor, "B *D"], x: Float[Tensor, "B *D"]) -> Float[Tensor, " B"]:
        r"""$A(\eta)-x\eta$."""
        check_same_shape(eta, x)
        # A(η) = η/2 + log(sinh u / u), u = η/2, by a series where the closed form cancels
        small, u, safe = _split(0.5 * eta)
        v, size = u.square(), 2 * safe.abs()
        series = v * _power_series(v, [c / (2 * k + 2) for k, c in enumerate(_COTH)]) + (1 - 2 * x) * u
        # A(η) − xη for η < 0; for η > 0 it is the mirror image
        exact = size * torch.where(eta < 0, x, 1 - x) + torch.log1p(-(-size).exp()) - size.log()
        return per_sample(torch.where(small, series, exact))

    def mean(self, eta: Float[Tensor, "B *D"]) -> Float[Tensor, "B *D"]:
        r"""$A'(\eta)=\tfrac12+\tfrac12(\coth\tfrac\eta2-\tfrac2\eta)$."""
        small, u, safe = _split(0.5 * eta)
        series = u * _power_series(u.square(), _COTH)
        return 0.5 + 0.5 * torch.where(small, series, 1 / safe.tanh() - 1 / safe)

    def sample(self, eta: Float[Tensor, "B *D"], generator: torch.Generator | None = None) -> Float[Tensor, "B *D"]:
        """By the inverse distribution function."""
        uniform = torch.rand(eta.shape, generator=generator, dtype=eta.dtype, device=eta.device)
        # the density at −η is the mirror image; for η ≥ 0 nothing overflows, and near 0 no digits are lost
        size = eta.abs().clamp_min(1e-6)
        draw = (1 + ((1 - uniform) * torch.expm1(-size)).log1p() / size).clamp(0, 1)
        return torch.where(eta < 0, 1 - draw, draw)

    def curvature(self, eta: Float[Tensor, "B *D"], x: Float[Tensor, "B *D"]) -> Float[Tensor, "B *D"]:
        r"""$A''(\eta)$."""
        # the root has no square of 1/η, which may underflow
        return self._root_curvature(eta, x).square()

    def _root_curvature(self, eta: Float[Tensor, "B *D"], x: Float[Tensor, "B *D"]) -> Float[Tensor, "B *D"]:
        small, u, safe = _split(0.5 * eta)
        series = _power_series(u.square(), [(2 * k + 1) * c for k, c in enumerate(_COTH)])
        # √(1/u² − 1/sinh²u), and sinh does not overflow
        size = safe.abs()
        ratio = 2 * size * (-size).exp() / (1 - (-2 * size).exp())
        exact = size.reciprocal() * (1 - ratio.square()).sqrt()
        return 0.5 * torch.where(small, series.sqrt(), exact)


class Laplace(Location):
    r"""Laplace noise of scale $b$: the absolute error.

    $\log p$ has a kink at $x=\eta$ and no curvature elsewhere, so ``whiten`` uses the Fisher information
    $\mathbb E[-H_{p_x}]=1/b^2$ in its place: the Gauss–Newton matrix becomes the Fisher information in the latents.

    Args:
        scale: $b$, > 0.

    Raises:
        InputError: if ``scale`` is not a finite number > 0.

    Example:
        >>> Laplace(scale=2.0).nll(torch.zeros(1, 2), torch.tensor([[1.0, -3.0]]))
        tensor([2.])
    """

    smooth = False

    def __init__(self, scale: float = 1.0) -> None:
        self.scale = positive("scale", scale)

    def nll(self, eta: Float[Tensor, "B *D"], x: Float[Tensor, "B *D"]) -> Float[Tensor, " B"]:
        r"""$|x-\eta|/b$."""
        check_same_shape(eta, x)
        return per_sample((x - eta).abs()) / self.scale

    def log_prob(self, eta: Float[Tensor, "B *D"], x: Float[Tensor, "B *D"]) -> Float[Tensor, " B"]:
        r"""$-|x-\eta|/b-D\log 2b$."""
        return -self.nll(eta, x) - eta.shape[1:].numel() * math.log(2 * self.scale)

    def sample(self, eta: Float[Tensor, "B *D"], generator: torch.Generator | None = None) -> Float[Tensor, "B *D"]:
        """An exponential with a random sign."""
        uniform = 2 * torch.rand(eta.shape, generator=generator, dtype=eta.dtype, device=eta.device)
        # in [0, 1) on either side: log 0 is never asked for
        return eta - self.scale * torch.where(uniform < 1, 1, -1) * torch.log1p(-(uniform % 1))

    def curvature(self, eta: Float[Tensor, "B *D"], x: Float[Tensor, "B *D"]) -> Float[Tensor, "B *D"]:
        r"""The Fisher information $1/b^2$."""
        return torch.full_like(eta, self.scale**-2)

    def __repr__(self) -> str:
        return f"Laplace(scale={self.scale:g})"


class StudentT(Location):
    r"""Student's t noise with $\nu$ degrees of freedom and scale $s$: outliers cost their logarithm.

    $\eta$ is the mean where $\nu>1$ and the median always.

    $\log p$ is not concave in $\eta$ (beyond $|x-\eta|>s\sqrt\nu$ it curves up), so ``whiten`` uses the Fisher
    information $\mathbb E[-H_{p_x}]=\frac{\nu+1}{(\nu+3)s^2}$ in place of $-H_{p_x}$.

    Args:
        dof: $\nu$, > 0.
        scale: $s$, > 0.

    Raises:
        InputError: if ``dof`` or ``scale`` is not a finite number > 0.

    Example:
        >>> StudentT(dof=1.0).nll(torch.zeros(1, 1), torch.ones(1, 1))     # Cauchy: log 2
        tensor([0.6931])
    """

    def __init__(self, dof: float, scale: float = 1.0) -> None:
        self.dof = positive("dof", dof)
        self.scale = positive("scale", scale)

    def nll(self, eta: Float[Tensor, "B *D"], x: Float[Tensor, "B *D"]) -> Float[Tensor, " B"]:
        r"""$\tfrac{\nu+1}2\log(1+\tfrac{(x-\eta)^2}{\nu s^2})$."""
        check_same_shape(eta, x)
        size = (x - eta) / (self.scale * math.sqrt(self.dof))
        near = size.abs() < 1
        # log(1 + u²) = 2 log u + log(1 + u⁻²), which has no square to overflow
        close, far = torch.where(near, size, 0.0), torch.where(near, 1.0, size)
        logarithm = close.square().log1p() + torch.where(
            near, 0.0, 2 * far.abs().log() + far.reciprocal().square().log1p()
        )
        return 0.5 * (self.dof + 1) * per_sample(logarithm)

    def log_prob(self, eta: Float[Tensor, "B *D"], x: Float[Tensor, "B *D"]) -> Float[Tensor, " B"]:
        """Minus the nll and the normaliser."""
        normaliser = (
            math.lgamma(0.5 * self.dof)
            - math.lgamma(0.5 * (self.dof + 1))
            + 0.5 * math.log(math.pi * self.dof)
            + math.log(self.scale)
        )
        return -self.nll(eta, x) - eta.shape[1:].numel() * normaliser

    def sample(self, eta: Float[Tensor, "B *D"], generator: torch.Generator | None = None) -> Float[Tensor, "B *D"]:
        r"""$\eta+s\,\epsilon/\sqrt{w}$ with $\epsilon$ normal and $w\sim\chi^2_\nu/\nu$."""
        noise = torch.randn(eta.shape, generator=generator, dtype=eta.dtype, device=eta.device)
        shape = torch.full_like(eta, 0.5 * self.dof)
        weight = torch._standard_gamma(shape, generator=generator) / shape
        return eta + self.scale * noise * weight.rsqrt()

    def curvature(self, eta: Float[Tensor, "B *D"], x: Float[Tensor, "B *D"]) -> Float[Tensor, "B *D"]:
        r"""The Fisher information $\frac{\nu+1}{(\nu+3)s^2}$."""
        return torch.full_like(eta, (self.dof + 1) / ((self.dof + 3) * self.scale**2))

    def __repr__(self) -> str:
        return f"StudentT(dof={self.dof:g}, scale={self.scale:g})"


_COTH = (1 / 3, -1 / 45, 2 / 945, -1 / 4725, 2 / 93555, -1382 / 638512875, 4 / 18243225)
r"""$\coth u-1/u$ in odd powers of u; below 0.3 it and two derivatives keep ten digits."""


def _power_series(v: Tensor, coefficients: Sequence[float]) -> Tensor:
    """By Horner's rule."""
    total = torch.zeros_like(v)
    for c in reversed(coefficients):
        total = total * v + c
    return total


def _split(u: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Where a series is better than the closed form, and u for either, with something harmless elsewhere."""
    small = u.abs() < 0.3
    return small, torch.where(small, u, 0.0), torch.where(small, 1.0, u)
