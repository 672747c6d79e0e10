r"""Priors other than $\mathcal N(0,I)$, as an invertible map in front of the decoder."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

from curvae._checks import positive_int
from curvae._typing import Float, Tensor
from curvae.errors import InputError


class NormalPrior(nn.Module):
    r"""The prior $\mathcal N(m,S)$, learned: $z=T(u)=m+Lu$ with $LL^\top=S$, to stand in front of a decoder.

    Where $z=T(u)$ with T invertible and $u\sim\mathcal N(0,I)$, the divergence of $q$ from the prior is the same in u
    as in z, and so is everything that the objectives are made of. A model whose decoder is
    ``Sequential(NormalPrior(d), decoder)`` therefore has this prior under (2), (4), (7), (10) and (12) to (14), with no
    other change; its latents are u. A structure is one of the covariance in u: with a diagonal S it is the same in z.

    Any invertible module serves in its place, a normalising flow for instance, or a map of ``(u, c)``
    (:class:`ConditionalNormalPrior`). Mixtures are no such map with a closed form.

    Args:
        latents: d.
        mean: m to begin with; default 0.
        covariance: S to begin with, positive definite; default I.

    Raises:
        InputError: ``latents`` is not ≥ 1, or m and S are not of d finite numbers and positive definite.

    Example:
        >>> prior = NormalPrior(2, mean=[1.0, -1.0], covariance=[[4.0, 0.0], [0.0, 0.25]])
        >>> prior(torch.ones(1, 2)).tolist(), prior.inverse(torch.zeros(1, 2)).tolist()
        ([[3.0, -0.5]], [[-0.5, 2.0]])
    """

    def __init__(
        self,
        latents: int,
        mean: Sequence[float] | Tensor | None = None,
        covariance: Sequence[Sequence[float]] | Tensor | None = None,
    ) -> None:
        super().__init__()
        d = positive_int("latents", latents)
        m = torch.zeros(d) if mean is None else torch.as_tensor(mean, dtype=torch.get_default_dtype())
        s = torch.eye(d) if covariance is None else torch.as_tensor(covariance, dtype=torch.get_default_dtype())
        if m.shape != (d,) or s.shape != (d, d):
            raise InputError(
                f"mean has shape {tuple(m.shape)} and covariance {tuple(s.shape)}; expected [{d}], [{d}, {d}]"
            )
        if not bool(m.isfinite().all()):
            raise InputError("mean holds NaN or infinities; expected finite numbers")
        factor, wrong = torch.linalg.cholesky_ex(s)
        scales = s.diagonal().abs().sqrt()
        if bool(wrong) or not bool(((s - s.mT).abs() <= 1e-5 * scales * scales[:, None]).all()):
            raise InputError(
                "covariance is not symmetric and positive definite; expected that of a normal distribution"
            )
        self.mean = nn.Parameter(m.clone())
        self.log_scale = nn.Parameter(factor.diagonal().log().clone())
        self.below = nn.Parameter(factor.tril(-1))

    @property
    def factor(self) -> Float[Tensor, "d d"]:
        """L, lower triangular with a positive diagonal."""
        return self.below.tril(-1) + self.log_scale.exp().diag()

    def forward(self, u: Float[Tensor, "B d"]) -> Float[Tensor, "B d"]:
        r"""$m+Lu$."""
        return functional.linear(u, self.factor, self.mean)

    def inverse(self, z: Float[Tensor, "B d"]) -> Float[Tensor, "B d"]:
        r"""$L^{-1}(z-m)$.

        Raises:
            InputError: z has not d latents.
        """
        _check_width("z", z, len(self.mean))
        return torch.linalg.solve_triangular(self.factor, (z - self.mean)[..., None], upper=False)[..., 0]


class ConditionalNormalPrior(nn.Module):
    r"""The prior $p(z\mid c)=\mathcal N(m(c),\mathrm{diag}\,s(c)^2)$, affine in c: $z=m(c)+s(c)\,u$.

    It begins as $\mathcal N(0,I)$ for every c.

    Args:
        latents: d.
        conditions: C.

    Raises:
        InputError: a number is not ≥ 1, or (when called) u has not d latents.

    Example:
        >>> ConditionalNormalPrior(2, 3)(torch.ones(1, 2), torch.eye(3)[:1]).tolist()
        [[1.0, 1.0]]
    """

    def __init__(self, latents: int, conditions: int) -> None:
        super().__init__()
        sizes = positive_int("conditions", conditions), positive_int("latents", latents)
        self.mean, self.log_scale = nn.Linear(*sizes), nn.Linear(*sizes)
        for layer in (self.mean, self.log_scale):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, u: Float[Tensor, "B d"], c: Float[Tensor, "B C"]) -> Float[Tensor, "B d"]:
        r"""$m(c)+s(c)\,u$."""
        _check_width("u", u, self.mean.out_features)
        return torch.add(torch.mul(u, self.log_scale(c).exp()), self.mean(c))


def _check_width(name: str, latents: Tensor, d: int) -> None:
    """A single latent would be taken for all of them."""
    if latents.shape[-1] != d:
        raise InputError(f"{name} has shape {tuple(latents.shape)}; expected [B, {d}]")
