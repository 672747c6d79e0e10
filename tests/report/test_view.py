"""The page's arrays against direct computation with reverse-mode Jacobians."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import hessian, jacrev, vmap

from curvae import Autoencoder
from curvae.likelihoods import Bernoulli, BernoulliLogits, Gaussian, Likelihood, Poisson
from curvae.posteriors import BlockDiagonal, Diagonal, Full, Structure
from curvae.report.sections import strongest
from curvae.report.view import View, prior_noise

D, LATENTS, BETA = 7, 4, 0.3


def _model(structure: Structure | None, seed: int, output: nn.Module | None = None) -> Autoencoder:
    encoder = nn.Sequential(nn.Linear(D, 9), nn.Tanh(), nn.Linear(9, 6))
    layers = [nn.Linear(LATENTS, 8), nn.BatchNorm1d(8), nn.ELU(), nn.Linear(8, D), output or nn.Identity()]
    model = Autoencoder(encoder, nn.Sequential(*layers), LATENTS, structure, features=6)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.6 * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype))
    return model.double().eval()


def _data(seed: int) -> torch.Tensor:
    return torch.rand(5, D, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _curvature(model: Autoencoder, x: torch.Tensor, log_prob: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]):
    """M = −Jᵀ H J with a dense Hessian of the log-likelihood in the outputs."""
    h = model.encode(x)
    jacobian = vmap(jacrev(lambda z: model.decode(z[None])[0]))(h)
    eta = model.decode(h)
    inner = vmap(hessian(lambda e, one: log_prob(e[None], one[None])[0]))(eta, x)
    return (-jacobian.mT @ inner @ jacobian).detach().numpy()


@pytest.mark.parametrize("likelihood", [Gaussian(), Gaussian(0.4), BernoulliLogits(), Poisson(), Bernoulli()], ids=repr)
def test_implied_precision_is_the_decoders(likelihood: Likelihood, seed: int) -> None:
    model = _model(None, seed, nn.Sigmoid() if isinstance(likelihood, Bernoulli) else None)
    x = _data(seed).round() if isinstance(likelihood, Poisson) else _data(seed)
    found = View(model, likelihood, Full(), BETA).precisions(x)
    expected = np.eye(LATENTS) + _curvature(model, x, likelihood.log_prob) / BETA
    np.testing.assert_allclose(found.implied, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("structure", [Diagonal(), BlockDiagonal(3), Full()], ids=repr)
def test_a_models_own_posterior_is_shown(structure: Structure) -> None:
    model, x = _model(structure, 2), _data(2)
    found = View(model, Gaussian(), structure, BETA).precisions(x)
    covariance = model.posterior(x).covariance().detach().numpy()
    assert found.own
    np.testing.assert_allclose(found.posterior, np.linalg.inv(covariance), rtol=1e-8, atol=1e-9)
    difference = np.linalg.norm(found.posterior - found.implied, axis=(1, 2))
    np.testing.assert_allclose(found.distance, difference / np.linalg.norm(found.implied, axis=(1, 2)))
    assert (found.distance > 0.05).all()


@pytest.mark.parametrize(
    ("structure", "blocks"), [(Diagonal(), [[0], [1], [2], [3]]), (BlockDiagonal(3), [[0, 1, 2], [3]])], ids=repr
)
def test_a_deterministic_models_best_posterior_is_shown(structure: Structure, blocks: list[list[int]]) -> None:
    model, x = _model(None, 3), _data(3)
    found = View(model, Gaussian(), structure, BETA).precisions(x)
    expected = np.zeros_like(found.implied)
    for block in blocks:
        expected[:, *np.ix_(block, block)] = found.implied[:, *np.ix_(block, block)]
    assert not found.own
    np.testing.assert_allclose(found.posterior, expected, rtol=1e-8, atol=1e-9)


def test_the_best_full_posterior_is_the_implied_one() -> None:
    found = View(_model(None, 4), Gaussian(), Full(), BETA).precisions(_data(4))
    np.testing.assert_allclose(found.posterior, found.implied, rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(found.distance, 0, atol=1e-8)


def test_effects_are_root_mean_squares_of_columns() -> None:
    model, x = _model(None, 5), _data(5)
    jacobian = vmap(jacrev(lambda z: model.decode(z[None])[0]))(model.encode(x)).detach().numpy()
    expected = np.sqrt((jacobian**2).sum(1).mean(0))
    found = View(model, Gaussian(), Diagonal(), BETA).effects(x)
    np.testing.assert_allclose(found, expected, rtol=1e-10)
    assert strongest(found, 2) == sorted(range(LATENTS), key=lambda i: -expected[i])[:2]


def test_traversal_moves_one_latent_at_a_time() -> None:
    model = _model(None, 6)
    view = View(model, BernoulliLogits(), Diagonal(), BETA)
    code, values = view.codes(_data(6))[0], [-3.0, 0.5]
    found = view.traverse(code, [2, 0], values)
    assert found.shape == (2, 2, D)
    for row, latent in enumerate([2, 0]):
        for column, value in enumerate(values):
            z = code.copy()
            z[latent] = value
            expected = model.decode(torch.from_numpy(z)[None]).sigmoid()[0].detach().numpy()
            np.testing.assert_allclose(found[row, column], expected, rtol=1e-12)


def test_latents_of_several_axes_are_one_vector_to_the_page() -> None:
    """A model with latents (2, 1, 2) beside the same one with a vector of four."""
    flat = _model(None, 8)
    maps = nn.Sequential(flat.encoder, flat.mean_head, nn.Unflatten(1, (2, 1, 2)))
    several = Autoencoder(maps, nn.Sequential(nn.Flatten(), flat.decoder), (2, 1, 2), features=2).eval()
    x = _data(8)
    one, two = (View(model, Gaussian(), Diagonal(), BETA) for model in (flat, several))
    code = two.codes(x)
    np.testing.assert_allclose(code, one.codes(x))
    np.testing.assert_allclose(two.reconstruct(x), one.reconstruct(x))
    np.testing.assert_allclose(two.traverse(code[0], [3, 1], [-1.0, 2.0]), one.traverse(code[0], [3, 1], [-1.0, 2.0]))
    np.testing.assert_allclose(two.effects(x), one.effects(x))
    np.testing.assert_allclose(two.precisions(x).implied, one.precisions(x).implied)
    ways, expected = (view.interpolate(code[:1], code[1:2], 3) for view in (two, one))
    np.testing.assert_allclose(ways.straight, expected.straight)
    np.testing.assert_allclose(ways.geodesic, expected.geodesic, rtol=1e-6)


def test_reconstructions_of_many_data_are_those_of_each() -> None:
    model = _model(None, 7).float()  # the page gives float64 and gets it, whatever the model computes in
    x = torch.rand(150, D, generator=torch.Generator().manual_seed(0))
    view = View(model, Gaussian(), Diagonal(), BETA)
    found = view.reconstruct(x)
    assert found.dtype == np.float64
    expected = np.stack([model.reconstruct(one[None])[0].detach().numpy() for one in x])
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_prior_noise_is_standard_normal_and_shared() -> None:
    noise = prior_noise(4000, 3, seed=5)
    np.testing.assert_allclose(noise.mean(0), 0, atol=0.06)
    np.testing.assert_allclose(np.cov(noise.T), np.eye(3), atol=0.08)
    np.testing.assert_array_equal(noise[:, :2], prior_noise(4000, 2, seed=5))
    assert not np.array_equal(noise, prior_noise(4000, 3, seed=6))


class Bump(nn.Module):
    """(x, y) to (x, y, h) with a hill of height 3 at the origin: a straight line across it is a detour."""

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return torch.cat([z, 3 * torch.exp(-z.square().sum(-1, keepdim=True))], -1)


def test_straight_ways_are_decoded_lines_and_geodesics_go_around_a_hill() -> None:
    view = View(Autoencoder(nn.Linear(3, 4), Bump(), 2, features=4).double(), Gaussian(), Full(), BETA)
    start, end = np.array([[-2.0, 0.1], [2.0, 2.0]]), np.array([[2.0, 0.1], [2.0, 2.5]])
    found = view.interpolate(start, end, 9)
    share = np.linspace(0, 1, 9)[:, None]
    for i in range(2):
        np.testing.assert_allclose(found.straight[i], view.decode(start[i] + share * (end[i] - start[i])), atol=1e-12)
        for way in (found.straight[i], found.geodesic[i]):
            np.testing.assert_allclose(way[[0, -1]], view.decode(np.stack([start[i], end[i]])), atol=1e-12)
    lengths = [np.linalg.norm(np.diff(way, axis=1), axis=-1).sum(-1) for way in (found.straight, found.geodesic)]
    np.testing.assert_allclose(found.saved, 1 - lengths[1] / lengths[0], atol=1e-6)
    assert found.saved[0] > 0.2
    assert 0 <= found.saved[1] < 0.01  # far from the hill there is nothing to save
    steps = np.linalg.norm(np.diff(found.geodesic[0], axis=0), axis=-1)
    assert steps.max() < 1.1 * steps.min()


def test_a_flat_decoder_has_straight_geodesics() -> None:
    torch.manual_seed(0)
    model = Autoencoder(nn.Linear(3, 4), nn.Linear(2, 3), 2, features=4).double()
    found = View(model, Gaussian(), Full(), BETA).interpolate(np.zeros((1, 2)), np.ones((1, 2)), 5)
    np.testing.assert_allclose(found.geodesic, found.straight, atol=1e-6)
    assert found.saved[0] < 1e-6
