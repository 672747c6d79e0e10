"""The variational posterior: a normal distribution with a structured covariance."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from curvae._random import stream
from curvae._repr import OneLine
from curvae._typing import Float, Tensor
from curvae.posteriors.factor import Factor


@dataclass(frozen=True, repr=False)
class Normal(OneLine):
    r"""$q(z\mid x)=\mathcal N(h,\Sigma)$ for a batch, $\Sigma=LL^\top$.

    Args:
        mean: $h$, ``[B, d]``.
        factor: $L$.

    Example:
        >>> from curvae.posteriors import Full
        >>> q = Normal(torch.zeros(1, 2), Full().factor(torch.zeros(1, 3), latents=2))
        >>> q.kl()
        tensor([0.])
    """

    mean: Float[Tensor, "B d"]
    factor: Factor

    def rsample(
        self, generator: torch.Generator | None = None, samples: tuple[int, ...] = ()
    ) -> Float[Tensor, "*S B d"]:
        r"""$h+L\epsilon$ with $\epsilon\sim\mathcal N(0,I)$; differentiable in $h$ and $L$."""
        shape = (*samples, *self.mean.shape)
        noise = torch.randn(shape, generator=stream(generator), dtype=self.mean.dtype, device=self.mean.device)
        return self.mean + self.factor.apply(noise)

    def kl(self) -> Float[Tensor, " B"]:
        r"""$\mathrm{KL}(q\,\|\,\mathcal N(0,I))=\tfrac12(\|h\|^2+\mathrm{tr}\,\Sigma-\log|\Sigma|-d)$, as in (8)."""
        squares = self.mean.square().sum(-1)
        return 0.5 * (squares + self.factor.trace() - self.factor.log_det() - self.mean.shape[-1])

    def log_prob(self, z: Float[Tensor, "*S B d"]) -> Float[Tensor, "*S B"]:
        r"""$\log q(z\mid x)$."""
        whitened = self.factor.solve(z - self.mean)
        constant = self.mean.shape[-1] * math.log(2 * math.pi)
        return -0.5 * (whitened.square().sum(-1) + self.factor.log_det() + constant)

    def covariance(self) -> Float[Tensor, "B d d"]:
        r"""$\Sigma$, dense."""
        return self.factor.covariance()

    def precision(self) -> Float[Tensor, "B d d"]:
        r"""$\Sigma^{-1}$, dense."""
        return self.factor.precision()
