"""Gaussian observations with a fixed noise scale."""

from __future__ import annotations

import math

import torch

from curvae._checks import positive
from curvae._typing import Float, Tensor
from curvae.likelihoods.base import Likelihood, Location, check_likelihood, check_same_shape, per_sample


class Gaussian(Location):
    r"""$p(x;\eta)=\mathcal N(\eta,\sigma^2 I)$, so $-H_{p_x}=I/\sigma^2$; the paper's model is $\sigma = 1$.

    Args:
        sigma: noise standard deviation, > 0, in the data's units.

    Raises:
        InputError: if ``sigma`` is not a finite number > 0.

    Example:
        >>> eta, x = torch.zeros(2, 3), torch.ones(2, 3)
        >>> Gaussian().nll(eta, x)
        tensor([1.5000, 1.5000])
    """

    def __init__(self, sigma: float = 1.0) -> None:
        self.sigma = positive("sigma", sigma)

    def nll(self, eta: Float[Tensor, "B *D"], x: Float[Tensor, "B *D"]) -> Float[Tensor, " B"]:
        r"""$\tfrac1{2\sigma^2}\|x-\eta\|^2$."""
        check_same_shape(eta, x)
        return per_sample((x - eta).square()) / (2 * self.sigma**2)

    def log_prob(self, eta: Float[Tensor, "B *D"], x: Float[Tensor, "B *D"]) -> Float[Tensor, " B"]:
        r"""$-\tfrac1{2\sigma^2}\|x-\eta\|^2-\tfrac D2\log(2\pi\sigma^2)$."""
        outputs = eta.shape[1:].numel()
        return -self.nll(eta, x) - outputs * (math.log(self.sigma) + 0.5 * math.log(2 * math.pi))

    def sample(self, eta: Float[Tensor, "B *D"], generator: torch.Generator | None = None) -> Float[Tensor, "B *D"]:
        r"""$\eta+\sigma\epsilon$."""
        noise = torch.randn(eta.shape, generator=generator, dtype=eta.dtype, device=eta.device)
        return eta + self.sigma * noise

    def curvature(self, eta: Float[Tensor, "B *D"], x: Float[Tensor, "B *D"]) -> Float[Tensor, "B *D"]:
        r"""$1/\sigma^2$ for every output."""
        return torch.full_like(eta, self.sigma**-2)

    def whiten(
        self, eta: Float[Tensor, "B *D"], x: Float[Tensor, "B *D"], tangents: Float[Tensor, "B *D K"]
    ) -> Float[Tensor, "B *D K"]:
        r"""$t/\sigma$, with no copy when $\sigma=1$."""
        return tangents if self.sigma == 1.0 else tangents / self.sigma

    def __repr__(self) -> str:
        return f"Gaussian(sigma={self.sigma:g})"


def or_gaussian(likelihood: Likelihood | None) -> Likelihood:
    """The observation model; of unit variance and Gaussian where none is given.

    Raises:
        InputError: it is none.
    """
    if likelihood is None:
        return Gaussian()
    check_likelihood(likelihood)
    return likelihood
