"""Why the optimum of a nonlinear model is turned away from the true latents: its two restrictions, each freed in turn.

Two things set figure 1's model apart from exact mean-field inference: its encoder is affine, and its Σ is shared. Here
the posterior means, the variances, or both belong to each sample by itself. What is a sample's own is maximised out by
a damped Newton's method in two or four numbers, so that a quasi-Newton method over the few shared numbers is left.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor
from torch.func import grad, hessian, vmap

from curvae.reproduce.uniqueness.activations import OF_TENSORS, Nonlinearity
from curvae.reproduce.uniqueness.config import DRAWS
from curvae.reproduce.uniqueness.engine import affine_encoder
from curvae.reproduce.uniqueness.evaluate import Fit, angles
from curvae.reproduce.uniqueness.numbers import decoder_angles
from curvae.reproduce.uniqueness.trial import Array, GenerativeModel, Guard, Trial, make_trial

_NODES = 8
_NEWTON = 60


@dataclass(frozen=True)
class Freedom:
    """What each sample has by itself.

    Attributes:
        mean: its posterior mean; otherwise Cx + d.
        variances: the two entries of its diagonal Σ; otherwise one Σ for all.
    """

    mean: bool
    variances: bool


FREEDOMS: Mapping[str, Freedom] = {
    "neither": Freedom(False, False),
    "means": Freedom(True, False),
    "variances": Freedom(False, True),
    "both": Freedom(True, True),
}


@dataclass(frozen=True)
class Extent:
    """How much to run.

    Attributes:
        draws: how many W, those of figure 1.
        points: data of each.
        seed: of everything.
    """

    draws: int = DRAWS
    points: int = 256
    seed: int = 0


class _Objective:
    """−ELBO per sample as a function of the shared numbers, with each sample's own at their best."""

    def __init__(self, model: GenerativeModel, freedom: Freedom, x: Array) -> None:
        at, weights = np.polynomial.hermite_e.hermegauss(_NODES)
        self.model, self.freedom = model, freedom
        self.x, self.at = torch.from_numpy(x), torch.from_numpy(at)
        self.weights = torch.from_numpy(weights / math.sqrt(2 * math.pi))
        self.each = vmap(self.one, (None, 0, 0))
        self.slope = vmap(grad(self.one, 1), (None, 0, 0))
        self.bend = vmap(hessian(self.one, 1), (None, 0, 0))

    def parts(self, shared: Tensor, own: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variances of a sample's posterior."""
        rest = shared[6:]
        mean = own[:2] if self.freedom.mean else rest[:4].reshape(2, 2) @ x + rest[4:6]
        return mean, own[-2:] if self.freedom.variances else rest[-2:]

    def one(self, shared: Tensor, own: Tensor, x: Tensor) -> Tensor:
        """Of one sample, all constants included."""
        decoder, offset, variance = shared[:4].reshape(2, 2), shared[4:6], self.model.sigma**2
        mean, logs = self.parts(shared, own, x)
        u = (decoder @ mean)[:, None] + (decoder.square() @ logs.exp()).sqrt()[:, None] * self.at
        misfit = ((x[:, None] - OF_TENSORS[self.model.nu](u) - offset[:, None]).square() @ self.weights).sum()
        kl = 0.5 * (mean @ mean + logs.exp().sum() - logs.sum() - 2)
        return misfit / (2 * variance) + math.log(2 * math.pi * variance) + kl

    def best_own(self, shared: Tensor, own: Tensor) -> Tensor:
        """Newton's method for every sample; eigenvalues of the Hessian are made positive, steps that climb halved."""
        for _ in range(_NEWTON if own.shape[1] else 0):
            slope = self.slope(shared, own, self.x)
            if float(slope.abs().max()) < 1e-8:
                break
            values, vectors = torch.linalg.eigh(self.bend(shared, own, self.x))
            along = (vectors.mT @ slope[..., None]).squeeze(-1) / values.abs().clamp(min=1e-3)
            step, now = -(vectors @ along[..., None]).squeeze(-1), self.each(shared, own, self.x)
            scale = torch.ones(len(own), 1, dtype=own.dtype)
            for _ in range(40):
                climbs = (self.each(shared, own + scale * step, self.x) > now + 1e-12)[:, None]
                if not bool(climbs.any()):
                    break
                scale = torch.where(climbs, scale / 2, scale)
            own = torch.where(climbs, own, own + scale * step)
        return own


def climb(model: GenerativeModel, freedom: Freedom, x: Array, start: Fit) -> tuple[Fit, float]:
    """The optimum for data x [N, 2] above a start with one diagonal Σ, and its ELBO per sample.

    Example:
        >>> from curvae.reproduce.uniqueness.evaluate import best_linear_elbo
        >>> from curvae.reproduce.uniqueness.optimum import truth
        >>> model = GenerativeModel(Nonlinearity.IDENTITY, points=32)
        >>> trial = make_trial(model, Guard.OFF, seed=0, index=0)
        >>> _, elbo = climb(model, FREEDOMS["means"], trial.x, truth(trial))
        >>> abs(elbo - best_linear_elbo(model, trial.x)) < 1e-6
        True
    """
    objective = _Objective(model, freedom, x)
    logs = np.log(np.diag(start.covariance[0]))
    shared = np.r_[start.decoder.ravel(), start.offset]
    shared = np.r_[shared, () if freedom.mean else affine_encoder(x, start.mean)]
    shared = np.r_[shared, () if freedom.variances else logs]
    columns = [*([start.mean] if freedom.mean else []), *([np.tile(logs, (len(x), 1))] if freedom.variances else [])]
    own = torch.from_numpy(np.concatenate(columns, 1) if columns else np.empty((len(x), 0)))

    def value_and_gradient(theta: Array) -> tuple[float, Array]:
        nonlocal own
        at = torch.from_numpy(theta)
        own = objective.best_own(at, own)  # by the envelope theorem its own derivative is not needed
        at = at.clone().requires_grad_()
        value = objective.each(at, own, objective.x).mean()
        (gradient,) = torch.autograd.grad(value, at)
        return float(value.detach()), gradient.numpy()

    found = minimize(value_and_gradient, shared, jac=True, method="BFGS", options={"gtol": 1e-5, "maxiter": 1000})
    at = torch.from_numpy(found.x)
    own = objective.best_own(at, own)
    mean, log_variances = vmap(objective.parts, (None, 0, 0))(at, own, objective.x)
    fit = Fit(found.x[:4].reshape(2, 2), found.x[4:6], mean.numpy(), torch.diag_embed(log_variances.exp()).numpy())
    return fit, -float(found.fun)


def starts(trial: Trial) -> dict[str, Fit]:
    """The true model, and the one whose latents are turned until each drives one output."""
    u, _, vt = np.linalg.svd(trial.mixing)
    turn = (u @ vt).T  # W (UVᵀ)ᵀ is symmetric, nearest to the outputs' axes
    covariance = 0.01 * np.eye(2)[None]
    return {
        "truth": Fit(trial.mixing, np.zeros(2), trial.latents, covariance),
        "axes": Fit(trial.mixing @ turn, np.zeros(2), trial.latents @ turn, covariance),
    }


def freed(extent: Extent, nu: Nonlinearity, draw: int) -> dict[str, dict[str, Any]]:
    """For every freedom the better of the optima from the two starts, by the ELBO, on one data set."""
    model = GenerativeModel(nu, points=extent.points, draw=draw)
    trial = make_trial(model, Guard.OFF, extent.seed, 0)
    found: dict[str, dict[str, Any]] = {}
    for name, freedom in FREEDOMS.items():
        optima = {start: climb(model, freedom, trial.x, fit) for start, fit in starts(trial).items()}
        best = max(optima, key=lambda start: optima[start][1])
        fit, elbo = optima[best]
        found[name] = {
            "elbo": elbo,
            "other_start_below": elbo - min(one for _, one in optima.values()),
            "to_true_latents": angles(trial, fit.mean)[0],
            "decoder_to_output_axes": float(decoder_angles(fit.decoder.reshape(1, 4))[0]),
        }
    return found
