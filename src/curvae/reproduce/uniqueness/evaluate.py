"""What is measured on a trained trial: its ELBO without sampling error, and its rotation angles.

Given a Gaussian q, output j of the decoder depends on z only through u_j = a_j·z, a scalar Gaussian; so the expected
misfit needs one-dimensional Gauss–Hermite quadrature, two per sample, instead of samples or a product rule. It is exact
for ν = identity, where it is also known in closed form.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from curvae.identifiability.procrustes import orthogonal_procrustes, rotation_angle
from curvae.reproduce.uniqueness.trial import Array, GenerativeModel, Trial

_STRAIGHT = np.stack([np.eye(2)] * 3)


@dataclass(frozen=True)
class Fit:
    """A trained model on its data.

    Attributes:
        decoder: A [2, 2].
        offset: b [2].
        mean: posterior means [N, 2].
        covariance: posterior covariances [N or 1, 2, 2].
    """

    decoder: Array
    offset: Array
    mean: Array
    covariance: Array


def _covariance(rotation: Array, spread: Array, mean_field: bool) -> Array:
    factor = rotation @ spread
    covariance = factor @ np.swapaxes(factor, -1, -2)
    return covariance * np.eye(2) if mean_field else covariance


def amortised_fit(x: Array, theta: Array, mean_field: bool, rotations: Array = _STRAIGHT) -> Fit:
    """Read A, b, C, d and Σ off the kernel's parameters [16], learned in rotated frames or not."""
    o1, o2, o3 = rotations.reshape(3, 2, 2)
    a, c, spread = theta[:4].reshape(2, 2), theta[6:10].reshape(2, 2), theta[12:].reshape(2, 2)
    mean = x @ (o1 @ c).T + theta[10:12]
    return Fit(a @ o3.T, theta[4:6], mean, _covariance(o2, spread, mean_field)[None])


def unamortised_fit(trial: Trial, theta: Array, local: Array, mean_field: bool) -> Fit:
    """Read A, b, μ_i and Σ_i off the kernel's parameters [6] and [6, N]."""
    _, o2, o3 = trial.rotations.reshape(3, 2, 2)
    spread = local[2:].T.reshape(-1, 2, 2)
    return Fit(theta[:4].reshape(2, 2) @ o3.T, theta[4:], local[:2].T, _covariance(o2, spread, mean_field))


def elbo_terms(model: GenerativeModel, x: Array, fit: Fit, nodes: int = 64) -> NDArray[np.float64]:
    """The ELBO of every sample [N] of x [N, 2] in nats, all constants included, by Gauss–Hermite quadrature."""
    at, weights = np.polynomial.hermite_e.hermegauss(nodes)
    variance = np.einsum("ja,nab,jb->nj", fit.decoder, fit.covariance, fit.decoder)
    u = (fit.mean @ fit.decoder.T)[..., None] + np.sqrt(variance)[..., None] * at
    squares = (x[..., None] - model.nu(u) - fit.offset[:, None]) ** 2 @ (weights / math.sqrt(2 * math.pi))
    log_likelihood = -squares.sum(1) / (2 * model.sigma**2) - math.log(2 * math.pi * model.sigma**2)
    trace = np.trace(fit.covariance, axis1=1, axis2=2)
    kl = 0.5 * ((fit.mean**2).sum(1) + trace - np.linalg.slogdet(fit.covariance).logabsdet - 2)
    return log_likelihood - kl


def best_linear_elbo(model: GenerativeModel, x: Array) -> float:
    """The highest ELBO per sample that any linear decoder reaches on these data: probabilistic PCA with known σ.

    With ν the identity a mean-field family loses nothing (its optimum has orthogonal decoder columns), so this is the
    maximum for both families. Eigenvalues of the sample covariance below σ² get no latent.

    Example:
        >>> from curvae.reproduce.uniqueness.activations import Nonlinearity
        >>> x = np.random.default_rng(0).normal(size=(1000, 2))
        >>> best_linear_elbo(GenerativeModel(Nonlinearity.IDENTITY), x) < -2 * 0.5 * math.log(2 * math.pi)
        True
    """
    eigenvalues = np.linalg.eigvalsh(np.cov(x.T, bias=True))
    variances = np.maximum(eigenvalues, model.sigma**2)
    return float(-0.5 * (np.log(2 * math.pi * variances) + eigenvalues / variances).sum())


def angles(trial: Trial, mean: Array) -> tuple[float, float]:
    """Rotation angle of the posterior means to the true latents, and to the decoder's principal axes, in degrees.

    With W = USVᵀ the principal axes are the latents Vᵀz: turned so, W has orthogonal columns.
    """
    if not np.isfinite(mean).all():
        return math.nan, math.nan
    inferred = torch.from_numpy(np.ascontiguousarray(mean))
    _, _, vt = np.linalg.svd(trial.mixing)
    targets = (trial.latents, trial.latents @ vt.T)
    first, second = (rotation_angle(orthogonal_procrustes(torch.from_numpy(t), inferred)) for t in targets)
    return first, second
