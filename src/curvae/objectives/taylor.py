"""The β-VAE with its noise averaged by a second-order expansion."""

from __future__ import annotations

import copy

import torch

from curvae._checks import non_negative, positive_int
from curvae._typing import Tensor
from curvae.autoencoder import Model
from curvae.curvature import Curvature, check_curvature
from curvae.curvature.gauss_newton import column_norms, whitened
from curvae.curvature.hessian import hessian_products
from curvae.likelihoods import Gaussian, Likelihood
from curvae.objectives.loss import check_model
from curvae.objectives.terms import Terms


class Taylor:
    r"""Equations (7), (4), minimised: $-\log p(x\mid h)+\tfrac12\mathrm{tr}(M\Sigma)+\beta\,\mathrm{KL}$, no sampling.

    (7): $M=-J_g^\top H_{p_x}J_g$ at the posterior's mean $h$. The trace is $\sum_k\|L_pJ_gL_{:k}\|^2$ over the columns
    of $\Sigma=LL^\top$, so the decoder's tangents are pushed along $L$ and no d × d curvature is formed.
    (4): $M=-H_{f_x}(h)$, the exact Hessian, and the trace is $\sum_kL_{:k}^\top ML_{:k}$, which may be negative.
    Parts: ``energy``, ``curvature`` (the trace term), ``kl``.

    Args:
        beta: weight of the divergence, ≥ 0.
        likelihood: observation model; default Gaussian with σ = 1.
        curvature: ``"gauss-newton"`` for (7), ``"hessian"`` for (4).
        chunk_size: tangents pushed at a time; bounds memory.

    Raises:
        InputError: for a bad argument, or (when called) a model without a posterior.

    Example:
        >>> from curvae import Autoencoder, posteriors
        >>> encoder, decoder = torch.nn.Linear(3, 8), torch.nn.Linear(2, 3)
        >>> model = Autoencoder(encoder, decoder, latents=2, structure=posteriors.Full())
        >>> sorted(Taylor(beta=0.2)(model, torch.randn(5, 3)).parts)
        ['curvature', 'energy', 'kl']
    """

    def __init__(
        self,
        beta: float,
        likelihood: Likelihood | None = None,
        curvature: Curvature = "gauss-newton",
        chunk_size: int | None = None,
    ) -> None:
        self.beta = non_negative("beta", beta)
        self.likelihood = Gaussian() if likelihood is None else likelihood
        self.curvature = check_curvature(curvature, self.likelihood)
        self.chunk_size = None if chunk_size is None else positive_int("chunk_size", chunk_size)

    def __call__(self, model: Model, x: Tensor, generator: torch.Generator | None = None) -> Terms:
        """The parts for a batch ``x`` ``[B, *D]``; deterministic, ``generator`` is not used."""
        check_model(model)
        q = model.posterior(x)
        root = q.factor.dense()
        if self.curvature == "hessian":
            eta, products = hessian_products(model.decode, q.mean, x, self.likelihood, root, self.chunk_size)
            trace = -(root * products).sum((-1, -2))
        else:
            eta, tangents = whitened(model.decode, q.mean, x, self.likelihood, root, self.chunk_size)
            trace = column_norms(tangents).sum(-1)
        energy = self.likelihood.energy(eta, x)
        return Terms({"energy": energy, "curvature": 0.5 * trace, "kl": self.beta * q.kl()})

    def with_beta(self, beta: float) -> Taylor:
        """The same objective with another weight of the divergence."""
        other = copy.copy(self)
        other.beta = non_negative("beta", beta)
        return other

    def __repr__(self) -> str:
        return f"Taylor(beta={self.beta:g}, likelihood={self.likelihood}, curvature={self.curvature!r})"
