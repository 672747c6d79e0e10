r"""Estimates of $\log p(x)$ by importance sampling from the posterior."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from curvae._checks import positive, positive_int, shown
from curvae._repr import OneLine
from curvae._typing import Float, Tensor
from curvae.autoencoder import Model
from curvae.errors import InputError
from curvae.forward.first_use import checked
from curvae.likelihoods import Gaussian, Laplace, LearnedGaussian, Likelihood, Masked, Mixed, StudentT
from curvae.likelihoods.base import check_likelihood
from curvae.metrics.codes import conditioned_batches, deployed, in_double, repeated
from curvae.metrics.result import Estimate
from curvae.posteriors import Normal


@dataclass(frozen=True, eq=False, repr=False)
class Likelihoods(OneLine):
    r"""Importance-weighted negative log-likelihoods, in nats per sample.

    Attributes:
        nll: $-\log\tfrac1K\sum_kw_k$, ``[N]``.
        se: its standard error by the delta method, ``[N]``: the weights' standard deviation over their mean and
            $\sqrt K$; NaN for K = 1. To be trusted where ``ess`` is large: a proposal narrower than the posterior has
            weights of infinite variance, which a few draws do not show.
        ess: effective number of draws, $(\sum w)^2/\sum w^2$, 1 … K.
        samples: K.
    """

    nll: Float[Tensor, " N"]
    se: Float[Tensor, " N"]
    ess: Float[Tensor, " N"]
    samples: int

    @property
    def bias(self) -> Float[Tensor, " N"]:
        r"""How much ``nll`` is too large, to first order in 1/K: $\tfrac12\,\mathrm{se}^2$."""
        return 0.5 * self.se.square()

    def mean(self) -> Estimate:
        """Over the data; its standard error has both the data's spread and the draws'."""
        return Estimate.of(self.nll)


@torch.no_grad()
def importance_weighted_nll(
    model: Model,
    data: Any,
    likelihood: Likelihood,
    *,
    samples: int,
    generator: torch.Generator | None = None,
    noise: Float[Tensor, "K d"] | None = None,
    batch_size: int = 100,
    chunk_size: int = 10,
    progress: Callable[[int], object] | None = None,
) -> Likelihoods:
    r"""$-\log\tfrac1K\sum_{k=1}^K\frac{p(x\mid z_k)\,p(z_k)}{q(z_k\mid x)}$ with $z_k\sim q(z\mid x)$.

    Here $p(z)=\mathcal N(0,I)$. The mean of the weights is unbiased for $p(x)$, so by Jensen's inequality the estimate
    is an upper bound of $-\log p(x)$ in expectation; it falls with K, to minus the log-likelihood, and K = 1 is minus
    the ELBO. It is exact for every K if q is the posterior. Weights are kept in float64 whatever the model's type.

    β-VAE and GRAE have a β, and a generative model has none. For observation models of location the objective at β is
    that of another noise scale at β = 1: take :func:`at_unit_beta` as ``likelihood``. A model without a posterior of
    its own takes :class:`~curvae.metrics.Implied` of it with that likelihood and β = 1.

    Args:
        model: the posterior and the decoder; used in eval mode if it is a module, and its mode given back.
        data: arrays ``[N, *D]`` or batches, as :func:`curvae.metrics.codes` takes them.
        likelihood: $p(x\mid z)$, its ``log_prob``.
        samples: K, draws for each sample, ≥ 1.
        generator: of the draws, on the model's device.
        noise: standard normal draws for every sample alike, ``samples`` of them, in the place of a generator's: each
            estimate then depends on its own sample alone. Low-discrepancy points need fewer.
        batch_size: samples at a time.
        chunk_size: draws of each sample that are decoded at a time; ``batch_size × chunk_size`` bounds memory.
        progress: called with the number of samples done so far.

    Returns:
        The estimates, float64 on the CPU.

    Raises:
        InputError: an argument out of range, no observation model, no data, or a likelihood that is not finite.

    Source: Burda, Grosse & Salakhutdinov, ICLR 2016.

    Example:
        >>> from curvae import Autoencoder
        >>> from curvae.metrics import Implied
        >>> model = Autoencoder(torch.nn.Linear(3, 2), torch.nn.Linear(2, 3), latents=2)    # trained at β = 0.2, say
        >>> noise = at_unit_beta(Gaussian(), beta=0.2)
        >>> generator = torch.Generator().manual_seed(0)
        >>> implied = Implied(model, 1.0, noise)
        >>> found = importance_weighted_nll(implied, torch.rand(5, 3), noise, samples=50, generator=generator)
        >>> found.nll.shape, bool((found.ess > 1).all())
        (torch.Size([5]), True)
    """
    check_likelihood(likelihood)
    positive_int("samples", samples)
    positive_int("chunk_size", chunk_size)
    if (noise is None) == (generator is None):
        raise InputError("expected a generator of the draws, or noise, and not both")
    if noise is not None and not (isinstance(noise, Tensor) and noise.dim() == 2 and len(noise) == samples):
        raise InputError(f"noise is {shown(noise)}; expected a tensor [{samples}, d], a row for each draw")
    found: list[Float[Tensor, "2 B"]] = []
    with deployed(model):
        for at, x in conditioned_batches(model, data, batch_size):
            if checked():  # every batch, on an accelerator too: the answer is for good
                likelihood.check(x)
            q = in_double(at.posterior(x))
            weights = _log_weights(at, q, x, likelihood, samples, chunk_size, generator, noise)
            found.append(_log_moments(weights).cpu())
            if progress is not None:
                progress(sum(part.shape[1] for part in found))
    return _estimate(torch.cat(found, dim=1), samples)


def at_unit_beta(likelihood: Likelihood, beta: float) -> Likelihood:
    r"""The observation model whose ELBO is the objective at β, up to the factor β and constants.

    Dividing (2) by β leaves $\tfrac1\beta\log p(x\mid z)$, the logarithm of a normalised density up to a constant if
    noise is added to η: $\mathcal N(\eta,\sigma^2I)$ becomes $\mathcal N(\eta,\beta\sigma^2I)$, Laplace noise is scaled
    by β, and a Student t has other degrees of freedom; the same with missing values, and in products of these alone.
    For other models $p^{1/\beta}$ has a normaliser that depends on η: no model does what β does, β is a weight of
    training alone, and ``likelihood`` itself comes back.

    Args:
        likelihood: as the objective has it.
        beta: β, > 0.

    Raises:
        InputError: if ``beta`` is not > 0, or too large for a Student t: its power is then no density.

    Example:
        >>> at_unit_beta(Gaussian(sigma=2.0), beta=0.25)
        Gaussian(sigma=1)
    """
    positive("beta", beta)
    check_likelihood(likelihood)
    match likelihood:
        case LearnedGaussian() if likelihood.log_sigma.dim():
            sigma = likelihood.sigma.detach()
            return LearnedGaussian(sigma * math.sqrt(beta)).to(sigma).requires_grad_(False)
        case Masked():
            inner = at_unit_beta(likelihood.likelihood, beta)
            return likelihood if inner is likelihood.likelihood else Masked(inner)
        case Mixed():
            parts = [(at_unit_beta(part.likelihood, beta), part) for part in likelihood.parts]
            if any(new is part.likelihood for new, part in parts):
                return likelihood  # what β does to the whole is what no model does
            return Mixed([(new, part.columns) for new, part in parts])
        case Gaussian() | LearnedGaussian():
            return Gaussian(_number(likelihood.sigma) * math.sqrt(beta))
        case Laplace():
            return Laplace(likelihood.scale * beta)
        case StudentT():
            dof = (likelihood.dof + 1) / beta - 1
            if dof <= 0:
                raise InputError(f"{likelihood} has no normalised power 1/beta at beta {beta:g}; give a smaller beta")
            return StudentT(dof, likelihood.scale * math.sqrt(likelihood.dof / dof))
        case _:
            return likelihood


def _number(value: float | Tensor) -> float:
    return float(value.detach()) if isinstance(value, Tensor) else value


def _log_weights(
    model: Model,
    q: Normal,
    x: Float[Tensor, "B *D"],
    likelihood: Likelihood,
    samples: int,
    chunk_size: int,
    generator: torch.Generator | None,
    noise: Float[Tensor, "K d"] | None,
) -> Iterator[Float[Tensor, "K B"]]:
    for done in range(0, samples, chunk_size):
        count = min(chunk_size, samples - done)
        if noise is None:
            drawn = q.rsample(generator, (count,))
        else:
            common, latents = noise[done : done + count].to(q.mean).flatten(1), q.mean.shape[1:]
            if common.shape[1] != latents.numel():  # a single one would be taken for all latents
                raise InputError(f"noise has {common.shape[1]} numbers a draw for {latents.numel()} latents")
            drawn = q.mean + q.factor.apply(common.unsqueeze(1).expand(-1, len(x), -1)).unflatten(-1, latents)
        z = drawn.to(x.dtype)  # rounded first: the weight is that of the point decoded
        eta = repeated(model, count).decode(z.flatten(0, 1)).double()
        data = x.double().repeat(count, *[1] * (x.dim() - 1))
        wide = z.double()
        prior = -0.5 * (wide.square() + math.log(2 * math.pi)).flatten(2).sum(-1)
        yield likelihood.log_prob(eta, data).unflatten(0, (count, -1)) + prior - q.log_prob(wide)


def _log_moments(weights: Iterator[Float[Tensor, "K B"]]) -> Float[Tensor, "2 B"]:
    """The logarithms of the sums of w and w², chunk by chunk."""
    sums = (torch.stack([log_w, 2 * log_w]).logsumexp(1) for log_w in weights)
    return functools.reduce(torch.logaddexp, sums)


def _estimate(log_moments: Float[Tensor, "2 N"], samples: int) -> Likelihoods:
    first, second = log_moments
    nll = math.log(samples) - first
    if not bool(nll.isfinite().all()):
        raise InputError("the model gives likelihoods that are not finite on these data")
    ess = (2 * first - second).exp().clamp(1, samples)
    se = ((samples / ess - 1) / (samples - 1)).sqrt() if samples > 1 else torch.full_like(nll, math.nan)
    return Likelihoods(nll, se, ess, samples)
