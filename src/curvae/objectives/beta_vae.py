"""The β-VAE: noise in the latents."""

from __future__ import annotations

import copy

import torch

from curvae._checks import non_negative, positive_int
from curvae._precision import at_least_float32
from curvae._typing import Tensor
from curvae.autoencoder import Model
from curvae.errors import InputError
from curvae.likelihoods import Likelihood
from curvae.likelihoods.gaussian import or_gaussian
from curvae.objectives.loss import check_model
from curvae.objectives.support import check_support
from curvae.objectives.terms import Terms


class BetaVAE:
    r"""Equation (2), minimised: $-\mathbb E_q[\log p(x\mid z)]+\beta\,\mathrm{KL}(q\,\|\,\mathcal N(0,I))$.

    Parts: ``nll`` (the expectation, by ``samples`` reparameterised draws) and ``kl`` (β times the divergence).
    $\beta=1$ gives minus the ELBO up to the observation model's constant.

    Antithetic draws are $h+L\epsilon$ and $h-L\epsilon$ with one $\epsilon$: the odd orders in the noise drop out, so
    that a pair has much less noise than two independent draws at the same price, and is unbiased all the same.

    Args:
        beta: weight of the divergence, ≥ 0 (0 is a noisy autoencoder).
        likelihood: observation model; default :class:`~curvae.likelihoods.Gaussian` with σ = 1.
        samples: draws of z for each sample, ≥ 1.
        antithetic: take them in pairs ±ε; ``samples`` is even then.

    Raises:
        InputError: for a bad ``beta`` or ``samples``, or (when called) a model without a posterior.

    Example:
        >>> from curvae import Autoencoder, posteriors
        >>> encoder, decoder = torch.nn.Linear(3, 8), torch.nn.Linear(2, 3)
        >>> model = Autoencoder(encoder, decoder, latents=2, structure=posteriors.Diagonal())
        >>> BetaVAE(beta=0.2)(model, torch.randn(5, 3)).total.shape
        torch.Size([5])
    """

    def __init__(
        self, beta: float, likelihood: Likelihood | None = None, samples: int = 1, antithetic: bool = False
    ) -> None:
        self.beta = non_negative("beta", beta)
        self.likelihood = or_gaussian(likelihood)
        self.samples = positive_int("samples", samples)
        self.antithetic = antithetic
        if antithetic and samples % 2:
            raise InputError(f"samples is {samples}, but antithetic draws come in pairs; give an even number")

    def __call__(self, model: Model, x: Tensor, generator: torch.Generator | None = None) -> Terms:
        """The parts for a batch ``x`` ``[B, *D]``; noise comes from ``generator``."""
        check_model(model)
        check_support(self.likelihood, x)
        q = model.posterior(x)
        draws = list(q.rsample(generator, (self.samples // (1 + self.antithetic),)))
        if self.antithetic:
            draws += [2 * q.mean - z for z in draws]
        # the decoder gets the batch as it is, once per draw: it may hold something of each sample
        nlls = [self.likelihood.nll(at_least_float32(model.decode(z)), x) for z in draws]
        nll = torch.stack(nlls).mean(0)
        return Terms({"nll": nll, "kl": self.beta * q.kl()})

    def with_beta(self, beta: float) -> BetaVAE:
        """The same objective with another weight of the divergence."""
        other = copy.copy(self)
        other.beta = non_negative("beta", beta)
        return other

    def __repr__(self) -> str:
        pairs = ", antithetic=True" * self.antithetic
        return f"BetaVAE(beta={self.beta:g}, likelihood={self.likelihood}, samples={self.samples}{pairs})"
