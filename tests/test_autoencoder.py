"""How an encoder, a posterior and a decoder are put together."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from curvae import Autoencoder
from curvae.curvature import Lanczos
from curvae.errors import InputError
from curvae.nn import MLPDecoder, MLPEncoder
from curvae.objectives import GRAE
from curvae.posteriors import BlockDiagonal, Diagonal, Full, Shared, Structure

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


def _silent(*args: object, **options: object) -> Autoencoder:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return Autoencoder(*args, **options)


ENDS = [nn.ELU(), nn.ReLU(), nn.Sigmoid(), nn.Tanh(), nn.Softplus(), nn.Sequential(nn.GELU(), nn.Dropout(0.1))]


@pytest.mark.parametrize("end", ENDS, ids=repr)
def test_bounded_codes_are_told_of(end: nn.Module, seed: int) -> None:
    """An encoder as wide as the latents is the mean, which an activation at its end bounds."""
    encoder, decoder, x = nn.Sequential(nn.Linear(5, 3), end).eval(), nn.Linear(3, 5), torch.randn(4, 5)
    with pytest.warns(UserWarning, match=r"as many outputs as latents \(3\).*pass head=True"):
        assert torch.equal(Autoencoder(encoder, decoder, 3).encode(x), encoder(x))
    model = _silent(encoder, decoder, 3, head=True)
    torch.testing.assert_close(model.encode(x), model.mean_head(encoder(x)))
    assert torch.equal(_silent(encoder, decoder, 3, head=False).encode(x), encoder(x))
    for plain in (nn.Sequential(end, nn.Linear(5, 3)), nn.Sequential(nn.Linear(5, 6), end)):
        _silent(plain, decoder, 3, Diagonal() if plain[0] is end else None)


class _TwoHeads(nn.Module):
    """The encoder of many a VAE."""

    def __init__(self, entries: int) -> None:
        super().__init__()
        self.mean, self.rest = nn.Linear(5, 3), nn.Linear(5, entries)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.mean(x), self.rest(x)


@pytest.mark.parametrize("structure", [Diagonal(), BlockDiagonal(2), Full()], ids=str)
def test_an_encoder_that_gives_the_posterior(structure: Structure, seed: int) -> None:
    two, x = _TwoHeads(structure.num_parameters(3)), torch.randn(4, 5)
    mean, entries = two(x)
    one = nn.Linear(5, 3 + entries.shape[1])
    with torch.no_grad():
        one.weight.copy_(torch.cat([two.mean.weight, two.rest.weight]))
        one.bias.copy_(torch.cat([two.mean.bias, two.rest.bias]))
    for encoder in (two, one):
        model = _silent(encoder, nn.Linear(3, 5), 3, structure, head=False)
        assert {id(p) for p in model.parameters()} == {
            id(p) for p in [*encoder.parameters(), *model.decoder.parameters()]
        }
        q = model.posterior(x)
        torch.testing.assert_close(q.mean, mean)
        torch.testing.assert_close(model.encode(x), mean)
        torch.testing.assert_close(q.covariance(), structure.factor(entries, 3).covariance())
    log_variance = torch.randn(4, 3)
    spread = structure.factor(0.5 * log_variance, 3) if isinstance(structure, Diagonal) else None
    if spread is not None:
        torch.testing.assert_close(spread.covariance(), torch.diag_embed(log_variance.exp()))
    shared = _silent(nn.Linear(5, 3), nn.Linear(3, 5), 3, Shared(structure), head=False)
    torch.testing.assert_close(shared.posterior(x).mean, shared.encoder(x))
    assert shared.factor_head.values.shape == (structure.num_parameters(3),)


def test_mean_and_log_variance_do_not_get_heads_in_silence() -> None:
    encoder, decoder, x = nn.Sequential(nn.Linear(5, 9), nn.ELU(), nn.Linear(9, 6)), nn.Linear(3, 5), torch.randn(4, 5)
    with pytest.warns(UserWarning, match=r"twice as many outputs \(6\).*head=False.*head=True"):
        Autoencoder(encoder, decoder, 3, Diagonal())
    assert _silent(encoder, decoder, 3, Diagonal(), head=True).mean_head.in_features == 6
    with pytest.warns(UserWarning, match=r"ends in Conv2d with twice as many outputs \(8\).*half of log-variances"):
        Autoencoder(nn.Sequential(nn.Conv2d(3, 8, 1)), nn.Identity(), (4, 2, 2), Diagonal())
    _silent(encoder, decoder, 3)  # deterministic: features
    _silent(nn.Sequential(encoder, nn.ELU()), decoder, 3, Diagonal())
    with pytest.raises(InputError, match=r"the encoder returned a tuple of 2; .*head=False"):
        Autoencoder(_TwoHeads(3), decoder, 3, Diagonal()).posterior(x)
    with pytest.raises(InputError, match=r"shape \(4, 6\); expected 3 means and 6 entries \(Full\(\)\)"):
        Autoencoder(_TwoHeads(3), decoder, 3, Full(), head=False).posterior(x)
    with pytest.raises(InputError, match=r"features is 4; with head=False expected 3 means"):
        Autoencoder(encoder, decoder, 3, features=4, head=False)
    with pytest.raises(InputError, match=r"shape \(4, 6\); expected \[B, 5\]; pass features="):
        Autoencoder(encoder, decoder, 3, features=5).encode(x)
    encoder.add_module("unused", nn.Linear(2, 7))  # stands last, as what embeds a condition may
    encoder.forward = lambda x: encoder[:3](x)
    with pytest.raises(InputError, match=r"shape \(4, 6\); expected \[B, 7\], as many as its last linear layer has"):
        Autoencoder(encoder, decoder, 3).encode(x)


class _Answer(nn.Module):
    def __init__(self, wrap: Callable[[torch.Tensor], object]) -> None:
        super().__init__()
        self.layer, self.wrap = nn.Linear(3, 5), wrap

    def forward(self, z: torch.Tensor) -> object:
        return self.wrap(self.layer(z))


@pytest.mark.parametrize(
    ("wrap", "take", "told"),
    [
        (lambda y: {"mean": y, "rest": 0}, lambda answer: answer["mean"], r"a dict with 'mean', 'rest'"),
        (lambda y: (y, y), lambda answer: answer[1], r"a tuple of 2"),
        (lambda y: SimpleNamespace(sample=y), lambda answer: answer.sample, r"a SimpleNamespace"),
    ],
    ids=["dict", "tuple", "attribute"],
)
@pytest.mark.usefixtures("as_shipped")
def test_a_decoder_with_several_outputs(wrap: Callable, take: Callable, told: str) -> None:
    decoder, encoder, x = _Answer(wrap), nn.Linear(5, 3), torch.randn(4, 5)
    model = Autoencoder(encoder, decoder, 3, output=take)
    plain = Autoencoder(encoder, decoder.layer, 3)
    torch.testing.assert_close(GRAE(0.2)(model, x).total, GRAE(0.2)(plain, x).total)
    for objective in (GRAE(0.2), GRAE(0.2, estimator=Lanczos(2)), GRAE(0.2, curvature="hessian")):
        with pytest.raises(InputError, match=rf"the decoder returned {told}; .*output=lambda answer"):
            objective(Autoencoder(encoder, decoder, 3), x)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_serves_to_encode_and_decode(dtype: torch.dtype, seed: int) -> None:
    model = Autoencoder(nn.Linear(5, 7), nn.Linear(3, 5), latents=3, structure=Full()).float()
    x, noise = torch.randn(4, 5).float(), torch.Generator().manual_seed(seed)
    expected = model(x)
    half = model.to(dtype)
    torch.testing.assert_close(half(x).float(), expected, rtol=0.1, atol=0.1)
    torch.testing.assert_close(half(x.to(dtype)), half(x))
    assert half.encode(x).dtype == half.posterior(x).mean.dtype == half.posterior(x).covariance().dtype == torch.float32
    assert half.sample(2, noise).dtype == dtype
