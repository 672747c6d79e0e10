"""Where the ELBO's optimum itself lies: the deterministic ELBO of the amortised model, maximised to convergence.

Training with one noise sample and a falling learning rate stops near an optimum; how near is part of the paper's plot.
With the quadrature of ``evaluate`` the ELBO is a smooth function of sixteen numbers, which a quasi-Newton method
maximises to machine precision in a tenth of a second. That tells apart the two reasons for an angle that is not zero: a
run that has not converged, and an optimum that is not at the true latents.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.optimize import minimize

from curvae.reproduce.uniqueness.amortised import PARAMETERS, expectation
from curvae.reproduce.uniqueness.config import Panel
from curvae.reproduce.uniqueness.engine import TrialRow, affine_encoder, measure
from curvae.reproduce.uniqueness.evaluate import Fit, amortised_fit
from curvae.reproduce.uniqueness.trial import Array, GenerativeModel, Trial, make_trial

NODES = 6


def maximise_elbo(model: GenerativeModel, mean_field: bool, x: Array, fit: Fit) -> tuple[Fit, float]:
    """Climb from an amortised model to the optimum above it (BFGS in double precision), and its ELBO per sample.

    The posterior means of ``fit``, where it starts, must be affine in the data x [N, 2].

    Example:
        >>> from curvae.reproduce.uniqueness.activations import Nonlinearity
        >>> from curvae.reproduce.uniqueness.evaluate import best_linear_elbo
        >>> from curvae.reproduce.uniqueness.trial import Guard, make_trial
        >>> model = GenerativeModel(Nonlinearity.IDENTITY, points=64)
        >>> trial = make_trial(model, Guard.OFF, seed=0, index=0)
        >>> _, elbo = maximise_elbo(model, True, trial.x, truth(trial))
        >>> abs(elbo - best_linear_elbo(model, trial.x)) < 1e-8
        True
    """
    encoder = np.array(affine_encoder(x, fit.mean))
    start = np.r_[fit.decoder.ravel(), fit.offset, encoder, np.linalg.cholesky(fit.covariance[0]).ravel()]
    at, weights = np.polynomial.hermite_e.hermegauss(NODES)
    moments = np.r_[x.mean(0), (x.T @ x / len(x)).ravel()]
    columns, compiled = np.ascontiguousarray(x.T), expectation(model.nu)

    def value_and_gradient(theta: Array) -> tuple[float, Array]:
        gradient = np.zeros(PARAMETERS)
        normal = weights / math.sqrt(2 * math.pi)
        loss = compiled(theta, columns, at, normal, moments, model.sigma, mean_field, gradient)
        return loss + math.log(2 * math.pi * model.sigma**2), gradient

    found = minimize(value_and_gradient, start, jac=True, method="BFGS", options={"gtol": 1e-6, "maxiter": 2000})
    return amortised_fit(x, found.x, mean_field), -float(found.fun)


def truth(trial: Trial) -> Fit:
    """The true decoder with the best affine encoder to the true latents: where the search for the optimum starts."""
    encoder = np.array(affine_encoder(trial.x, trial.latents))
    mean = trial.x @ encoder[:4].reshape(2, 2).T + encoder[4:]
    return Fit(trial.mixing, np.zeros(2), mean, 0.01 * np.eye(2)[None])


def run_optimum(panel: Panel, seed: int, index: int, period: int) -> TrialRow:
    """The row of the amortised mean-field optimum for the data of trial ``index``; see ``engine.run_trial``.

    Its ``elbo_start`` is the ELBO at the true decoder, where the search begins.
    """
    trial = make_trial(panel.model, panel.guard, seed, index)
    start = truth(trial)
    best, _ = maximise_elbo(panel.model, panel.mean_field, trial.x, start)
    return measure(panel.model, trial, start, best, index, period)
