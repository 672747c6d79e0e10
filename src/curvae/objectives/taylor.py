"""The β-VAE with its noise averaged by a second-order expansion."""

from __future__ import annotations

import copy

import torch

from curvae._checks import non_negative, positive_int
from curvae._precision import full_precision
from curvae._typing import Float, Tensor
from curvae.autoencoder import Model
from curvae.curvature import Curvature, Estimator, Fraction, Linearised, Secants, check_curvature
from curvae.curvature.fraction import on_all
from curvae.curvature.gauss_newton import column_norms
from curvae.curvature.hessian import hessian_products
from curvae.errors import InputError
from curvae.forward.pushforward import one_hot_tangents
from curvae.forward.secants import Differences
from curvae.likelihoods import Likelihood
from curvae.likelihoods.gaussian import or_gaussian
from curvae.objectives.loss import check_model
from curvae.objectives.support import check_support
from curvae.objectives.terms import Terms
from curvae.posteriors import Normal


class Taylor:
    r"""Equations (7), (4), minimised: $-\log p(x\mid h)+\tfrac12\mathrm{tr}(M\Sigma)+\beta\,\mathrm{KL}$, no sampling.

    (7): $M=-J_g^\top H_{p_x}J_g$ at the posterior's mean $h$. The trace is $\sum_k\|L_pJ_gL_{:k}\|^2$ over the columns
    of $\Sigma=LL^\top$, so the decoder's tangents are pushed along $L$ and no d × d curvature is formed.
    (4): $M=-H_{f_x}(h)$, the exact Hessian, and the trace is $\sum_kL_{:k}^\top ML_{:k}$, which may be negative.
    Parts: ``nll``, ``curvature`` (the trace term), ``kl``.

    Args:
        beta: weight of the divergence, ≥ 0.
        likelihood: observation model; default Gaussian with σ = 1.
        curvature: ``"gauss-newton"`` for (7), ``"hessian"`` for (4).
        chunk_size: tangents pushed at a time; bounds memory.
        estimator: ``Secants(k)`` or a ``Fraction`` of it, in place of all tangents: $\tfrac12$ times an estimate of
            $\sum_c\mathbb E_\pm\|L_p(g(h\pm L_{:c})-g(h))\|^2$ by forward passes alone, unbiased for it. The steps are
            the posterior's own standard deviations, for a diagonal $\Sigma$ those of each latent, so that a squared
            error is averaged over the noise of one latent by two-point Gauss-Hermite quadrature. ``central`` secants
            are $\tfrac12L_p(g(h+L_{:c})-g(h-L_{:c}))$.

    Raises:
        InputError: for a bad argument, or (when called) a model without a posterior.

    Example:
        >>> from curvae import Autoencoder, posteriors
        >>> encoder, decoder = torch.nn.Linear(3, 8), torch.nn.Linear(2, 3)
        >>> model = Autoencoder(encoder, decoder, latents=2, structure=posteriors.Full())
        >>> sorted(Taylor(beta=0.2)(model, torch.randn(5, 3)).parts)
        ['curvature', 'kl', 'nll']
    """

    def __init__(
        self,
        beta: float,
        likelihood: Likelihood | None = None,
        curvature: Curvature = "gauss-newton",
        chunk_size: int | None = None,
        estimator: Estimator | None = None,
    ) -> None:
        self.beta = non_negative("beta", beta)
        self.likelihood = or_gaussian(likelihood)
        self.curvature = check_curvature(curvature, self.likelihood)
        self.chunk_size = None if chunk_size is None else positive_int("chunk_size", chunk_size)

        self.estimator = estimator
        if estimator is not None:
            _check_secants(estimator, self.curvature)

    def __call__(self, model: Model, x: Tensor, generator: torch.Generator | None = None) -> Terms:
        """The parts for a batch ``x`` ``[B, *D]``; ``generator`` draws secants, where there are any."""
        check_model(model)
        check_support(self.likelihood, x)
        q = model.posterior(x)
        if self.estimator is not None:
            eta, trace = self._secants(self.estimator, model, q, x, generator)
        else:
            eta, trace = self._exact(model, q, x)
        nll = self.likelihood.nll(eta, x)
        return Terms({"nll": nll, "curvature": 0.5 * trace, "kl": self.beta * q.kl()})

    def _exact(self, model: Model, q: Normal, x: Tensor) -> tuple[Float[Tensor, "B *D"], Float[Tensor, " B"]]:
        root = q.factor.dense()
        if self.curvature == "hessian":
            root = root.unflatten(1, q.mean.shape[1:])
            eta, products = hessian_products(model.decode, q.mean, x, self.likelihood, root, self.chunk_size)
            return eta, -(root * products).flatten(1).sum(1)
        eta, tangents = Linearised(model.decode, q.mean, x, self.likelihood).push(root, self.chunk_size)
        return eta, column_norms(tangents).sum(-1)

    def _secants(
        self, estimator: Estimator, model: Model, q: Normal, x: Tensor, generator: torch.Generator | None
    ) -> tuple[Float[Tensor, "B *D"], Float[Tensor, " B"]]:
        secants, z = on_all(estimator), q.mean.flatten(1)
        assert isinstance(secants, Secants)
        subsample = estimator.subsample(z, generator) if isinstance(estimator, Fraction) else None
        chosen = None if subsample is None else subsample.chosen
        indices, p, signs = secants.draw(z, generator)
        units = one_hot_tangents(z, indices) * signs.unsqueeze(1)
        steps = q.factor.apply(units.movedim(-1, 0)).movedim(0, -1).unflatten(1, q.mean.shape[1:])
        if chosen is not None:
            steps, p = steps.index_select(0, chosen), p.index_select(0, chosen)
        at, move = Linearised(model.decode, q.mean, x, self.likelihood), Differences(model.decode, q.mean)
        white = secants.whitened(at, move, steps, chosen)
        with full_precision(z):
            trace = (column_norms(white) / p).mean(-1)
        return move.eta, trace if subsample is None else subsample.spread(trace)

    def with_beta(self, beta: float) -> Taylor:
        """The same objective with another weight of the divergence."""
        other = copy.copy(self)
        other.beta = non_negative("beta", beta)
        return other

    def __repr__(self) -> str:
        estimator = "" if self.estimator is None else f", estimator={self.estimator}"
        return f"Taylor(beta={self.beta:g}, likelihood={self.likelihood}, curvature={self.curvature!r}{estimator})"


def _check_secants(estimator: Estimator, curvature: Curvature) -> None:
    inner = on_all(estimator)
    if not isinstance(inner, Secants) or inner.step is not None:
        raise InputError(
            f"Taylor's trace is exact, or estimated by Secants(k) of the posterior's own width; got {estimator}"
        )
    if curvature != "gauss-newton":
        raise InputError(f"secants stand for curvature 'gauss-newton' only; got {curvature!r}")
