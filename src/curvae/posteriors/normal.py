"""The variational posterior: a normal distribution with a structured covariance."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from curvae._part import drawn
from curvae._random import stream
from curvae._repr import OneLine
from curvae._typing import Float, Tensor
from curvae.posteriors.factor import Factor


@dataclass(frozen=True, repr=False)
class Normal(OneLine):
    r"""$q(z\mid x)=\mathcal N(h,\Sigma)$ for a batch, $\Sigma=LL^\top$.

    Args:
        mean: $h$, vectors ``[B, d]`` or latents of any other shape ``[B, *L]``; the factor sees vectors.
        factor: $L$.

    Example:
        >>> from curvae.posteriors import Full
        >>> q = Normal(torch.zeros(1, 2), Full().factor(torch.zeros(1, 3), latents=2))
        >>> q.kl()
        tensor([0.])
    """

    mean: Float[Tensor, "B *L"]
    factor: Factor

    def rsample(self, generator: torch.Generator | None = None, samples: tuple[int, ...] = ()) -> Float[Tensor, "*SBL"]:
        r"""$h+L\epsilon$ with $\epsilon\sim\mathcal N(0,I)$, ``[*samples, B, *L]``; differentiable in $h$ and $L$."""
        source, like, shape = stream(generator), self.mean, self.mean.shape[1:]
        noise = drawn(
            lambda n: torch.randn((*samples, n, *shape), generator=source, dtype=like.dtype, device=like.device),
            len(like),
            axis=len(samples),
        )
        return self.mean + self.factor.apply(self._vectors(noise)).view(noise.shape)

    def kl(self) -> Float[Tensor, " B"]:
        r"""$\mathrm{KL}(q\,\|\,\mathcal N(0,I))=\tfrac12(\|h\|^2+\mathrm{tr}\,\Sigma-\log|\Sigma|-d)$, as in (8)."""
        mean = self.mean.flatten(1)
        return 0.5 * (mean.square().sum(-1) + self.factor.trace() - self.factor.log_det() - mean.shape[-1])

    def log_prob(self, z: Float[Tensor, "*SBL"]) -> Float[Tensor, "*SB"]:
        r"""$\log q(z\mid x)$."""
        whitened = self.factor.solve(self._vectors(z - self.mean))
        constant = whitened.shape[-1] * math.log(2 * math.pi)
        return -0.5 * (whitened.square().sum(-1) + self.factor.log_det() + constant)

    def covariance(self) -> Float[Tensor, "B d d"]:
        r"""$\Sigma$, dense, of the latents as one vector."""
        return self.factor.covariance()

    def precision(self) -> Float[Tensor, "B d d"]:
        r"""$\Sigma^{-1}$, dense, of the latents as one vector."""
        return self.factor.precision()

    def _vectors(self, latents: Float[Tensor, "*SBL"]) -> Float[Tensor, "*SB d"]:
        return latents.flatten(1 - self.mean.dim())
