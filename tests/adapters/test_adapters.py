"""Adapters on tiny models with random weights: of the real packages where these are installed."""

from __future__ import annotations

import importlib.util
import json
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn import functional

import curvae
from curvae import adapters, curvature, objectives
from curvae.autoencoder import Model
from curvae.errors import InputError
from curvae.likelihoods import Bernoulli, Gaussian


def needs(package: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(importlib.util.find_spec(package) is None, reason=f"{package} is not installed")


def _kl(**options):
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(4, 8),
        norm_num_groups=2,
        latent_channels=4,
        sample_size=8,
        **options,
    ).eval()


def _tiny():
    from diffusers import AutoencoderTiny

    widths = {"encoder_block_out_channels": (8, 8), "decoder_block_out_channels": (8, 8)}
    return AutoencoderTiny(**widths, num_encoder_blocks=(1, 1), num_decoder_blocks=(1, 1), scaling_factor=0.7).eval()


def _dc():
    from diffusers import AutoencoderDC

    return AutoencoderDC(
        latent_channels=4,
        attention_head_dim=2,
        encoder_block_types=("ResBlock", "EfficientViTBlock"),
        decoder_block_types=("ResBlock", "EfficientViTBlock"),
        encoder_block_out_channels=(8, 8),
        decoder_block_out_channels=(8, 8),
        encoder_qkv_multiscales=((), (5,)),
        decoder_qkv_multiscales=((), (5,)),
        encoder_layers_per_block=(1, 1),
        decoder_layers_per_block=(1, 1),
        downsample_block_type="conv",
        upsample_block_type="interpolate",
        decoder_norm_types="rms_norm",
        decoder_act_fns="silu",
        scaling_factor=0.4,
    ).eval()


@needs("diffusers")
@pytest.mark.parametrize("scaled", [True, False])
def test_autoencoder_kl(scaled):
    vae, x = _kl(scaling_factor=0.3, shift_factor=0.2), torch.rand(2, 3, 8, 8) * 2 - 1
    model = adapters.diffusers(vae, scaled=scaled)
    assert isinstance(model, Model)
    with torch.no_grad():
        q = vae.encode(x).latent_dist
        mean, std = ((q.mean - 0.2) * 0.3, q.std * 0.3) if scaled else (q.mean, q.std)
        assert torch.allclose(model.encode(x), mean, atol=1e-6)
        assert torch.allclose(model.posterior(x).covariance().diagonal(dim1=1, dim2=2), std.square().flatten(1))
        decoded = vae.decode(q.mean).sample
        assert torch.allclose(model.decode(model.encode(x)), decoded, atol=1e-5)
        assert torch.allclose(model.decode(model.encode(x).flatten(1)), decoded, atol=1e-5)
    assert float(model.prior_std) == pytest.approx(0.3 if scaled else 1.0)
    assert (model.shape, model.latents) == ((4, 4, 4), 64)


@needs("diffusers")
def test_statistics_of_each_channel():
    vae, x = (
        _kl(latents_mean=[0.1, 0.2, 0.3, 0.4], latents_std=[1.0, 2.0, 4.0, 8.0], scaling_factor=0.5),
        torch.rand(1, 3, 8, 8),
    )
    model = adapters.diffusers(vae)
    mean, std = (
        torch.tensor(list(values))[:, None, None] for values in (vae.config.latents_mean, vae.config.latents_std)
    )
    with torch.no_grad():
        assert torch.allclose(model.encode(x), (vae.encode(x).latent_dist.mean - mean) * 0.5 / std, atol=1e-6)
        assert torch.allclose(model.reconstruct(x), vae.decode(vae.encode(x).latent_dist.mean).sample, atol=1e-5)


@needs("diffusers")
@pytest.mark.parametrize(("make", "field", "scale"), [(_tiny, "latents", 0.7), (_dc, "latent", 0.4)])
def test_deterministic_autoencoders(make, field, scale):
    vae, x = make(), torch.rand(2, 3, 16, 16) * 2 - 1
    model = adapters.diffusers(vae)
    with torch.no_grad():
        latents = getattr(vae.encode(x), field)
        assert torch.allclose(model.encode(x), latents * scale, atol=1e-6)
        assert torch.allclose(model.reconstruct(x), vae.decode(latents).sample, atol=1e-5)
    with pytest.raises(InputError, match="is deterministic"):
        model.posterior(x)


@needs("diffusers")
@pytest.mark.parametrize("make", [_kl, _tiny, _dc])
def test_they_are_inspected(make):
    found = curvae.inspect(make(), torch.rand(2, 3, 16, 16) * 2 - 1, beta=1.0, products=32).to_dict()
    json.dumps(found, allow_nan=False)
    assert found["trace"] > 0
    assert (found["beta_hat"] is None) == (make is not _kl)
    assert len(found["per_channel"]) == 4


class _Patches(nn.Module):
    """In the place of a pretrained encoder, which is of transformers: a token of 8 numbers for each patch."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Conv2d(3, 8, 4, stride=4)

    def forward(self, images):
        return self.embed(images).flatten(2).mT


@pytest.fixture
def rae(monkeypatch):
    """diffusers' ``AutoencoderRAE`` with its own decoder and random weights."""
    pytest.importorskip("diffusers", reason="diffusers is not installed")
    from diffusers.models.autoencoders import autoencoder_kl

    place = autoencoder_kl.__name__.replace("autoencoder_kl", "autoencoder_rae")
    module = pytest.importorskip(place, reason="this version of diffusers has no AutoencoderRAE")
    monkeypatch.setattr(module, "_build_encoder", lambda **_: _Patches())
    monkeypatch.setitem(module._ENCODER_FORWARD_FNS, "dinov2", lambda encoder, images: encoder(images))
    return module.AutoencoderRAE(
        encoder_hidden_size=8,
        encoder_patch_size=4,
        encoder_input_size=8,
        decoder_hidden_size=8,
        decoder_num_hidden_layers=1,
        decoder_num_attention_heads=2,
        decoder_intermediate_size=16,
        patch_size=4,
        latents_mean=torch.randn(8, 1, 1),
        latents_std=torch.rand(8, 1, 1) + 0.5,
        scaling_factor=0.7,
    ).eval()


def test_autoencoder_rae_scales_its_latents_by_itself(rae):
    model, x = adapters.diffusers(rae), torch.rand(2, 3, 8, 8)
    with torch.no_grad():
        latents = rae.encode(x).latent
        assert torch.equal(model.encode(x), latents)
        assert torch.equal(model.reconstruct(x), rae.decode(latents).sample)
    assert (model.shape, model.pixels, float(model.prior_std)) == ((8, 2, 2), (0.0, 1.0), 1.0)
    penalty = curvae.regulariser(model.decode, model.encode(x), 0.1, estimator=curvature.Exact())
    columns = torch.func.jacrev(lambda z: model.decode(z[None])[0])(latents[1]).reshape(-1, 32)
    expected = 0.05 * torch.logdet(torch.eye(32) + columns.mT @ columns / 0.1)
    assert penalty[1].item() == pytest.approx(expected.item(), rel=1e-3)
    found = curvae.inspect(rae, x, beta=1.0, products=32).to_dict()
    assert found["trace"] > 0
    assert len(found["per_channel"]) == 8


@needs("diffusers")
def test_a_folder_of_diffusers(tmp_path):
    vae, x = _kl(scaling_factor=0.3), torch.rand(1, 3, 8, 8)
    vae.save_pretrained(tmp_path / "vae")
    model = adapters.folder(tmp_path / "vae")
    assert torch.equal(model.encode(x), adapters.diffusers(vae).encode(x))
    vae.save_pretrained(tmp_path / "pickled", safe_serialization=False)
    with pytest.raises(InputError, match="weights in pickles are not loaded"):
        adapters.diffusers(tmp_path / "pickled")
    weights = next((tmp_path / "vae").glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(InputError, match="cannot be opened as an AutoencoderKL"):
        adapters.folder(tmp_path / "vae")


@needs("diffusers")
@pytest.mark.parametrize(
    ("changes", "wrong"),
    {
        "wider": ({"block_out_channels": [8, 16]}, "'decoder.conv_in.bias', .* and [0-9]+ more of another shape"),
        "deeper": ({"layers_per_block": 2}, "'decoder.*' and [0-9]+ more missing"),
        "flatter": ({"mid_block_add_attention": False}, "'decoder.*' and [0-9]+ more unknown"),
        "another": ({"_class_name": "AutoencoderTiny"}, "'decoder.*' and [0-9]+ more missing; 'decoder.*unknown"),
    }.values(),
)
def test_a_folder_of_diffusers_whose_configuration_is_not_of_its_weights(changes, wrong, tmp_path, caplog):
    _kl().save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | changes))
    with pytest.raises(InputError, match=f"holds weights of another model than config.json says: {wrong}") as caught:
        adapters.folder(tmp_path)
    assert len(str(caught.value)) < 600
    assert not caplog.records


def test_folders_that_are_none(tmp_path):
    with pytest.raises(InputError, match="it has no config.json"):
        adapters.folder(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(InputError, match="it has no _class_name"):
        adapters.folder(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(InputError, match="cannot be read"):
        adapters.folder(tmp_path)
    (tmp_path / "config.json").write_text('{"_class_name": "AutoencoderKL"}')
    with pytest.raises(InputError, match="has no safetensors"):
        adapters.folder(tmp_path)


class _Likened(nn.Module):
    """What the adapter asks of an autoencoder of diffusers, for machines without the package."""

    def __init__(self, **config):
        super().__init__()
        self.config = SimpleNamespace(**config)

    def encode(self, x):
        return SimpleNamespace(latent_dist=SimpleNamespace(mean=x, std=0.1 + 0 * x))

    def decode(self, z):
        return SimpleNamespace(sample=3 * z)


def test_shift_and_scale_without_the_package():
    model, x = adapters.diffusers(_Likened(scaling_factor=0.25, shift_factor=1.0)), torch.randn(2, 3, 4, 4)
    assert torch.allclose(model.encode(x), (x - 1) * 0.25)
    assert torch.allclose(model.reconstruct(x), 3 * x, atol=1e-5)
    assert torch.allclose(model.posterior(x).factor.scale, torch.full((2, 48), 0.025))


@pytest.mark.parametrize(("kernel", "sides"), [(nn.Conv1d, (5,)), (nn.Conv2d, (5, 2)), (nn.Conv3d, (2, 5, 3))])
def test_statistics_of_each_channel_of_sound_images_and_films(kernel, sides, as_shipped):
    vae = _Likened(latents_mean=[1.0, 2.0], latents_std=[0.5, 4.0])
    vae.layer = kernel(2, 2, 1)
    model, x = adapters.diffusers(vae), torch.randn(2, 2, *sides)
    mean, std = (torch.tensor(values).view(2, *[1] * len(sides)) for values in ([1.0, 2.0], [0.5, 4.0]))
    assert torch.allclose(model.encode(x), (x - mean) / std, atol=1e-6)
    assert torch.allclose(model.posterior(x).factor.scale, (0.1 / std).expand(x.shape).flatten(1))
    assert torch.allclose(model.reconstruct(x), 3 * x, atol=1e-5)
    assert curvae.inspect(model, x, beta=1.0).latents == (2, *sides)
    with pytest.raises(InputError, match=r"do not fit the configuration's latents_mean .* scaled=False"):
        model.encode(torch.randn(2, 3, *sides))


@needs("diffusers")
def test_sound_has_channels_first():
    from diffusers import AutoencoderOobleck

    vae = AutoencoderOobleck(
        encoder_hidden_size=4,
        downsampling_ratios=[2, 2],
        channel_multiples=[1, 1],
        decoder_channels=4,
        decoder_input_channels=2,
        audio_channels=1,
    ).eval()
    found = curvae.inspect(vae, torch.randn(2, 1, 24), beta=1.0)
    assert found.latents == (2, 6)
    assert len(found.per_channel) == 2


class _Layered(nn.Module):
    """Given latents, and one layer behind another for a decoder."""

    def __init__(self, z, first, layer):
        super().__init__()
        self.z, self.first, self.layer, self.config = z, first, layer, SimpleNamespace()

    def encode(self, x):
        return SimpleNamespace(latents=self.z[: len(x)])

    def decode(self, z):
        return SimpleNamespace(sample=self.layer(self.first(z)))


class _Turned(nn.Module):
    def forward(self, z):
        return z.mT


class _Recurrent(nn.GRU):
    def forward(self, z):
        return super().forward(z)[0]


class _Scaled(nn.Linear):
    """As by a condition, of which the axis of places has as many numbers as latents."""

    def forward(self, z):
        return z * super().forward(torch.ones(1, self.in_features)).unsqueeze(-1)


class _Padded(nn.Module):
    def forward(self, z):
        padded = torch.zeros(len(z), 4, 9)
        padded[..., 1:-1] = z
        return padded


class _Named(nn.Linear):
    def forward(self, z):
        return functional.linear(input=z, weight=self.weight, bias=self.bias)


@pytest.mark.parametrize(
    ("first", "layer", "shape", "axis"),
    [
        (_Recurrent(3, 7, batch_first=True), nn.Linear(7, 2), (7, 3), 1),
        (_Scaled(7, 3), nn.Conv1d(3, 2, 3), (3, 7), 0),
        (_Padded(), nn.Conv1d(4, 2, 3), (4, 7), 0),
        (_Named(3, 7), nn.Linear(7, 2), (7, 3), 1),
        (nn.Identity(), nn.Conv1d(3, 2, 3), (3, 7), 0),
        (nn.Identity(), nn.ConvTranspose1d(5, 2, 3), (5, 5), 0),
        (_Turned(), nn.Linear(3, 2), (3, 7), 0),
        (_Turned(), nn.Conv1d(7, 2, 2), (3, 7), 1),
        (nn.Identity(), nn.Linear(7, 2), (3, 7), 1),
        (nn.Identity(), nn.Linear(5, 2), (2, 3, 5), 2),
        (nn.Identity(), nn.Conv2d(2, 2, 2), (2, 3, 5), 0),
    ],
)
def test_the_decoder_says_which_axis_holds_the_channels(first, layer, shape, axis):
    z = torch.randn(2, *shape)
    model = adapters.diffusers(_Layered(z, first, layer))
    with torch.no_grad():
        found = curvae.inspect(model, torch.randn_like(model.decode(z)), beta=1.0)
    squares = torch.autograd.functional.jacobian(lambda z: model.decode(z).sum(0), z).square()
    expected = squares.flatten(0, -2 - len(shape)).sum(0).movedim(1 + axis, 0).flatten(1).mean(1)
    assert [group.curvature for group in found.per_channel] == pytest.approx(expected.tolist(), rel=1e-4)
    assert bool(found.per_frequency) == (len(shape) == 3 and axis == 0)


def test_axes_that_nothing_tells_apart(as_shipped):
    model, x = adapters.diffusers(_Layered(torch.randn(3, 5, 5), nn.Identity(), nn.Linear(5, 2))), torch.randn(3, 5, 2)
    with pytest.raises(InputError, match=r"latents of shape \(5, 5\) may be .* set channel_axis .* to 0"):
        curvae.inspect(model, x, beta=1.0)
    model.channel_axis = -1
    assert len(curvae.inspect(model, x, beta=1.0).per_channel) == 5
    model.channel_axis = 2
    with pytest.raises(InputError, match="channel_axis is 2"):
        curvae.inspect(model, x, beta=1.0)
    plain = adapters.callables(encode=lambda x: x, decode=lambda z: 3 * z, channel_axis=0)
    assert len(curvae.inspect(plain, torch.randn(3, 2, 4), beta=1.0).per_channel) == 2


@needs("pythae")
@pytest.mark.parametrize(("loss", "beta"), [("mse", 3.0), ("bce", 3.0)])
def test_pythae(loss, beta):
    from pythae.models import BetaVAE, BetaVAEConfig

    vae = BetaVAE(BetaVAEConfig(input_dim=(1, 4, 5), latent_dim=3, beta=3.0, reconstruction_loss=loss)).eval()
    model, x = adapters.pythae(vae), torch.rand(6, 1, 4, 5)
    answer = vae.encoder(x)
    assert torch.allclose(model.posterior(x).mean, answer.embedding)
    assert torch.allclose(model.posterior(x).factor.scale, (0.5 * answer.log_covariance).exp())
    assert torch.equal(model.reconstruct(x), vae.decoder(answer.embedding)["reconstruction"])
    assert model.beta == beta
    found = curvae.inspect(vae, x)
    assert found.maker_beta == beta
    assert found.likelihood == repr(Bernoulli() if loss == "bce" else Gaussian())


class _Plain(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder, self.fc_mu, self.fc_var = nn.Linear(5, 4), nn.Linear(4, 2), nn.Linear(4, 2)
        self.decoder = nn.Linear(2, 5)


class _Own(_Plain):
    def encode(self, x):
        features = self.encoder(x)
        return [self.fc_mu(features), self.fc_var(features)]

    def decode(self, z):
        return self.decoder(z)


@pytest.mark.parametrize("kind", [_Plain, _Own])
def test_lightning_and_plain_modules(kind):
    module, x = kind(), torch.randn(3, 5)
    features = module.encoder(x)
    spread = module.fc_var(features)
    for name, std in (("log-variance", (0.5 * spread).exp()), ("std", spread), ("variance", spread.sqrt())):
        if not bool((std > 0).all()):
            with pytest.raises(InputError, match="expected .* and > 0"):
                adapters.lightning(module, spread=name).posterior(x)
            continue
        q = adapters.lightning(module, spread=name).posterior(x)
        assert torch.allclose(q.mean, module.fc_mu(features))
        assert torch.allclose(q.factor.scale, std)
    model = adapters.lightning(module, spread="log-variance")
    assert len(list(model.parameters())) == len(list(module.parameters()))
    terms = objectives.BetaVAE(beta=0.2)(model, x, generator=torch.Generator().manual_seed(0))
    assert terms.total.shape == (3,)


def test_lightning_says_what_the_module_does_not():
    model = adapters.lightning(_Own(), spread="log-variance", latents=2, pixels=(-1.0, 1.0))
    assert (model.latents, model.pixels) == (2, (-1.0, 1.0))


class _Features(_Own):
    """Networks for features under the names of the whole maps, as in MONAI's VarAutoEncoder."""

    def encode(self, x):
        return self.encoder(x)


class _Distribution(_Own):
    def encode(self, x):
        return torch.distributions.Normal(x[:, :2], 1.0)


@pytest.mark.parametrize(
    ("module", "kind"), [(_Features(), "a _Features returned a Tensor"), (_Distribution(), "returned a Normal")]
)
def test_an_encode_without_a_second_output_has_no_spread(module, kind):
    with pytest.raises(InputError, match=rf"^encode of .*{kind}, with no second output that could be the variance"):
        adapters.lightning(module, spread="variance").encode(torch.randn(3, 5))


def test_functions_bring_the_modules_that_they_use():
    """Inspected in eval mode and in the modules' own type, then as they were."""
    encoder, head = nn.Linear(5, 2).double(), nn.Linear(2, 2).double()
    decoder = nn.Sequential(nn.Linear(2, 5), nn.BatchNorm1d(5), nn.Dropout(0.9)).double()
    x, modes = torch.randn(16, 5).double(), []

    def encode(x):
        modes.append(decoder.training)
        return encoder(x), head(encoder(x)).exp()

    model = adapters.callables(encode=encode, decode=lambda z: decoder(z))
    assert set(model.parameters()) == {p for part in (encoder, head, decoder) for p in part.parameters()}
    found = curvae.inspect(model, x)
    whole = adapters.callables(encode=encode, decode=decoder)
    assert found.trace == curvae.inspect(whole, x).trace
    assert not any(modes)
    assert decoder.training


_GLOBAL, net = nn.Linear(2, 5), nn.Linear(2, 3)


def test_a_global_counts_where_a_function_loads_it():
    """Inside of a comprehension, too; an attribute that is called as a module here is another thing."""
    model = adapters.callables(
        encode=lambda x: SimpleNamespace(net=x).net[:, :2],
        decode=lambda z: torch.stack([_GLOBAL(row) for row in z]),
        latents=2,
    )
    assert set(model.parameters()) == set(_GLOBAL.parameters())


def test_an_objective_takes_an_adapter(float64):
    """The closed form (8) of the adapter's posterior, and gradients that reach the wrapped module."""
    module = _Own()
    model, x = adapters.lightning(module, spread="log-variance"), torch.randn(3, 5)
    mu, log_var = module.encode(x)
    kl = 0.5 * (mu.square() + log_var.exp() - log_var - 1).sum(1)
    assert torch.allclose(model.posterior(x).kl(), kl)
    objectives.GRAE(beta=0.2)(model, x).total.mean().backward()
    assert all(p.grad is not None for p in (module.decoder.weight, module.fc_mu.weight))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: adapters.callables(lambda x: 3, nn.Linear(2, 5)).encode(x), "encode returned an int"),
        (lambda x: adapters.callables(lambda x: x[0], nn.Linear(2, 5)).encode(x), "expected \\[B, \\*L\\]"),
        (lambda x: adapters.callables(lambda x: (x, -x * 0), lambda z: z).posterior(x), "and > 0"),
        (lambda x: adapters.callables(lambda x: x, lambda z: [z]).decode(x), "decode returned a list"),
        (lambda x: adapters.lightning(nn.Linear(2, 2), spread="std"), "a Linear has no encode and decode"),
        (lambda x: adapters.lightning(_Own(), spread="logvar"), "spread is 'logvar'; expected std, variance"),
        (lambda x: adapters.diffusers(nn.Linear(2, 2)), "a Linear is not an autoencoder of diffusers"),
        (lambda x: adapters.pythae(nn.Linear(2, 2)), "a Linear is not a model of pythae"),
        (lambda x: adapters.scvi(nn.Linear(2, 2)), "a Linear is not a model of scvi-tools"),
    ],
)
def test_bad_input(call, message, as_shipped):
    with pytest.raises(InputError, match=message):
        call(torch.randn(3, 5))


def test_scvi_like():
    """scvi-tools' names; the package itself is too large for the development environment."""

    class Module(nn.Module):
        n_latent = 2
        z_encoder = None

        def inference(self, x, batch_index):
            return {"qz": torch.distributions.Normal(x[:, :2], 0.5 + 0 * x[:, :2])}

        def generative(self, z, library, batch_index):
            return {"px": SimpleNamespace(mean=library.exp() * torch.cat([z, z], 1))}

    model, x = adapters.scvi(SimpleNamespace(module=Module())), torch.rand(3, 4)
    assert torch.allclose(model.posterior(x).factor.scale, torch.full((3, 2), 0.5))
    assert torch.allclose(model.decode(x[:, :2]), 1e4 * torch.cat([x[:, :2], x[:, :2]], 1))
    assert model.latents == 2
