"""How an encoder, a posterior and a decoder are put together."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from curvae import Autoencoder
from curvae.errors import InputError
from curvae.nn import MLPDecoder, MLPEncoder
from curvae.posteriors import BlockDiagonal, Diagonal, Full, Structure

pytestmark = pytest.mark.usefixtures("float64")


@pytest.mark.parametrize("structure", [Diagonal(), BlockDiagonal(2), Full()], ids=str)
def test_heads_on_features(structure: Structure, seed: int) -> None:
    model = Autoencoder(MLPEncoder((2, 3), hidden=(7,)), MLPDecoder(3, (2, 3)), latents=3, structure=structure)
    x = torch.randn(4, 2, 3)
    features = model.encoder(x)
    mean = features @ model.mean_head.weight.T + model.mean_head.bias
    parameters = features @ model.factor_head.weight.T + model.factor_head.bias
    q = model.posterior(x)
    torch.testing.assert_close(q.mean, mean)
    torch.testing.assert_close(q.covariance(), structure.factor(parameters, 3).covariance())
    torch.testing.assert_close(model.encode(x), mean)
    torch.testing.assert_close(model.reconstruct(x), model.decoder(mean))
    torch.testing.assert_close(model(x), model.decoder(mean))
    assert torch.linalg.eigvalsh(q.covariance()).min() > 0


def test_an_encoder_that_ends_in_latents_is_the_mean(seed: int) -> None:
    encoder = nn.Linear(5, 3)
    model = Autoencoder(encoder, nn.Linear(3, 5), latents=3, structure=Full())
    x = torch.randn(4, 5)
    assert torch.equal(model.encode(x), encoder(x))
    assert torch.equal(model.posterior(x).mean, encoder(x))
    assert model.factor_head.in_features == 3


def test_features_are_declared_found_or_given() -> None:
    assert Autoencoder(MLPEncoder((5,), hidden=(9,)), nn.Identity(), latents=3).mean_head.in_features == 9
    last_linear = nn.Sequential(nn.Linear(5, 8), nn.Linear(8, 6), nn.Tanh())
    assert Autoencoder(last_linear, nn.Identity(), latents=3).mean_head.in_features == 6
    narrow = Autoencoder(nn.Linear(5, 2), nn.Linear(3, 5), latents=3, structure=Full())
    assert narrow.posterior(torch.randn(4, 5)).mean.shape == (4, 3)
    convolutional = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten())
    with pytest.raises(InputError, match=r"cannot tell how many features Sequential gives; pass features=…"):
        Autoencoder(convolutional, nn.Identity(), latents=3)
    model = Autoencoder(convolutional, nn.Linear(3, 5), latents=3, features=8)
    assert model.encode(torch.randn(2, 1, 4, 4)).shape == (2, 3)


def test_samples_are_decoded_draws_of_the_prior(seed: int) -> None:
    model = Autoencoder(nn.Linear(5, 3), nn.Linear(3, 5), latents=3)
    before = torch.random.get_rng_state()
    first, again, other = (model.sample(6, torch.Generator().manual_seed(s)) for s in (seed, seed, 9))
    assert torch.equal(before, torch.random.get_rng_state())
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    z = torch.randn(6, 3, generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(first, model.decoder(z))
    many = Autoencoder(nn.Linear(3, 3), nn.Identity(), latents=3).sample(20_000, torch.Generator().manual_seed(seed))
    assert (many.mean(0).abs() < 5 / 20_000**0.5).all()
    assert ((many.T @ many / 20_000 - torch.eye(3)).abs() < 5 * (2 / 20_000) ** 0.5).all()
    assert model.float().sample(2).dtype == torch.float32
    assert Autoencoder(nn.Identity(), nn.Identity(), latents=3, features=3).sample(2).shape == (2, 3)


def test_the_posterior_is_float32_under_autocast(seed: int) -> None:
    model = Autoencoder(nn.Linear(5, 7), nn.Linear(3, 5), latents=3, structure=Full()).float()
    with torch.autocast("cpu", torch.bfloat16):
        q = model.posterior(torch.randn(2, 5).float())
        assert model.encode(torch.randn(2, 5).float()).dtype == torch.float32
    assert q.mean.dtype == q.covariance().dtype == torch.float32


@pytest.mark.usefixtures("as_shipped")
def test_bad_input() -> None:
    for latents in (0, -1, 2.5, "3", None, True):
        with pytest.raises(InputError, match="latents is"):
            Autoencoder(nn.Linear(5, 3), nn.Identity(), latents=latents)
    for features in (0, -1, 2.5, "3"):
        with pytest.raises(InputError, match="features is"):
            Autoencoder(nn.Linear(5, 3), nn.Identity(), latents=3, features=features)
    model = Autoencoder(nn.Linear(5, 3), nn.Identity(), latents=3)
    for n in (0, -1, 2.5, "3", None):
        with pytest.raises(InputError, match="n is"):
            model.sample(n)
    with pytest.raises(InputError, match="deterministic"):
        model.posterior(torch.randn(2, 5))
