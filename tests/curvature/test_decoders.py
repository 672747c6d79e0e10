"""The page docs/decoders.md and what the library does with each of its decoders, against finite differences."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional
from torch.nn.utils import parametrizations
from torch.utils.checkpoint import checkpoint

from curvae.curvature import Columns, Exact, Fraction, Operator, hessian, pushforward
from curvae.curvature.reverse import Linearised
from curvae.errors import InputError
from curvae.likelihoods import Gaussian
from curvae.posteriors import Diagonal, Full

pytestmark = pytest.mark.usefixtures("float64")

PAGE = Path(__file__).parents[2] / "docs" / "decoders.md"
BATCH, LATENTS, BETA = 3, 4, 0.5


class Layers(nn.Module):
    """A function of some modules and the latents."""

    def __init__(self, function: Callable[[Layers, Tensor], Tensor], **modules: nn.Module) -> None:
        super().__init__()
        self.function = function
        for name, module in modules.items():
            self.add_module(name, module)

    def forward(self, z: Tensor) -> Tensor:
        return self.function(self, z)


def linear(outputs: int = 5) -> nn.Module:
    return nn.Linear(LATENTS, outputs)


def image(channels: int = 2, size: int = 4) -> nn.Module:
    return nn.Sequential(linear(channels * size**2), nn.Unflatten(1, (channels, size, size)))


def tokens(count: int = 3, features: int = 8) -> nn.Module:
    return nn.Sequential(linear(count * features), nn.Unflatten(1, (count, features)))


def after(first: nn.Module, function: Callable[[Tensor], Tensor]) -> nn.Module:
    return nn.Sequential(first, Layers(lambda own, x: function(x)))


class Sine(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.sin()

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        return gradient * ctx.saved_tensors[0].cos()


class OnceSine(Sine):
    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient: Tensor) -> Tensor:
        return gradient * ctx.saved_tensors[0].cos()


class Changing(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = linear()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, z: Tensor) -> Tensor:
        self.calls += 1
        return self.layer(z).tanh()


class Sparse(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = linear()
        self.register_buffer("mixing", torch.randn(6, 5).relu().to_sparse())

    def forward(self, z: Tensor) -> Tensor:
        return torch.sparse.mm(self.mixing, self.layer(z).mT).mT.sin()


def _in_place(own: Layers, z: Tensor) -> Tensor:
    y = own.layer(z)
    y.mul_(2).sin_()
    out = torch.zeros_like(y)
    out[:, 1:] = y[:, 1:]
    return out


def _upsampled(x: Tensor) -> Tensor:
    modes = ("bilinear", "bicubic", "nearest", "nearest-exact", "area")
    return torch.cat([functional.interpolate(x.tanh(), 5, mode=mode) for mode in modes], 1)


def _checkpointed(reentrant: bool) -> nn.Module:
    inner = nn.Sequential(nn.Linear(8, 6), nn.Tanh(), nn.Dropout(0.0))
    return Layers(
        lambda own, z: own.last(checkpoint(own.inner, own.first(z), use_reentrant=reentrant)),
        first=linear(8), inner=inner, last=nn.Linear(6, 5),
    )  # fmt: skip


def _recurrent(layer: nn.Module) -> nn.Module:
    return Layers(lambda own, z: own.layer(own.tokens(z))[0], tokens=tokens(3, 4), layer=layer)


def _grid(own: Layers, z: Tensor) -> Tensor:
    maps = 0.8 * torch.eye(2, 3) + 0.1 * own.maps(z).unflatten(1, (2, 3))
    grid = functional.affine_grid(maps, [len(z), 2, 5, 5], align_corners=False)
    return functional.grid_sample(own.image(z), grid, align_corners=False)


def _numbers(own: Layers, z: Tensor) -> Tensor:
    return own.layer(z).sin() * torch.from_numpy(own.scale.numpy())


def _complex(x: Tensor) -> Tensor:
    y = torch.view_as_complex(x.unflatten(1, (3, 2)))
    return torch.cat([torch.fft.irfft(torch.fft.rfft(x).tanh()), (y * y).real, y.abs()], 1)


def _pairs(x: Tensor) -> Tensor:
    return torch.cat([functional.pdist(x), functional.pdist(x, 3.0)])


def _linear_algebra(a: Tensor) -> Tensor:
    regular = 4 * torch.eye(3) + a
    solved = torch.linalg.solve(regular, torch.matrix_exp(a))
    return torch.cat([solved.flatten(1), regular.det()[:, None], torch.linalg.slogdet(regular)[1][:, None]], 1)


ATTENTION = {"dropout": 0.0, "activation": "gelu", "batch_first": True}
GRID = 1.6 * torch.rand(1, 5, 5, 2, generator=torch.Generator().manual_seed(0)).double() - 0.8

DECODERS: dict[str, Callable[[], nn.Module]] = {
    "`nn.Linear`, `nn.Bilinear`": lambda: Layers(
        lambda own, z: own.pair(z, own.one(z)), one=linear(), pair=nn.Bilinear(LATENTS, 5, 6)
    ),
    "`nn.ConvTranspose2d` with `output_padding`": lambda: nn.Sequential(
        image(), nn.ConvTranspose2d(2, 3, 3, 2, 1, output_padding=1), nn.Tanh()
    ),
    '`nn.Conv2d` with `padding_mode="reflect"`': lambda: nn.Sequential(
        image(), nn.Conv2d(2, 3, 3, padding=1, padding_mode="reflect"), nn.Tanh()
    ),
    "`nn.GLU`": lambda: nn.Sequential(linear(10), nn.GLU()),
    "`nn.Hardsigmoid`, `nn.Hardswish`": lambda: nn.Sequential(linear(), nn.Hardsigmoid(), nn.Hardswish()),
    '`nn.PReLU`, `nn.GELU("tanh")`': lambda: nn.Sequential(linear(), nn.PReLU(), nn.Linear(5, 6), nn.GELU("tanh")),
    "`nn.RNN`": lambda: _recurrent(nn.RNN(4, 5, batch_first=True)),
    "`nn.GRU`": lambda: _recurrent(nn.GRU(4, 5, batch_first=True)),
    "`nn.LSTM`, two layers, bidirectional": lambda: _recurrent(nn.LSTM(4, 5, 2, bidirectional=True, batch_first=True)),
    "`nn.LSTMCell`, `nn.GRUCell`": lambda: Layers(
        lambda own, z: own.gru(own.lstm(z)[0]), lstm=nn.LSTMCell(LATENTS, 5), gru=nn.GRUCell(5, 6)
    ),
    "`nn.MultiheadAttention`": lambda: Layers(
        lambda own, z: own.layer(*[own.tokens(z)] * 3)[0],
        tokens=tokens(),
        layer=nn.MultiheadAttention(8, 2, batch_first=True),
    ),
    "`nn.TransformerEncoderLayer` in eval mode": lambda: nn.Sequential(
        tokens(), nn.TransformerEncoderLayer(8, 2, 16, **{**ATTENTION, "dropout": 0.1})
    ).eval(),
    "`nn.TransformerDecoderLayer`": lambda: Layers(
        lambda own, z: own.layer(own.tokens(z), own.memory(z)),
        tokens=tokens(),
        memory=tokens(2),
        layer=nn.TransformerDecoderLayer(8, 2, 16, **ATTENTION),
    ),
    "`nn.RMSNorm`, `functional.normalize`": lambda: after(
        nn.Sequential(linear(), nn.RMSNorm(5)), lambda x: functional.normalize(x.sin() + 2)
    ),
    "`nn.Softmax`, `nn.LogSoftmax`, `logsumexp`": lambda: after(
        linear(), lambda x: torch.cat([x.softmax(1), x.log_softmax(1), x.logsumexp(1, True)], 1)
    ),
    "`nn.Upsample`, every mode": lambda: after(image(), _upsampled),
    "`nn.PixelShuffle`, `nn.Fold`, `nn.Unfold`": lambda: nn.Sequential(
        image(4), nn.PixelShuffle(2), nn.Unfold(2), nn.Tanh(), nn.Fold(8, 2)
    ),
    "`nn.MaxPool2d`, `nn.AdaptiveMaxPool2d`": lambda: nn.Sequential(
        image(2, 6), nn.Tanh(), nn.MaxPool2d(2), nn.AdaptiveMaxPool2d(2)
    ),
    "`nn.Embedding` mixed by softmax weights": lambda: Layers(
        lambda own, z: own.layer(z).softmax(1) @ own.book.weight, layer=linear(3), book=nn.Embedding(3, 5)
    ),
    "`torch.einsum`, `cumsum`, `gather`, `where`": lambda: after(
        tokens(),
        lambda x: torch.einsum("btf,bsf->bst", torch.where(x > 0, x.sin(), x), x.cumsum(1)).gather(
            1, torch.tensor([0, 2, 2]).view(1, 3, 1).expand(len(x), -1, 3)
        ),
    ),
    "`torch.fft`, complex numbers inside": lambda: after(linear(6), _complex),
    "`torch.linalg.solve`, `det`, `matrix_exp`": lambda: after(
        linear(9), lambda x: _linear_algebra(x.unflatten(1, (3, 3)))
    ),
    "`torch.cdist`, `functional.pdist`": lambda: after(
        tokens(), lambda x: torch.cat([torch.cdist(x, 2 + x.sin()).flatten(1), torch.stack(list(map(_pairs, x)))], 1)
    ),
    "operations in place": lambda: Layers(_in_place, layer=linear()),
    "`parametrizations.weight_norm`, `orthogonal`": lambda: nn.Sequential(
        parametrizations.weight_norm(linear()), nn.Tanh(), parametrizations.orthogonal(nn.Linear(5, 5))
    ),
    "`parametrizations.spectral_norm` in eval mode": lambda: nn.Sequential(
        parametrizations.spectral_norm(linear()), nn.Tanh()
    ).eval(),
    "`torch.func.functional_call`": lambda: Layers(
        lambda own, z: functional_call(own.layer, {"weight": 2 * own.layer.weight}, (z,)).tanh(), layer=linear()
    ),
    "`functional.grid_sample`, grid given": lambda: after(
        image(), lambda x: functional.grid_sample(x.tanh(), GRID.expand(len(x), -1, -1, -1), align_corners=False)
    ),
    "`functional.grid_sample`, grid decoded": lambda: Layers(_grid, image=image(), maps=linear(6)),
    "`torch.utils.checkpoint`, `use_reentrant=False`": lambda: _checkpointed(False),
    "`autograd.Function` without `jvp`": lambda: after(linear(), Sine.apply),
    "`torch.vmap` inside": lambda: Layers(
        lambda own, z: torch.vmap(lambda row: own.layer(row).tanh())(z), layer=linear()
    ),
    "`torch.sparse.mm`": Sparse,
    "`nn.EmbeddingBag`": lambda: Layers(
        lambda own, z: own.layer(z).sin() * own.bag(torch.ones(len(z), 1, dtype=torch.long)),
        layer=linear(),
        bag=nn.EmbeddingBag(3, 5),
    ),
    "buffers that the forward pass changes": Changing,
    "NumPy between constant tensors": lambda: _with_scale(Layers(_numbers, layer=linear())),
    "`torch.utils.checkpoint`, `use_reentrant=True`": lambda: _checkpointed(True),
    "`autograd.Function` with `once_differentiable`": lambda: after(linear(), OnceSine.apply),
}


def _with_scale(module: nn.Module) -> nn.Module:
    module.register_buffer("scale", torch.randn(5))
    return module


def _page() -> dict[str, str]:
    """What the page's table says of each decoder."""
    rows = re.findall(r"^\| (.+) \| (forward mode|reverse mode|refused) \|$", PAGE.read_text("utf-8"), re.MULTILINE)
    return dict(rows)


SAID = _page()


def test_the_page_lists_what_is_tested() -> None:
    assert set(SAID) == set(DECODERS)


@pytest.fixture
def reversed_passes(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Linearised]]:
    """The passes that reverse mode took over."""
    made: list[Linearised] = []
    start = Linearised.__init__

    def noted(self: Linearised, *args: object) -> None:
        made.append(self)
        start(self, *args)

    monkeypatch.setattr(Linearised, "__init__", noted)
    return made


@torch.no_grad()
def _slope(function: Callable[[float], Tensor], step: float) -> Tensor:
    """The derivative at 0 by differences, to fourth order."""
    return (8 * (function(step) - function(-step)) - function(2 * step) + function(-2 * step)) / (12 * step)


def _jacobian(decoder: nn.Module, z: Tensor) -> Tensor:
    units = torch.eye(LATENTS)
    return torch.stack([_slope(lambda t, unit=unit: decoder(z + t * unit), 1e-3) for unit in units], -1)


def _penalty(decoder: nn.Module, z: Tensor) -> Tensor:
    columns = _jacobian(decoder, z).flatten(1, -2)
    return torch.linalg.slogdet(torch.eye(LATENTS) + columns.mT @ columns / BETA)[1].sum()


def _made(name: str) -> tuple[nn.Module, Tensor, Tensor]:
    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(5)
        decoder, z = DECODERS[name](), torch.randn(BATCH, LATENTS)
        return decoder, z, decoder(z).detach() + 0.1


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", [name for name, how in SAID.items() if how != "refused"])
def test_a_decoder_that_works(name: str, reversed_passes: list[Linearised]) -> None:
    decoder, z, x = _made(name)
    z.requires_grad_()
    eta, value = Exact().penalty(decoder, z, x, Gaussian(), Full(), BETA)
    torch.testing.assert_close(eta, decoder(z))
    torch.testing.assert_close(value.sum(), _penalty(decoder, z.detach()), rtol=1e-6, atol=1e-6)
    assert bool(reversed_passes) == (SAID[name] == "reverse mode")
    weights = [weight for weight in decoder.parameters() if weight.requires_grad]
    gradients = torch.autograd.grad(value.sum(), (z, *weights), materialize_grads=True)
    directions = [torch.randn_like(tensor) for tensor in (z, *weights)]
    along = sum((gradient * direction).sum() for gradient, direction in zip(gradients, directions, strict=True))

    def moved(t: float) -> Tensor:
        for weight, direction in zip(weights, directions[1:], strict=True):
            weight.add_(t * direction)
        penalty = _penalty(decoder, z.detach() + t * directions[0])
        for weight, direction in zip(weights, directions[1:], strict=True):
            weight.sub_(t * direction)
        return penalty

    torch.testing.assert_close(along, _slope(moved, 1e-4), rtol=1e-4, atol=1e-4)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", [name for name, how in SAID.items() if how != "refused"])
def test_products_and_hessians(name: str) -> None:
    decoder, z, x = _made(name)
    columns = _jacobian(decoder, z).flatten(1, -2)
    product = Operator(decoder, z, x, Gaussian())(torch.eye(LATENTS).expand(BATCH, -1, -1))
    torch.testing.assert_close(product, columns.mT @ columns, rtol=1e-6, atol=1e-6)

    def gradient(point: Tensor) -> Tensor:
        with torch.enable_grad():
            point = point.detach().requires_grad_()
            return torch.autograd.grad(Gaussian().log_prob(decoder(point), x).sum(), point)[0]

    expected = torch.stack([_slope(lambda t, u=unit: gradient(z + t * u), 1e-3) for unit in torch.eye(LATENTS)], -1)
    torch.testing.assert_close(hessian(decoder, z, x, Gaussian()), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", [name for name, how in SAID.items() if how == "refused"])
@pytest.mark.filterwarnings("ignore")
def test_a_decoder_that_is_refused(name: str) -> None:
    decoder, z, x = _made(name)
    z.requires_grad_()
    told = r"^the decoder cannot be differentiated at .*: .*; a decoder must be differentiable twice.*docs/decoders.md"
    estimators = [(Exact(), Full()), (Columns(1), Diagonal()), (Fraction(Exact(), 0.3), Full())]
    for estimator, structure in estimators:
        with pytest.raises(InputError, match=told):
            estimator.penalty(decoder, z, x, Gaussian(), structure, BETA)
    with pytest.raises(InputError, match=told):
        Operator(decoder, z, x, Gaussian())(torch.ones(BATCH, LATENTS, 1))
    with pytest.raises(InputError, match=told):
        hessian(decoder, z, x, Gaussian())


def test_the_decoders_own_errors_stay_as_they_are() -> None:
    """A mistake in the decoder is no question of derivatives."""
    for run in (pushforward, lambda fn, z, v: Operator(fn, z, z, Gaussian())(v)):
        with pytest.raises(RuntimeError, match="cannot be multiplied"):
            run(nn.Linear(3, 2), torch.randn(2, LATENTS), torch.ones(2, LATENTS, 1))
