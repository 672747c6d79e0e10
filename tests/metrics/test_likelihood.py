"""Importance-weighted likelihoods against probabilistic PCA, quadrature and a naive loop."""

import math

import numpy as np
import pytest
import scipy.integrate
import scipy.stats
import torch
from scipy.special import logsumexp
from sklearn.decomposition import PCA
from torch import nn

from curvae import Autoencoder
from curvae.errors import InputError
from curvae.likelihoods import (
    Bernoulli,
    BernoulliLogits,
    Gaussian,
    Laplace,
    LearnedGaussian,
    Likelihood,
    Masked,
    Mixed,
    Poisson,
    SizeFactors,
    StudentT,
)
from curvae.metrics import Implied, at_unit_beta, importance_weighted_nll
from curvae.posteriors import BlockDiagonal, Diagonal, Full

pytestmark = pytest.mark.usefixtures("float64")

D, LATENTS = 7, 3


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def linear_model(weight: torch.Tensor, bias: torch.Tensor, variance: float) -> Autoencoder:
    """An affine decoder with the encoder that gives the exact posterior's mean under N(Wz + b, variance)."""
    d = weight.shape[1]
    model = Autoencoder(nn.Linear(len(weight), d), nn.Linear(d, len(weight)), latents=d)
    gain = torch.linalg.solve(weight.mT @ weight + variance * torch.eye(d), weight.mT)
    with torch.no_grad():
        model.encoder.weight.copy_(gain)
        model.encoder.bias.copy_(-gain @ bias)
        model.decoder.weight.copy_(weight)
        model.decoder.bias.copy_(bias)
    return model


@pytest.fixture
def ppca(seed: int) -> tuple[Autoencoder, torch.Tensor, float, np.ndarray]:
    """A model of fitted principal components, data, noise variance and scikit-learn's −log p of each sample."""
    mixing = torch.randn(LATENTS, D)
    x = torch.randn(60, LATENTS) @ mixing + 0.4 * torch.randn(60, D)
    pca = PCA(LATENTS).fit(x.numpy())
    scale = np.sqrt(pca.explained_variance_ - pca.noise_variance_)
    weight = torch.from_numpy(pca.components_.T * scale)
    model = linear_model(weight, torch.from_numpy(pca.mean_), pca.noise_variance_)
    return model, x, float(pca.noise_variance_), -pca.score_samples(x.numpy())


@pytest.mark.parametrize("samples", [1, 2, 7, 50])
def test_the_exact_posterior_gives_ppcas_likelihood_for_every_k(
    ppca: tuple[Autoencoder, torch.Tensor, float, np.ndarray], samples: int
) -> None:
    model, x, variance, oracle = ppca
    noise = Gaussian(math.sqrt(variance))
    found = importance_weighted_nll(
        Implied(model, 1.0, noise), x, noise, samples=samples, generator=generator(), chunk_size=3, batch_size=13
    )
    np.testing.assert_allclose(found.nll, oracle, rtol=1e-10)
    if samples > 1:
        np.testing.assert_allclose(found.ess, samples, rtol=1e-10)
        assert float(found.se.max()) < 1e-5


def test_a_grae_at_beta_is_the_generative_model_at_unit_beta(seed: int) -> None:
    """Σ* of (β, unit noise) is the posterior's covariance under N(Wz + b, βI), for a wide β."""
    beta = 0.3
    weight, bias = torch.randn(D, LATENTS), torch.randn(D)
    model, x = linear_model(weight, bias, beta), torch.randn(20, D)
    marginal = scipy.stats.multivariate_normal(bias.numpy(), (weight @ weight.mT + beta * torch.eye(D)).numpy())
    noise = at_unit_beta(Gaussian(), beta)
    for proposal in (Implied(model, beta, Gaussian()), Implied(model, 1.0, noise)):
        found = importance_weighted_nll(proposal, x, noise, samples=3, generator=generator())
        np.testing.assert_allclose(found.nll, -marginal.logpdf(x.numpy()), rtol=1e-10)


def test_common_noise_is_of_all_latents_whatever_their_shape() -> None:
    inside, outside = nn.Linear(D, 4), nn.Linear(4, D)
    plain = Autoencoder(inside, outside, 4)
    shape = (1, 2, 2)
    networks = nn.Sequential(inside, nn.Unflatten(1, shape)), nn.Sequential(nn.Flatten(), outside)
    maps = Autoencoder(*networks, shape, features=1)
    x, noise, gaussian = torch.randn(5, D), torch.randn(6, 4), Gaussian(0.5)
    one, other = (
        importance_weighted_nll(Implied(model, 1.0, gaussian), x, gaussian, samples=6, noise=noise, chunk_size=4)
        for model in (plain, maps)
    )
    torch.testing.assert_close(one.nll, other.nll)
    with pytest.raises(InputError, match="noise has 1 numbers a draw for 4 latents"):
        importance_weighted_nll(Implied(maps, 1.0, gaussian), x, gaussian, samples=6, noise=noise[:, :1])


@pytest.mark.usefixtures("as_shipped")
def test_noise_of_another_shape_is_refused_in_a_line() -> None:
    model, noise, gaussian = Autoencoder(nn.Linear(D, 3), nn.Linear(3, D), 3), torch.randn(6, 3), Gaussian(0.5)
    for wrong in (noise[0], noise[:5], 3.0):
        with pytest.raises(InputError, match=r"noise is .*; expected a tensor \[6, d\]"):
            importance_weighted_nll(Implied(model, 1.0, gaussian), torch.randn(5, D), gaussian, samples=6, noise=wrong)


@pytest.mark.parametrize("structure", [Diagonal(), BlockDiagonal(2)])
def test_another_proposal_converges_with_an_honest_standard_error(
    ppca: tuple[Autoencoder, torch.Tensor, float, np.ndarray], structure: Diagonal | BlockDiagonal, seed: int
) -> None:
    model, x, variance, oracle = ppca
    turn = torch.linalg.qr(torch.randn(LATENTS, LATENTS))[0]  # or PCA's orthogonal columns make Diagonal exact
    weight, bias = model.decoder.weight.detach() @ turn, model.decoder.bias.detach()
    noise = Gaussian(math.sqrt(2 * variance))
    model = linear_model(weight, bias, 2 * variance)
    marginal = scipy.stats.multivariate_normal(bias.numpy(), (weight @ weight.mT).numpy() + 2 * variance * np.eye(D))
    oracle = -marginal.logpdf(x.numpy())
    proposal = Implied(model, 2.5, noise, structure)  # wider than the posterior: weights of finite variance
    few, many = (
        importance_weighted_nll(proposal, x, noise, samples=k, generator=generator(seed), chunk_size=500)
        for k in (500, 8000)
    )
    score = (many.nll.numpy() - oracle) / many.se.numpy()
    assert 0.7 < np.sqrt(np.mean(score**2)) < 1.35  # 60 data, so 1 ± 0.1 if the standard error is right
    assert abs(score).max() < 5
    np.testing.assert_allclose(float((few.se / many.se).mean()), 4.0, rtol=0.2)
    assert bool((many.ess > few.ess).all())


def test_the_bias_is_upward_falls_with_k_and_is_half_the_squared_error(seed: int) -> None:
    weight, bias = torch.randn(4, 2), torch.zeros(4)
    model, noise = linear_model(weight, bias, 1.0), Gaussian()
    x = torch.randn(1, 4).expand(20_000, -1)
    marginal = scipy.stats.multivariate_normal(np.zeros(4), (weight @ weight.mT + torch.eye(4)).numpy())
    exact = -marginal.logpdf(x[0].numpy())
    excess, predicted, noise_of_mean = [], [], []
    for k in (1, 4, 16, 64):
        found = importance_weighted_nll(
            Implied(model, 1.5, noise, Diagonal()), x, noise, samples=k, generator=generator(seed), batch_size=20_000
        )
        excess.append(float(found.nll.mean()) - exact)
        predicted.append(float(found.bias.mean()))
        noise_of_mean.append(found.mean().se)
    assert all(e > -4 * s for e, s in zip(excess, noise_of_mean, strict=True))
    assert excess[0] > excess[1] > excess[2]
    assert math.isnan(predicted[0])
    assert predicted[3] == pytest.approx(excess[3], abs=4 * noise_of_mean[3] + 0.25 * excess[3])


@pytest.mark.parametrize("likelihood", [BernoulliLogits(), Poisson(), Laplace(0.5)], ids=repr)
def test_equals_quadrature_for_one_latent(likelihood: Likelihood, seed: int) -> None:
    decoder = nn.Sequential(nn.Linear(1, 6), nn.Tanh(), nn.Linear(6, 4))
    model = Autoencoder(nn.Linear(4, 2), decoder, latents=1, structure=Full())
    x = torch.bernoulli(torch.full((3, 4), 0.5))
    with torch.no_grad():
        model.factor_head.weight.zero_()  # a wide proposal
        model.factor_head.bias.zero_()
        model.mean_head.weight.mul_(0.3)

    def density(z: float, sample: torch.Tensor) -> float:
        with torch.no_grad():
            log_p = likelihood.log_prob(decoder(torch.tensor([[z]])), sample[None])
        return math.exp(float(log_p) - 0.5 * z * z) / math.sqrt(2 * math.pi)

    oracle = [-math.log(scipy.integrate.quad(density, -8, 8, args=(sample,))[0]) for sample in x]
    found = importance_weighted_nll(model, x, likelihood, samples=40_000, generator=generator(seed), chunk_size=4000)
    assert bool(((found.nll - torch.tensor(oracle)).abs() < 5 * found.se).all())
    assert float(found.se.max()) < 0.02


def test_equals_the_formula_draw_by_draw(seed: int) -> None:
    decoder = nn.Sequential(nn.Linear(2, 8), nn.ELU(), nn.Linear(8, 5), nn.Sigmoid())
    model = Autoencoder(nn.Linear(5, 4), decoder, latents=2, structure=Full())
    x, k = torch.rand(6, 5), 11
    found = importance_weighted_nll(model, x, Bernoulli(), samples=k, generator=generator(3), chunk_size=k)
    draws = torch.randn(k, 6, 2, generator=generator(3))
    q, log_w = model.posterior(x), np.empty((k, 6))
    for i in range(6):
        mean, covariance = q.mean[i].detach(), q.covariance()[i].detach()
        for j in range(k):
            z = mean + torch.linalg.cholesky(covariance) @ draws[j, i]
            p = decoder(z).detach()
            log_w[j, i] = float((x[i] * p.log() + (1 - x[i]) * (1 - p).log()).sum())
            log_w[j, i] += scipy.stats.multivariate_normal(np.zeros(2)).logpdf(z.numpy())
            log_w[j, i] -= scipy.stats.multivariate_normal(mean.numpy(), covariance.numpy()).logpdf(z.numpy())
    np.testing.assert_allclose(found.nll, math.log(k) - logsumexp(log_w, axis=0), rtol=1e-10)
    weights = np.exp(log_w - log_w.max(0))
    np.testing.assert_allclose(found.ess, weights.sum(0) ** 2 / (weights**2).sum(0), rtol=1e-9)
    np.testing.assert_allclose(found.se, weights.std(0, ddof=1) / weights.mean(0) / math.sqrt(k), rtol=1e-9)


def test_batch_normalisation_stays_as_deployed_and_modes_come_back() -> None:
    decoder = nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8), nn.ELU(), nn.Linear(8, 5))
    model = Autoencoder(nn.Linear(5, 4), decoder, latents=2, structure=Full())
    decoder[1].eval()
    counted = decoder[1].num_batches_tracked.clone()
    x = torch.randn(6, 5)
    together = importance_weighted_nll(model, x, Gaussian(), samples=4, generator=generator(), chunk_size=4)
    assert model.training
    assert not decoder[1].training
    assert decoder[1].num_batches_tracked == counted
    alone = importance_weighted_nll(model.eval(), x, Gaussian(), samples=4, generator=generator(), chunk_size=4)
    assert torch.equal(together.nll, alone.nll)


def test_pixels_and_progress() -> None:
    model = Autoencoder(nn.Linear(4, 2), nn.Linear(2, 4), latents=2)
    pixels, done = torch.randint(0, 256, (5, 4), dtype=torch.uint8), []
    proposal = Implied(model, 1.0)
    found = [
        importance_weighted_nll(
            proposal, data, Gaussian(), samples=3, generator=generator(), batch_size=2, progress=done.append
        )
        for data in (pixels, pixels.double() / 255)
    ]
    torch.testing.assert_close(found[0].nll, found[1].nll)
    assert done == [2, 4, 5] * 2


@pytest.mark.parametrize(
    "likelihood", [Gaussian(0.7), LearnedGaussian(0.7), Laplace(0.6), StudentT(4.0, 0.5)], ids=repr
)
@pytest.mark.parametrize("beta", [0.05, 0.8, 1.0, 1.7])
def test_at_unit_beta_divides_the_nll_and_is_a_density(likelihood: Likelihood, beta: float) -> None:
    tempered = at_unit_beta(likelihood, beta)
    eta, x = torch.randn(4, 3), torch.randn(4, 3)

    def excess(model: Likelihood) -> torch.Tensor:
        return model.nll(eta, x) - model.nll(eta, eta)

    torch.testing.assert_close(excess(tempered), excess(likelihood) / beta)

    def density(value: float) -> float:
        return float(tempered.log_prob(torch.zeros(1, 1), torch.tensor([[value]])).detach().exp())

    assert 2 * scipy.integrate.quad(density, 0, np.inf)[0] == pytest.approx(1, abs=1e-6)


def test_at_unit_beta_leaves_other_models_alone_and_refuses_what_is_no_density() -> None:
    bernoulli = BernoulliLogits()
    assert at_unit_beta(bernoulli, 0.2) is bernoulli
    with pytest.raises(InputError, match="smaller beta"):
        at_unit_beta(StudentT(1.0), 2.5)
    with pytest.raises(InputError, match="beta is 0"):
        at_unit_beta(Gaussian(), 0.0)


def test_bad_input_is_refused_in_one_line() -> None:
    model = Implied(Autoencoder(nn.Linear(4, 2), nn.Linear(2, 4), latents=2), 1.0)
    for arguments, message in (
        ({"samples": 0}, "samples is 0"),
        ({"samples": 2, "chunk_size": 0}, "chunk_size is 0"),
        ({"samples": 2, "batch_size": 0}, "batch_size is 0"),
    ):
        with pytest.raises(InputError, match=message):
            importance_weighted_nll(model, torch.rand(3, 4), Gaussian(), generator=generator(), **arguments)
    with pytest.raises(InputError, match="no samples"):
        importance_weighted_nll(model, torch.rand(0, 4), Gaussian(), samples=2, generator=generator())
    with pytest.raises(InputError, match="holds infinity"):
        importance_weighted_nll(model, torch.full((2, 4), math.inf), Gaussian(), samples=2, generator=generator())
    with pytest.raises(InputError, match="deterministic"):
        importance_weighted_nll(model.model, torch.rand(2, 4), Gaussian(), samples=2, generator=generator())


def test_unit_beta_of_products_and_gaps() -> None:
    each = LearnedGaussian(torch.tensor([0.5, 2.0]))
    found = at_unit_beta(Masked(each), 0.25)
    assert isinstance(found, Masked)
    torch.testing.assert_close(found.likelihood.sigma, torch.tensor([0.25, 1.0]))
    assert not found.likelihood.log_sigma.requires_grad
    mixed = at_unit_beta(Mixed([(Gaussian(2.0), 1), (Laplace(1.0), 2)]), 0.25)
    assert [repr(part.likelihood) for part in mixed.parts] == ["Gaussian(sigma=1)", "Laplace(scale=0.25)"]
    for none in (Masked(Poisson()), Mixed([(Gaussian(), 1), (BernoulliLogits(), 1)]), SizeFactors(Poisson())):
        assert at_unit_beta(none, 0.25) is none


def test_every_batch_is_looked_at(monkeypatch: pytest.MonkeyPatch):
    """On an accelerator, too, where a training looks at fewer and fewer."""
    monkeypatch.setattr("curvae.objectives.support.looks", lambda *_: False)
    model = Autoencoder(nn.Linear(4, 5), nn.Linear(2, 4), 2, Diagonal())
    with pytest.raises(InputError, match=r"the data have 0\.5"):
        importance_weighted_nll(model, torch.full((3, 4), 0.5), Poisson(), samples=2, generator=generator())
