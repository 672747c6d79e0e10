"""Train one trial with the compiled kernel and measure it: a pure function of (panel, seed, index, n)."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curvae.reproduce.uniqueness import amortised, unamortised
from curvae.reproduce.uniqueness.config import Panel
from curvae.reproduce.uniqueness.evaluate import Fit, amortised_fit, angles, elbo_terms, unamortised_fit
from curvae.reproduce.uniqueness.trial import Array, GenerativeModel, Trial, make_trial

RATE = 0.1
"""The first learning rate (the paper's)."""


@dataclass(frozen=True)
class TrialRow:
    """What is kept of a trial.

    Attributes:
        index: which trial.
        period: n.
        elbo: per sample, in nats.
        elbo_error: difference between 32 and 64 quadrature nodes: the error of ``elbo``.
        elbo_spread: standard error of ``elbo`` as an estimate over the data's distribution (sd over data / √N).
        elbo_start: at the starting point.
        angle: to the true latents, in degrees in (−45, 45].
        angle_principal: to the decoder's principal axes.
        decoder: A [4, by rows].
        offset: b [2].
        encoder: C [4, by rows] and d [2] of the best affine map from x to the posterior means; exact if amortised.
        variances: the two diagonal entries of Σ (of its mean over the data), and the off-diagonal one.
    """

    index: int
    period: int
    elbo: float
    elbo_error: float
    elbo_spread: float
    elbo_start: float
    angle: float
    angle_principal: float
    decoder: tuple[float, ...]
    offset: tuple[float, ...]
    encoder: tuple[float, ...]
    variances: tuple[float, ...]


FIELDS = tuple(field.name for field in dataclasses.fields(TrialRow))


def run_trial(panel: Panel, seed: int, index: int, period: int) -> TrialRow:
    """Train trial ``index`` for 5 ``period`` iterations and measure it.

    The result does not depend on what else runs: all random numbers come from (seed, index), and one thread does all
    of a trial's arithmetic.
    """
    trial = make_trial(panel.model, panel.guard, seed, index)
    train = train_amortised if panel.amortised else train_unamortised
    start, fit = train(panel, trial, period, 0), train(panel, trial, period, 5 * period)
    return measure(panel.model, trial, start, fit, index, period)


def measure(model: GenerativeModel, trial: Trial, start: Fit, fit: Fit, index: int, period: int) -> TrialRow:
    """The row of a trained trial."""
    terms = elbo_terms(model, trial.x, fit)
    coarse = elbo_terms(model, trial.x, fit, nodes=32)
    true, principal = angles(trial, fit.mean)
    covariance = fit.covariance.mean(0)
    return TrialRow(
        index=index,
        period=period,
        elbo=float(terms.mean()),
        elbo_error=float(abs(terms.mean() - coarse.mean())),
        elbo_spread=float(terms.std() / np.sqrt(terms.size)),
        elbo_start=float(elbo_terms(model, trial.x, start, nodes=32).mean()),
        angle=true,
        angle_principal=principal,
        decoder=tuple(fit.decoder.ravel().tolist()),
        offset=tuple(fit.offset.tolist()),
        encoder=affine_encoder(trial.x, fit.mean),
        variances=(float(covariance[0, 0]), float(covariance[1, 1]), float(covariance[0, 1])),
    )


def affine_encoder(x: Array, mean: Array) -> tuple[float, ...]:
    """C by rows, then d, of the least-squares map from the data [N, 2] to the posterior means [N, 2]."""
    if not np.isfinite(mean).all():
        return (np.nan,) * 6
    solution = np.linalg.lstsq(np.c_[x, np.ones(len(x))], mean, rcond=None)[0]
    return tuple(np.r_[solution[:2].T.ravel(), solution[2]].tolist())


def _single(trial: Trial) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Data and noise as the kernels read them: one coordinate a row, in single precision."""
    return np.ascontiguousarray(trial.x.T.astype(np.float32)), trial.table.astype(np.float32)


def train_amortised(panel: Panel, trial: Trial, period: int, stop: int) -> Fit:
    """Run the amortised kernel for ``stop`` iterations."""
    theta, first, second = trial.start.copy(), np.zeros(amortised.PARAMETERS), np.zeros(amortised.PARAMETERS)
    if stop:
        x, table = _single(trial)
        amortised.trainer(panel.model.nu)(
            theta, first, second, x, table, trial.rotations, trial.key,
            0, stop, period, RATE, panel.model.sigma, panel.mean_field,
        )  # fmt: skip
    return amortised_fit(trial.x, theta, panel.mean_field, trial.rotations)


def train_unamortised(panel: Panel, trial: Trial, period: int, stop: int) -> Fit:
    """Run the unamortised kernel for ``stop`` iterations."""
    theta, first, second = trial.start[: unamortised.SHARED].copy(), np.zeros(6), np.zeros(6)
    local = unamortised.to_blocks(trial.start_local.astype(np.float32))
    if stop:
        x, table = _single(trial)
        unamortised.trainer(panel.model.nu, panel.mean_field)(
            theta, first, second, local, np.zeros_like(local), np.zeros_like(local), x, table, trial.rotations,
            trial.key, 0, stop, period, RATE, panel.model.sigma,
        )  # fmt: skip
    return unamortised_fit(trial, theta, unamortised.from_blocks(local).astype(np.float64), panel.mean_field)
