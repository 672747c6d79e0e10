"""Linear decoders: probabilistic principal components, with scikit-learn for an outside answer (real digits)."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import scipy.stats
import torch
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from torch import Tensor, nn

from curvae import Autoencoder
from curvae.likelihoods import Gaussian
from curvae.nn import linear_decoder, linear_encoder
from curvae.objectives import GRAE, Taylor
from curvae.posteriors import BlockDiagonal, Diagonal, Full, Normal, Structure

pytestmark = pytest.mark.usefixtures("float64")

LATENTS = 4


@pytest.fixture(scope="module")
def digits() -> Tensor:
    """300 handwritten digits of 8 × 8 pixels less their mean, whose first eigenvalues are well apart."""
    images = load_digits().images[1150:1450] / 16
    return torch.from_numpy(images - images.mean(0))[:, None]


def _pca(digits: Tensor) -> PCA:
    return PCA(LATENTS, svd_solver="full").fit(digits.flatten(1).numpy())


def _maximum_likelihood(digits: Tensor, beta: float) -> PCA:
    """scikit-learn's model at a noise variance of ours: covariances with 1/n, for n − 1 is not maximum likelihood."""
    pca = _pca(digits)
    pca.explained_variance_ *= (len(digits) - 1) / len(digits)
    pca.noise_variance_ = beta
    return pca


def _with_optimal_encoder(weight: Tensor, bias: Tensor, beta: float) -> Autoencoder:
    """h(x) = (AᵀA + βI)⁻¹ Aᵀ (x − b), the minimiser of (13) in h."""
    shape = (1, 8, 8)
    encoder, decoder = linear_encoder(shape, weight.shape[1]), linear_decoder(weight.shape[1], shape)
    gain = torch.linalg.solve(weight.T @ weight + beta * torch.eye(weight.shape[1]), weight.T)
    with torch.no_grad():
        decoder[0].weight.copy_(weight)
        decoder[0].bias.copy_(bias)
        encoder[1].weight.copy_(gain)
        encoder[1].bias.copy_(-gain @ bias)
    return Autoencoder(encoder, decoder, latents=weight.shape[1])


def _expected(log_likelihood: np.ndarray, beta: float, outputs: int = 64) -> Tensor:
    """Finding of the theory: (13) is −β log p(x) − ½βD log 2πβ at the optimal encoder."""
    return torch.from_numpy(-beta * log_likelihood - 0.5 * beta * outputs * math.log(2 * math.pi * beta))


def test_grae_is_scikit_learns_likelihood(digits: Tensor, seed: int) -> None:
    pca = _pca(digits)
    beta = float(pca.noise_variance_)
    axes, variances = torch.from_numpy(pca.components_.T), torch.from_numpy(pca.explained_variance_)
    rotation = torch.linalg.qr(torch.randn(LATENTS, LATENTS))[0]
    weight = axes * (variances - beta).sqrt() @ rotation
    model = _with_optimal_encoder(weight, torch.from_numpy(pca.mean_), beta)
    expected = _expected(pca.score_samples(digits.flatten(1).numpy()), beta)
    torch.testing.assert_close(GRAE(beta)(model, digits).total, expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("beta", [0.03, 0.7])
def test_any_linear_decoder_is_a_marginal_likelihood(beta: float, digits: Tensor, seed: int) -> None:
    weight, bias = 0.5 * torch.randn(64, 3), torch.randn(64)
    model = _with_optimal_encoder(weight, bias, beta)
    x = digits[:20]
    marginal = scipy.stats.multivariate_normal(bias.numpy(), (weight @ weight.T + beta * torch.eye(64)).numpy())
    expected = _expected(marginal.logpdf(x.flatten(1).numpy()), beta)
    torch.testing.assert_close(GRAE(beta)(model, x).total, expected, rtol=1e-6, atol=1e-9)
    # the same marginal from σ² = β and a weight of one: an evidence lower bound that is tight
    unit = GRAE(1.0, Gaussian(math.sqrt(beta)))(model, x).total
    torch.testing.assert_close(unit, expected / beta, rtol=1e-6, atol=1e-9)


def test_the_optimal_posterior_is_bayes(digits: Tensor, seed: int) -> None:
    """q's mean and covariance are the exact posterior's, so that (7) loses nothing."""
    beta, x = 0.2, digits[:10]
    weight, bias = 0.5 * torch.randn(64, 3), torch.randn(64)
    model = _with_optimal_encoder(weight, bias, beta)
    q = Normal(model.encode(x), Full().optimal((weight.T @ weight).expand(10, -1, -1), beta))
    # conditioning the joint normal of (z, x), by its covariance
    cross = torch.linalg.solve(weight @ weight.T + beta * torch.eye(64), weight).T
    torch.testing.assert_close(q.mean, (x.flatten(1) - bias) @ cross.T)
    torch.testing.assert_close(q.covariance()[0], torch.eye(3) - cross @ weight)
    model.posterior = lambda x: q
    torch.testing.assert_close(Taylor(beta)(model, x).total, GRAE(beta)(model, x).total)


def _trained(digits: Tensor, objective: Callable[[Autoencoder, Tensor], Tensor], iterations: int) -> Autoencoder:
    shape = (1, 8, 8)
    model = Autoencoder(linear_encoder(shape, LATENTS), linear_decoder(LATENTS, shape), latents=LATENTS)
    optimiser = torch.optim.LBFGS(
        model.parameters(),
        max_iter=iterations,
        history_size=50,
        tolerance_grad=1e-9,
        tolerance_change=1e-14,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        optimiser.zero_grad()
        loss = objective(model, digits)
        loss.backward()
        return loss

    optimiser.step(closure)
    return model


def _angles(weight: Tensor, axes: Tensor) -> Tensor:
    """Principal angles between two subspaces, in degrees."""
    cosines = torch.linalg.svdvals(torch.linalg.qr(weight)[0].T @ axes)
    return torch.rad2deg(torch.arccos(cosines.clamp(max=1)))


@pytest.mark.cases(1)
@pytest.mark.usefixtures("as_shipped")  # some hundred steps: shapes are checked elsewhere
@pytest.mark.parametrize(
    ("structure", "start"), [(Full(), 0), (BlockDiagonal(2), 1), (Diagonal(), 2), (Diagonal(), 3)], ids=str
)
def test_training_from_random_weights_finds_the_principal_subspace(
    structure: Structure, start: int, digits: Tensor
) -> None:
    torch.manual_seed(start)
    beta = 0.05
    pca = _maximum_likelihood(digits, beta)
    assert pca.explained_variance_.min() > 2 * beta
    model = _trained(digits, lambda m, x: GRAE(beta, structure=structure)(m, x).mean(), iterations=300)
    got = GRAE(beta, structure=structure)(model, digits).mean()
    expected = _expected(pca.score_samples(digits.flatten(1).numpy()), beta).mean()
    torch.testing.assert_close(got, expected, rtol=1e-6, atol=0)
    axes = torch.from_numpy(pca.components_.T)
    weight = model.decoder[0].weight.detach()
    assert _angles(weight, axes).max() < 0.5
    # the columns' spread is that of the data less the noise
    torch.testing.assert_close(
        torch.linalg.svdvals(weight).square(), torch.from_numpy(pca.explained_variance_) - beta, rtol=1e-3, atol=0
    )
    gram = (weight.T @ weight) / torch.outer(weight.norm(dim=0), weight.norm(dim=0))
    if isinstance(structure, Diagonal):
        torch.testing.assert_close(gram, torch.eye(LATENTS), rtol=0, atol=5e-3)
        overlap = (nn.functional.normalize(weight, dim=0).T @ axes).abs()  # each column is one axis, in some order
        torch.testing.assert_close(overlap.max(1).values, torch.ones(LATENTS), rtol=0, atol=1e-3)
        assert sorted(overlap.argmax(1).tolist()) == list(range(LATENTS))
    elif isinstance(structure, Full):
        assert (gram - torch.eye(LATENTS)).abs().max() > 0.05  # nothing asks a full covariance for orthogonality
    else:
        torch.testing.assert_close(gram[:2, 2:], torch.zeros(2, 2), rtol=0, atol=5e-3)
