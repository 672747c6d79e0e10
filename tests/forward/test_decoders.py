"""The page docs/decoders.md and what the library does with each of its decoders, against finite differences."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state
from torch.nn import functional
from torch.nn.utils import parametrizations
from torch.utils.checkpoint import checkpoint

from curvae import inspect
from curvae.adapters import callables
from curvae.curvature import (
    Columns,
    Estimator,
    Exact,
    Fraction,
    Lanczos,
    Linearised,
    Operator,
    Secants,
    Signs,
    Trace,
    hessian,
    log_determinant,
    pushforward,
)
from curvae.errors import InputError
from curvae.forward.reverse import ReverseMode
from curvae.forward.rows import ROWS
from curvae.likelihoods import Gaussian
from curvae.posteriors import BlockDiagonal, Diagonal, Full, Shared, Structure

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


def _checkpointed(own: Layers, z: Tensor) -> Tensor:
    return own.last(checkpoint(own.inner, own.first(z), use_reentrant=False))


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


def _norms(x: Tensor) -> Tensor:
    lengths = [x.norm(dim=1), torch.norm(x, 2, 2), torch.linalg.vector_norm(x, dim=(1, 2))[:, None], x.std(1, False)]
    lengths.append(torch.std_mean(x, 1)[0])
    angles = [functional.cosine_similarity(x, x.sin() + 1, 2), functional.pairwise_distance(x, x.square())]
    return torch.cat([functional.normalize(x, dim=2).flatten(1), *lengths, *angles], 1)


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
    "`nn.RMSNorm`, `functional.normalize`, `norm`, `std`": lambda: after(
        nn.Sequential(tokens(), nn.RMSNorm(8)), _norms
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
    "`torch.utils.checkpoint`": lambda: Layers(
        _checkpointed,
        first=linear(8),
        inner=nn.Sequential(nn.Linear(8, 8), nn.LayerNorm(8), nn.Tanh()),
        last=nn.Linear(8, 5),
    ),
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
def reversed_passes(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[ReverseMode]]:
    """The passes that reverse mode took over."""
    made: list[ReverseMode] = []
    start = ReverseMode.__init__

    def noted(self: ReverseMode, *args: object) -> None:
        made.append(self)
        start(self, *args)

    monkeypatch.setattr(ReverseMode, "__init__", noted)
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
def test_a_decoder_that_works(name: str, reversed_passes: list[ReverseMode]) -> None:
    decoder, z, x = _made(name)
    z.requires_grad_()
    with ROWS.off():
        eta, value = Exact().penalty(Linearised(decoder, z, x, Gaussian()), Full(), BETA)
    torch.testing.assert_close(eta, decoder(z))
    torch.testing.assert_close(value.sum(), _penalty(decoder, z.detach()), rtol=1e-6, atol=1e-6)
    assert bool(reversed_passes) == (SAID[name] == "reverse mode")
    by_rows = Exact().penalty(Linearised(decoder, z, x, Gaussian()), Full(), BETA)
    torch.testing.assert_close(by_rows, (eta, value))
    weights = [weight for weight in decoder.parameters() if weight.requires_grad]
    gradients = torch.autograd.grad(value.sum(), (z, *weights), materialize_grads=True)
    torch.testing.assert_close(torch.autograd.grad(by_rows[1].sum(), (z, *weights), materialize_grads=True), gradients)
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


@pytest.mark.cases(16)
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
    found = hessian(decoder, z, x, Gaussian())
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-5)
    weight = next(weight for weight in decoder.parameters() if weight.requires_grad)
    (slope,) = torch.autograd.grad(found.sum(), weight)
    direction = torch.randn_like(weight)

    def moved(t: float) -> Tensor:
        weight.add_(t * direction)
        value = hessian(decoder, z, x, Gaussian()).sum()
        weight.sub_(t * direction)
        return value

    torch.testing.assert_close((slope * direction).sum(), _slope(moved, 1e-4), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", [name for name, how in SAID.items() if how == "refused"])
@pytest.mark.filterwarnings("ignore")
def test_a_decoder_that_is_refused(name: str) -> None:
    decoder, z, x = _made(name)
    z.requires_grad_()
    told = r"^the decoder cannot be differentiated at .*: .*; a decoder must be twice differentiable.*docs/decoders.md"
    estimators = [(Exact(), Full()), (Columns(1), Diagonal()), (Fraction(Exact(), 0.3), Full())]
    for estimator, structure in estimators:
        with pytest.raises(InputError, match=told):
            estimator.penalty(Linearised(decoder, z, x, Gaussian()), structure, BETA)
    with pytest.raises(InputError, match=told):
        Operator(decoder, z, x, Gaussian())(torch.ones(BATCH, LATENTS, 1))
    with pytest.raises(InputError, match=told):
        hessian(decoder, z, x, Gaussian())


CONSTANT: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "expanded": lambda z, weight: weight.expand(len(z), 3),
    "of no weight": lambda z, weight: z.new_ones(len(z), 3),
    "times zero": lambda z, weight: weight + 0 * z[:, :1],
}


@pytest.mark.parametrize("name", CONSTANT)
@pytest.mark.filterwarnings("error")
def test_a_constant_decoder_has_the_curvature_zero_everywhere(name: str) -> None:
    weight = torch.ones(3, requires_grad=True)
    z, x = torch.randn(BATCH, LATENTS), torch.randn(BATCH, 3)
    decoder = partial(CONSTANT[name], weight=weight)
    at = Linearised(decoder, z, x, Gaussian())
    assert not Operator(decoder, z, x, Gaussian())(torch.randn(BATCH, LATENTS, 2)).any()
    assert not hessian(decoder, z, x, Gaussian()).any()
    assert not log_determinant(at, BETA, generator=torch.Generator().manual_seed(0)).value.any()
    cases: list[tuple[Estimator, Structure]] = [
        *((one, Full()) for one in (Exact(), Lanczos(2), Trace(Signs(1)), Fraction(Exact(), 0.5))),
        *((one, Diagonal()) for one in (Columns(1), Secants(1))),
    ]
    for estimator, structure in cases:
        eta, penalty = estimator.penalty(at, structure, BETA)
        assert not penalty.any()
        if eta.requires_grad:
            (slope,) = torch.autograd.grad((eta.sum() + penalty.sum()), weight)
            torch.testing.assert_close(slope, torch.full((3,), float(BATCH)).to(slope))
    found = inspect(callables(encode=lambda x: x[:, :2], decode=decoder), x, beta=0.2)
    assert (found.trace, found.log_det.value, found.effective_dimension) == (0.0, 0.0, 0.0)


def test_the_decoders_own_errors_stay_as_they_are() -> None:
    """A mistake in the decoder is no question of derivatives."""
    for run in (pushforward, lambda fn, z, v: Operator(fn, z, z, Gaussian())(v)):
        with pytest.raises(RuntimeError, match="cannot be multiplied"):
            run(nn.Linear(3, 2), torch.randn(2, LATENTS), torch.ones(2, LATENTS, 1))


def test_recurrent_layers_in_float32() -> None:
    """Where PyTorch picks a kernel that forward mode cannot follow."""
    torch.manual_seed(0)
    decoder = _recurrent(nn.LSTM(4, 5, batch_first=True))
    z, x = torch.randn(BATCH, LATENTS), torch.randn(BATCH, 3, 5)
    exact = Exact().penalty(Linearised(decoder, z, x, Gaussian()), Full(), BETA)[1].detach()
    z, x = z.float(), x.float()
    for structure, estimator in ((Full(), Exact()), (Diagonal(), Columns(1)), (Full(), Lanczos(2))):
        value = estimator.penalty(Linearised(decoder.float(), z, x, Gaussian()), structure, BETA)[1]
        value.sum().backward()
        assert all(weight.grad.isfinite().all() for weight in decoder.parameters())
        if isinstance(estimator, Exact):
            torch.testing.assert_close(value, exact.float(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("drop", [nn.Dropout(0.5), nn.AlphaDropout(0.3), nn.RReLU()], ids=repr)
def test_noise_is_the_same_in_all_passes(drop: nn.Module, seed: int) -> None:
    """One thinned network: its output, columns, products and Hessian belong to each other."""
    decoder = nn.Sequential(linear(50), drop, nn.Tanh(), nn.Linear(50, 6))
    z, x, units = torch.randn(BATCH, LATENTS), torch.randn(BATCH, 6), torch.eye(LATENTS).expand(BATCH, -1, -1)

    def fixed(point: Tensor) -> Tensor:
        torch.manual_seed(7)
        return decoder(point)

    columns = _jacobian(fixed, z)
    curvature = columns.mT @ columns
    for chunk_size in (None, 1, 3):
        torch.manual_seed(7)
        eta, pushed = pushforward(decoder, z, units, chunk_size)
        torch.testing.assert_close(eta, fixed(z))
        torch.testing.assert_close(pushed, columns, rtol=1e-6, atol=1e-6)
    torch.manual_seed(7)
    operator = Operator(decoder, z, x, Gaussian())
    following = torch.rand(1)
    torch.testing.assert_close(operator.eta, fixed(z))
    torch.testing.assert_close(operator(units), curvature, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(operator.root(units), columns, rtol=1e-6, atol=1e-6)
    torch.manual_seed(7)
    torch.testing.assert_close(hessian(decoder, z, x, Gaussian()), hessian(fixed, z, x, Gaussian()))
    assert torch.equal(torch.rand(1), following)  # one pass's noise is used up, however many there were
    torch.manual_seed(7)
    Lanczos(2).penalty(Linearised(decoder, z.requires_grad_(), x, Gaussian()), Full(), BETA)[1].sum().backward()


@pytest.mark.parametrize(
    "drop",
    [nn.Dropout(0.5), nn.AlphaDropout(0.3), nn.Dropout(0.5, inplace=True), nn.RReLU(), nn.Dropout1d(0.5)],
    ids=repr,
)
def test_a_mask_is_the_same_however_its_input_lies_in_memory(drop: nn.Module, seed: int) -> None:
    """As after attention, with axes exchanged: inside a transform PyTorch draws in another order."""

    def masked(own: Layers, x: Tensor) -> Tensor:
        turned = own.tokens(x).sin().mT
        own.drop(turned)  # in place, or to no effect
        return own.last(own.drop(turned).flatten(1))

    decoder = Layers(masked, tokens=tokens(), drop=drop, last=nn.LazyLinear(6))
    z, x, units = torch.randn(BATCH, LATENTS), torch.randn(BATCH, 6), torch.eye(LATENTS).expand(BATCH, -1, -1)
    decoder(z)
    torch.manual_seed(7)
    eta, columns = pushforward(decoder, z, units)
    torch.manual_seed(7)
    operator = Operator(decoder, z, x, Gaussian())
    torch.testing.assert_close(operator.eta, eta)
    torch.testing.assert_close(operator.push(units), columns)
    cotangents = torch.randn(BATCH, 6, 2)
    torch.testing.assert_close(operator.pull(cotangents), columns.mT @ cotangents)


@pytest.mark.parametrize("columns", [1, LATENTS])
def test_spectral_normalisation_in_train_mode_keeps_plain_buffers(columns: int) -> None:
    decoder = nn.Sequential(parametrizations.spectral_norm(linear()), nn.Tanh())
    z = torch.randn(BATCH, LATENTS)
    pushforward(decoder, z, torch.eye(LATENTS)[:, :columns].expand(BATCH, -1, -1))
    for buffer in decoder.buffers():
        assert not torch._C._functorch.is_functorch_wrapped_tensor(buffer)
        torch.testing.assert_close(buffer.norm(), torch.ones(()))


@pytest.mark.covering
@pytest.mark.parametrize("randomness", ["same", "different"])
@pytest.mark.parametrize(
    ("structure", "estimator"),
    [
        (Full(), Exact()), (BlockDiagonal(2), Exact()), (Shared(Full()), Exact()), (Full(), Trace()),
        (Diagonal(), Columns(2)), (Full(), Lanczos(2)),
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.usefixtures("as_shipped")
def test_an_ensemble_under_vmap(structure: Structure, estimator: Estimator, randomness: str, seed: int) -> None:
    members = [nn.Sequential(linear(6), nn.LayerNorm(6), nn.ELU(), nn.Linear(6, 5)) for _ in range(3)]
    weights, buffers = stack_module_state(members)
    z, x, scale = torch.randn(BATCH, LATENTS), torch.randn(BATCH, 5), 1e6 if isinstance(estimator, Exact) else 1.0

    def penalty(weights: dict[str, Tensor], buffers: dict[str, Tensor]) -> Tensor:
        decoder = lambda point: scale * functional_call(members[0], (weights, buffers), (point,))  # noqa: E731
        return estimator.penalty(Linearised(decoder, z, x, Gaussian()), structure, BETA)[1]

    found = torch.vmap(penalty, randomness=randomness)(weights, buffers)
    if isinstance(estimator, Columns | Lanczos):
        assert found.shape == (3, BATCH)
        assert found.isfinite().all()
    else:
        expected = [
            estimator.penalty(Linearised(lambda p, m=m: scale * m(p), z, x, Gaussian()), structure, BETA)[1]
            for m in members
        ]
        torch.testing.assert_close(found, torch.stack(expected))


@pytest.mark.parametrize("estimator", [Exact(), Trace(), Lanczos(LATENTS), Fraction(Exact(), 0.5)], ids=str)
def test_one_number_for_each_sample(estimator: Estimator, seed: int) -> None:
    """D = (): the same as D = (1,)."""
    decoder, z, x = nn.Linear(LATENTS, 1), torch.randn(BATCH, LATENTS), torch.randn(BATCH)
    values, gradients = [], []
    for data, fn in ((x, lambda z: decoder(z).tanh()[:, 0]), (x[:, None], lambda z: decoder(z).tanh())):
        generator = torch.Generator().manual_seed(seed)
        value = estimator.penalty(Linearised(fn, z, data, Gaussian()), Full(), BETA, generator)[1]
        values.append(value.detach())
        gradients.append(torch.autograd.grad(value.sum(), decoder.weight)[0])
    torch.testing.assert_close(*values)
    torch.testing.assert_close(*gradients)


@pytest.mark.usefixtures("as_shipped")
def test_answers_and_latents_of_other_shapes_are_refused() -> None:
    decoder, z, x = linear(), torch.randn(BATCH, LATENTS), torch.randn(BATCH, 5)
    estimators = [(Exact(), Full()), (Columns(1), Diagonal()), (Trace(), Full()), (Lanczos(2), Full())]
    for estimator, structure in [*estimators, (Fraction(Exact(), 0.5), Full())]:
        for several in (lambda p: (decoder(p), p), lambda p: {"mean": decoder(p)}, lambda p: None):
            with pytest.raises(InputError, match=r"returned a .*; expected one tensor \[B, \*D\]: .*lambda"):
                estimator.penalty(Linearised(several, z, x, Gaussian()), structure, BETA)
        with pytest.raises(InputError, match=r"z has shape"):
            estimator.penalty(Linearised(decoder, z[0, 0], x, Gaussian()), structure, BETA)
    with pytest.raises(InputError, match=r"returned a SimpleNamespace; .*: decoder\(z\)\.sample, or"):
        Exact().penalty(Linearised(lambda p: SimpleNamespace(sample=decoder(p)), z, x, Gaussian()), Full(), BETA)
    with pytest.raises(InputError, match="expected one tensor"):
        hessian(lambda p: [decoder(p)], z, x, Gaussian())
    with pytest.raises(InputError, match="z has shape"):
        hessian(decoder, z[0, 0], x, Gaussian())


def test_a_checkpoint_around_everything() -> None:
    """Its hooks are the caller's, and what is drawn inside is drawn again."""
    decoder, z, x = (
        nn.Sequential(linear(), nn.Tanh()),
        torch.randn(BATCH, LATENTS, requires_grad=True),
        torch.zeros(3, 5),
    )

    def penalty(point: Tensor) -> Tensor:
        return Exact().penalty(Linearised(decoder, point, x, Gaussian()), Full(), BETA)[1].sum()

    plain = torch.autograd.grad(penalty(z), (z, *decoder.parameters()))
    again = torch.autograd.grad(checkpoint(penalty, z, use_reentrant=False), (z, *decoder.parameters()))
    torch.testing.assert_close(again, plain)


NORMS: dict[str, Callable[[Tensor], Tensor]] = {
    "vector_norm": lambda y: torch.linalg.vector_norm(y, dim=1, keepdim=True),
    "norm": lambda y: y.norm(3, dim=1, keepdim=True),
    "std": lambda y: y.std(1, keepdim=True),
    "cosine_similarity": lambda y: functional.cosine_similarity(y, y.roll(1, 1)).unsqueeze(1),
    "pairwise_distance": lambda y: functional.pairwise_distance(y, y.roll(1, 1)).unsqueeze(1),
    "cdist": lambda y: torch.cdist(y.unsqueeze(1), y.roll(1, 1).unsqueeze(1)).flatten(1),
}


@pytest.mark.parametrize("name", NORMS)
def test_a_norm_of_what_is_not_a_number_is_none(name: str) -> None:
    z = torch.randn(BATCH, LATENTS)
    z[1, 2] = torch.nan
    torch.testing.assert_close(
        pushforward(NORMS[name], z, torch.ones(BATCH, LATENTS, 1))[0], NORMS[name](z), equal_nan=True
    )
