"""The quadrature ELBO and its optimum against closed forms, samples and scikit-learn."""

import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from curvae.reproduce.uniqueness import amortised
from curvae.reproduce.uniqueness.activations import Nonlinearity
from curvae.reproduce.uniqueness.evaluate import Fit, angles, best_linear_elbo, elbo_terms
from curvae.reproduce.uniqueness.optimum import maximise_elbo, truth
from curvae.reproduce.uniqueness.trial import GenerativeModel, Guard, MixingColumns, Trial, make_trial

sys.path.insert(0, str(Path(__file__).parents[3]))

from benchmarks import uniqueness_reference as reference


def _random_fit(trial: Trial, rng: np.random.Generator, mean_field: bool, each: bool) -> Fit:
    factor = 0.3 * rng.normal(size=(len(trial.x) if each else 1, 2, 2)) + 0.2 * np.eye(2)
    covariance = factor @ factor.swapaxes(1, 2)
    covariance = covariance * np.eye(2) if mean_field else covariance
    return Fit(rng.normal(size=(2, 2)), rng.normal(size=2), rng.normal(size=trial.x.shape), covariance)


@pytest.mark.parametrize("each", [False, True])
@pytest.mark.parametrize("mean_field", [False, True])
def test_identity_has_a_closed_form(mean_field: bool, each: bool) -> None:
    rng = np.random.default_rng()
    model = GenerativeModel(Nonlinearity.IDENTITY, points=32, sigma=0.3)
    trial = make_trial(model, Guard.PAPER, 0, 0)
    fit = _random_fit(trial, rng, mean_field, each)
    expected = []
    for i, x in enumerate(trial.x):
        mu, sigma = fit.mean[i], fit.covariance[i if each else 0]
        residual = x - fit.decoder @ mu - fit.offset
        misfit = residual @ residual + np.trace(fit.decoder @ sigma @ fit.decoder.T)
        likelihood = -misfit / (2 * 0.3**2) - 2 * 0.5 * math.log(2 * math.pi * 0.3**2)
        kl = 0.5 * (mu @ mu + np.trace(sigma) - math.log(np.linalg.det(sigma)) - 2)
        expected.append(likelihood - kl)
    np.testing.assert_allclose(elbo_terms(model, trial.x, fit, nodes=3), expected, rtol=1e-10)


@pytest.mark.parametrize("nu", Nonlinearity)
def test_quadrature_is_what_samples_converge_to(nu: Nonlinearity) -> None:
    rng = np.random.default_rng(5)
    model = GenerativeModel(nu, points=32, sigma=0.5)
    trial = make_trial(model, Guard.PAPER, 0, 1)
    fit = _random_fit(trial, rng, mean_field=False, each=True)
    factor = np.linalg.cholesky(fit.covariance)
    eps = rng.normal(size=(20_000, 32, 2))
    z = fit.mean + np.einsum("nab,snb->sna", factor, eps)
    misfit = ((trial.x - nu(z @ fit.decoder.T) - fit.offset) ** 2).sum(-1) / (2 * 0.5**2)
    log_q = -0.5 * (eps**2).sum(-1) - np.log(np.linalg.det(factor))
    log_p = -0.5 * (z**2).sum(-1)
    samples = (-misfit - math.log(2 * math.pi * 0.5**2) + log_p - log_q).mean(1)
    standard_error = samples.std() / math.sqrt(samples.size)
    assert abs(samples.mean() - elbo_terms(model, trial.x, fit).mean()) < 5 * standard_error


@pytest.mark.cases(1)
@pytest.mark.parametrize("index", range(3))
def test_identitys_optimum_is_probabilistic_pca(index: int) -> None:
    """The mean-field optimum reaches the exact log-likelihood at PCA's solution, known noise variance."""
    model = GenerativeModel(Nonlinearity.IDENTITY, columns=MixingColumns.GAUSSIAN, points=512)
    trial = make_trial(model, Guard.PAPER, 3, index)
    pca = PCA(1).fit(trial.x)  # its noise variance is the discarded eigenvalue; ours is known, hence the formula
    eigenvalues = np.r_[pca.explained_variance_, pca.noise_variance_] * (511 / 512)
    likelihood = -0.5 * (2 + np.log((2 * math.pi) ** 2 * eigenvalues.prod()))
    assert best_linear_elbo(model, trial.x) == pytest.approx(likelihood, rel=1e-10)
    for mean_field in (True, False):
        fit, elbo = maximise_elbo(model, mean_field, trial.x, truth(trial))
        assert elbo == pytest.approx(likelihood, abs=1e-8)
        assert elbo_terms(model, trial.x, fit).mean() == pytest.approx(elbo, abs=1e-10)
        if mean_field:
            assert abs(angles(trial, fit.mean)[1]) < 5


@pytest.mark.cases(1)
@pytest.mark.parametrize("nu", [Nonlinearity.TANH, Nonlinearity.ELU])
def test_the_optimum_is_one_whatever_the_start(nu: Nonlinearity) -> None:
    """Mean-field: one ELBO and one rotation; full: one ELBO, any rotation."""
    model = GenerativeModel(nu, points=256)
    trial = make_trial(model, Guard.PAPER, 1, 0)
    start = truth(trial)
    found = {True: [], False: []}
    for degrees in (0.0, 15.0, 30.0):
        c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
        turn = np.array([[c, -s], [s, c]])
        turned = Fit(start.decoder @ turn.T, start.offset, start.mean @ turn.T, start.covariance)
        for mean_field, results in found.items():
            best, elbo = maximise_elbo(model, mean_field, trial.x, turned)
            results.append((elbo, angles(trial, best.mean)[0]))
    for results in found.values():
        np.testing.assert_allclose([e for e, _ in results], results[0][0], atol=1e-7)
    np.testing.assert_allclose([a for _, a in found[True]], found[True][0][1], atol=0.05)
    # a rotation of the full family's optimum is an optimum: it stays about where the search began
    assert np.ptp([a for _, a in found[False]]) > 10
    # and since Σ is shared, one of those rotations makes it diagonal: both families reach the same ELBO
    assert found[True][0][0] == pytest.approx(found[False][0][0], abs=1e-7)


def test_angles_of_a_rotated_truth() -> None:
    trial = make_trial(
        GenerativeModel(Nonlinearity.TANH, columns=MixingColumns.GAUSSIAN, points=128), Guard.PAPER, 2, 0
    )
    c, s = math.cos(0.3), math.sin(0.3)
    rotation = np.array([[c, -s], [s, c]])
    # inferred = Rᵀ z, so that z = R · inferred
    assert angles(trial, trial.latents @ rotation)[0] == pytest.approx(math.degrees(0.3))
    _, _, vt = np.linalg.svd(trial.mixing)
    assert angles(trial, trial.latents @ vt.T @ rotation)[1] == pytest.approx(math.degrees(0.3))
    assert all(math.isnan(a) for a in angles(trial, np.full((128, 2), np.nan)))


@pytest.mark.parametrize("nu", Nonlinearity)
def test_the_expectation_and_its_gradient_are_autograds(nu: Nonlinearity) -> None:
    rng = np.random.default_rng()
    x, theta, sigma = rng.normal(size=(40, 2)), rng.normal(size=16), 0.3
    at, weights = np.polynomial.hermite_e.hermegauss(16)
    moments = np.r_[x.mean(0), (x.T @ x / 40).ravel()]
    for mean_field in (True, False):
        values = torch.from_numpy(theta).requires_grad_()
        loss = reference.expected_negative_elbo(nu, sigma, mean_field, values, torch.from_numpy(x), nodes=16)
        (expected,) = torch.autograd.grad(loss, values)
        gradient = np.zeros(16)
        normal = weights / math.sqrt(2 * math.pi)
        arguments = np.ascontiguousarray(x.T), at, normal, moments, sigma, mean_field, gradient
        found = amortised.expectation(nu)(theta, *arguments)
        assert found + math.log(2 * math.pi * sigma**2) == pytest.approx(float(loss.detach()), rel=1e-12)
        np.testing.assert_allclose(gradient, expected.numpy(), rtol=1e-9, atol=1e-10)


def test_the_reference_at_the_prior_is_its_closed_form() -> None:
    theta = torch.tensor([1.0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 1], dtype=torch.float64)
    x = torch.zeros(1, 2, dtype=torch.float64)  # q is the prior: E‖z‖²/2 + log 2π
    loss = reference.expected_negative_elbo(Nonlinearity.IDENTITY, 1.0, True, theta, x)
    assert float(loss) == pytest.approx(1 + math.log(2 * math.pi), abs=1e-12)
