"""A Gaussian that learns its noise."""

from __future__ import annotations

import math

import torch
from torch import nn

from curvae._checks import non_negative
from curvae._typing import Float, Tensor
from curvae.errors import InputError
from curvae.likelihoods.base import (
    Location,
    check_number_of_outputs,
    check_same_shape,
    per_sample,
    positive_parameter,
    span,
)


class LearnedGaussian(nn.Module, Location):
    r"""Gaussian noise with a learned standard deviation, one for all outputs (σ-VAE) or one for each.

    The nll is $\sum_i\log\sigma_i+\tfrac1{2\sigma_i^2}(x_i-\eta_i)^2$: it keeps the term in σ, which a fixed σ
    lets one drop. For given outputs the best value is the root mean squared error, :meth:`fit`. σ is a parameter of
    this module: give ``likelihood.parameters()`` to the optimiser beside the model's.

    β and $\sigma^2$ are the same knob. Every objective of this library obeys
    $L_{\beta,\sigma}=L_{\beta\sigma^2,1}/\sigma^2$ (less $D\log\sigma$), so β = 1 with a learned σ chooses the unit
    Gaussian's β by maximum likelihood. Source: Rybkin, Daniilidis & Levine, ICML 2021.

    Args:
        sigma: where σ starts, > 0: a number for all outputs, or a tensor ``[*D]`` with one for each.
        floor: σ never falls below this part of where it starts, ≥ 0 and < 1: $\sigma^2=s^2+(\text{floor}\,\sigma_0)^2$
            with $s$ learned. An output that is reproduced exactly has no best σ > 0 without one.

    Raises:
        InputError: if ``sigma`` is not finite and > 0, or ``floor`` out of its range.

    Example:
        >>> likelihood = LearnedGaussian()
        >>> likelihood.fit(torch.zeros(2, 2), torch.full((2, 2), 3.0))
        >>> likelihood
        LearnedGaussian(sigma=3)
        >>> LearnedGaussian(torch.tensor([0.5, 1.0, 2.0]))
        LearnedGaussian(sigma=0.5 … 2)
    """

    def __init__(self, sigma: float | Tensor = 1.0, floor: float = 0.0) -> None:
        super().__init__()
        start = positive_parameter("sigma", sigma).log()
        self.floor = non_negative("floor", floor)
        if self.floor >= 1:
            raise InputError(f"floor is {floor:g}; expected a part of sigma, >= 0 and < 1")
        self._smallest: Tensor | None
        smallest = start + math.log(self.floor) if self.floor else None
        # of the constructor, not of the state
        self.register_buffer("_smallest", smallest, persistent=False)
        self.log_sigma = nn.Parameter(start)

    @property
    def sigma(self) -> Float[Tensor, "*D"]:
        """The present noise standard deviation."""
        return self._log().exp()

    def _log(self) -> Float[Tensor, "*D"]:
        if self._smallest is None:
            return self.log_sigma
        return 0.5 * torch.logaddexp(2 * self.log_sigma, 2 * self._smallest)

    def with_kept_floor(self) -> LearnedGaussian:
        """Itself, with the floor among what is saved: for a σ that :meth:`start` takes from data."""
        self.register_buffer("_smallest", self._smallest)
        return self

    @torch.no_grad()
    def start(self, sigma: Float[Tensor, "*D"]) -> None:
        """Begin at another σ, > 0, which the floor then is a part of: it is among what is saved from now on."""
        log = sigma.to(self.log_sigma).log()
        if self._smallest is not None:
            self.with_kept_floor()
            self._smallest.copy_(log + math.log(self.floor))
        self.log_sigma.copy_(log)

    @torch.no_grad()
    def fit(self, eta: Float[Tensor, "B *D"], x: Float[Tensor, "B *D"]) -> None:
        r"""Set σ to its optimum for these outputs, the root of the mean squared error over data (and outputs).

        Raises:
            InputError: if an error is exactly zero, where the likelihood has no maximum.
        """
        check_same_shape(eta, x)
        check_number_of_outputs(self, self.log_sigma, eta)
        squares = (x - eta).square()
        error = (squares.mean(0) if self.log_sigma.dim() else squares.mean()).to(self.log_sigma)
        if self._smallest is not None:
            # as small as it gets where the floor is more than the error
            error = (error - (2 * self._smallest).exp()).clamp(min=1e-6 * (2 * self._smallest).exp())
        if bool((error == 0).any()):
            raise InputError(
                "the outputs equal the data exactly; the best noise scale is 0, which is not a valid scale"
            )
        self.log_sigma.copy_(0.5 * error.log())

    def nll(self, eta: Float[Tensor, "B *D"], x: Float[Tensor, "B *D"]) -> Float[Tensor, " B"]:
        r"""$\sum_i\log\sigma_i+\tfrac1{2\sigma_i^2}(x_i-\eta_i)^2$."""
        if self.log_sigma.dim():
            return per_sample(self.nll_each(eta, x))
        check_same_shape(eta, x)
        return 0.5 * per_sample((x - eta).square()) / self.sigma.square() + eta.shape[1:].numel() * self._log()

    def log_prob(self, eta: Float[Tensor, "B *D"], x: Float[Tensor, "B *D"]) -> Float[Tensor, " B"]:
        r"""Minus the nll and $\tfrac D2\log2\pi$."""
        return -self.nll(eta, x) - 0.5 * eta.shape[1:].numel() * math.log(2 * math.pi)

    def nll_each(self, eta: Float[Tensor, "B *D"], x: Float[Tensor, "B *D"]) -> Float[Tensor, "B *D"]:
        r"""$\log\sigma_i+\tfrac1{2\sigma_i^2}(x_i-\eta_i)^2$."""
        check_same_shape(eta, x)
        check_number_of_outputs(self, self.log_sigma, eta)
        return 0.5 * ((x - eta) / self.sigma).square() + self._log()

    def log_prob_each(self, eta: Float[Tensor, "B *D"], x: Float[Tensor, "B *D"]) -> Float[Tensor, "B *D"]:
        r"""Minus :meth:`nll_each` and $\tfrac12\log2\pi$."""
        return -self.nll_each(eta, x) - 0.5 * math.log(2 * math.pi)

    def sample(self, eta: Float[Tensor, "B *D"], generator: torch.Generator | None = None) -> Float[Tensor, "B *D"]:
        r"""$\eta+\sigma\epsilon$."""
        noise = torch.randn(eta.shape, generator=generator, dtype=eta.dtype, device=eta.device)
        return eta + self.sigma.detach() * noise

    def curvature(self, eta: Float[Tensor, "B *D"], x: Float[Tensor, "B *D"]) -> Float[Tensor, "B *D"]:
        r"""$1/\sigma_i^2$ for each output."""
        return self.sigma.square().reciprocal().expand_as(eta)

    def __repr__(self) -> str:
        return f"LearnedGaussian(sigma={span(self.sigma)})"
