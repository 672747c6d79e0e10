"""Primals and tangents as rows of one batch, against plain forward mode; what cannot be followed is not guessed."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from curvae.errors import InputError
from curvae.forward.first_use import unchecked
from curvae.forward.pushforward import pushforward
from curvae.forward.row_rules import CannotFollow
from curvae.forward.rows import ROWS, push_rows
from curvae.forward.statistics import FixedStatistics
from curvae.nn import CelebADecoder, MLPDecoder, MNISTDecoder, SameConv2d, SameConvTranspose2d

pytestmark = pytest.mark.usefixtures("float64")

BATCH, LATENTS, DIRECTIONS = 6, 4, 3
CHOSEN = torch.tensor([4, 1])
MOVED = len(CHOSEN)
LABELS = torch.arange(float(BATCH)).view(-1, 1)


class _Residual(nn.Module):
    """Sums, products and a swish written out."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(LATENTS, 8), nn.GroupNorm(2, 8), nn.Linear(8, 8)

    def forward(self, z: Tensor) -> Tensor:
        x = self.first(z)
        y = self.norm(x)
        return x + 2.0 * self.last(y * torch.sigmoid(y)) - 1.0


def _images(*layers: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Linear(LATENTS, 16), nn.Unflatten(1, (4, 2, 2)), *layers)


FOLLOWED: dict[str, Callable[[], nn.Module]] = {
    "mnist": lambda: MNISTDecoder(LATENTS, 1 / 64),
    "celeba": lambda: CelebADecoder(LATENTS, 1 / 256),
    "mlp": lambda: MLPDecoder(LATENTS, (2, 3), hidden=(7,)),
    "no-bias": lambda: nn.Sequential(nn.Linear(LATENTS, 5, bias=False), nn.BatchNorm1d(5, affine=False), nn.Softplus()),
    "cumulative": lambda: nn.Sequential(nn.Linear(LATENTS, 5), nn.BatchNorm1d(5, momentum=None), nn.SiLU()),
    "no-running": lambda: nn.Sequential(nn.Linear(LATENTS, 5), nn.BatchNorm1d(5, track_running_stats=False), nn.GELU()),
    "upsampled": lambda: _images(nn.Upsample(scale_factor=2), nn.Conv2d(4, 2, 3, padding=1), nn.LeakyReLU(0.1)),
    "bilinear": lambda: _images(nn.Upsample(scale_factor=2, mode="bilinear"), nn.PixelShuffle(2), nn.AvgPool2d(2)),
    "group": lambda: _images(SameConvTranspose2d(4, 6, 4, 2), nn.GroupNorm(3, 6), nn.Mish(), nn.Conv2d(6, 1, 1)),
    "layer": lambda: nn.Sequential(nn.Linear(LATENTS, 6), nn.LayerNorm(6), nn.Tanh(), nn.Linear(6, 3)),
    "instance": lambda: _images(nn.InstanceNorm2d(4, affine=True), nn.ReLU()),
    "residual": _Residual,
    "plus-a-tensor": lambda: _Function(lambda x: 2.0 * torch.tanh(x) * torch.arange(4.0) + torch.ones(1)),
    "plus-one-for-each-sample": lambda: _Function(lambda x: x + LABELS.to(x.dtype)),
    "conditional": lambda: _Function(lambda x: torch.cat([x, LABELS.to(x.dtype).cos()], 1)),
    "tokens": lambda: nn.Sequential(nn.Unflatten(1, (2, 2)), nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 2), nn.Flatten()),
    "turned": lambda: _Function(lambda x: x.view(-1, 2, 2).transpose(1, 2).tanh().permute(0, 2, 1)),
    "dropout-of-nothing": lambda: nn.Sequential(nn.Linear(LATENTS, 5), nn.Dropout(0.0), nn.ELU(), nn.Dropout1d(0.0)),
    "one-channel": lambda: _images(SameConvTranspose2d(4, 3, 4, 2), nn.ELU(), SameConv2d(3, 1, 4), nn.Sigmoid()),
}

NOT_FOLLOWED: dict[str, Callable[[], nn.Module]] = {
    "in-place": lambda: nn.Sequential(nn.Linear(LATENTS, 5), nn.BatchNorm1d(5), nn.ELU(inplace=True)),
    "softmin": lambda: nn.Sequential(nn.Linear(LATENTS, 5), nn.BatchNorm1d(5, momentum=None), nn.Softmin(1)),
    "transposed": lambda: _Function(lambda x: x.transpose(0, 1).tanh().transpose(0, 1)),
    "data-as-channels": lambda: _Function(lambda x: x.reshape(1, -1).tanh().reshape(x.shape)),
    "padded-by-ones": lambda: _Function(lambda x: functional.pad(x, (1, 1), value=1.0)),
    "some-rows": lambda: _Function(lambda x: torch.cat([x[:3], x[3:]])),
    "data-as-a-convolution's-channels": lambda: _Function(lambda x: functional.conv1d(x, torch.ones(BATCH, BATCH, 1))),
    "a-norm-over-data": lambda: _Function(lambda x: functional.layer_norm(x, x.shape)),
    "data-as-more-data": lambda: _Function(lambda x: x.expand(len(x), *x.shape)[0]),
    "numbers-by-index": lambda: _Function(lambda x: x[list(range(len(x)))]),
    "scripted": lambda: _Function(torch.jit.script(_scripted)),
    "own-derivative": lambda: _Function(_Square.apply),
}


def _scripted(x: Tensor) -> Tensor:
    return torch.tanh(x)


class _Function(nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.first, self.norm, self.function = nn.Linear(LATENTS, 4), nn.BatchNorm1d(4), function

    def forward(self, z: Tensor) -> Tensor:
        return self.function(self.norm(self.first(z)))


class _Square(torch.autograd.Function):
    """Its backward pass is right for primals and wrong for tangents."""

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x * x

    @staticmethod
    def setup_context(ctx: torch.autograd.function.FunctionCtx, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, gradient: Tensor) -> Tensor:
        return 2 * ctx.saved_tensors[0] * gradient

    @staticmethod
    def jvp(ctx: torch.autograd.function.FunctionCtx, tangent: Tensor) -> Tensor:
        return 2 * ctx.saved_tensors[0] * tangent


def _point() -> tuple[Tensor, Tensor]:
    return torch.randn(BATCH, LATENTS, requires_grad=True), torch.randn(MOVED, LATENTS, DIRECTIONS)


@pytest.mark.covering
@pytest.mark.parametrize(("train", "chunk_size"), [(True, None), (True, 2), (False, 2)])
@pytest.mark.parametrize("make", [*FOLLOWED.values(), *NOT_FOLLOWED.values()], ids=[*FOLLOWED, *NOT_FOLLOWED])
def test_is_the_pass_with_tangents_of_zero(make: Callable[[], nn.Module], train: bool, chunk_size: int | None) -> None:
    """Values, gradients, running statistics and counters, whether or not the short way is open."""
    if make in (NOT_FOLLOWED["own-derivative"], NOT_FOLLOWED["scripted"]):
        pytest.skip("the plain pass cannot either; the test after the next shows that it is not followed")
    torch.manual_seed(0)
    decoder = make().train(train)
    twin = copy.deepcopy(decoder)
    z, tangents = _point()
    every = torch.zeros(BATCH, LATENTS, DIRECTIONS).index_copy(0, CHOSEN, tangents)
    with unchecked():  # some of them mix data, on purpose
        eta, pushed = pushforward(decoder, z, tangents, chunk_size, CHOSEN)
        with ROWS.off():
            expected = pushforward(twin, z, every)
    torch.testing.assert_close(eta, expected[0])
    torch.testing.assert_close(pushed, expected[1][CHOSEN])
    weights = torch.randn_like(eta), torch.randn_like(pushed)
    got = (eta * weights[0]).sum() + (pushed.square() * weights[1]).sum()
    wanted = (expected[0] * weights[0]).sum() + (expected[1][CHOSEN].square() * weights[1]).sum()
    gradients = torch.autograd.grad(got, (z, *decoder.parameters()), materialize_grads=True)
    torch.testing.assert_close(gradients, torch.autograd.grad(wanted, (z, *twin.parameters()), materialize_grads=True))
    assert max(float(gradient.abs().max()) for gradient in gradients) > 0
    for mine, other in zip(decoder.buffers(), twin.buffers(), strict=True):
        torch.testing.assert_close(mine, other)


@pytest.mark.parametrize("make", FOLLOWED.values(), ids=FOLLOWED.keys())
def test_common_layers_are_followed(make: Callable[[], nn.Module]) -> None:
    z, tangents = _point()
    decoder = make()
    seen = []
    decoder.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].shape))
    pushed = push_rows(decoder, z, tangents.movedim(-1, 0), CHOSEN, FixedStatistics())[1]
    assert seen == [(BATCH, LATENTS)]  # once, and nothing but the data
    assert pushed.shape[:2] == (DIRECTIONS, MOVED)


@pytest.mark.parametrize("make", NOT_FOLLOWED.values(), ids=NOT_FOLLOWED.keys())
def test_what_mixes_data_or_is_unknown_is_refused_without_a_trace(make: Callable[[], nn.Module]) -> None:
    decoder, (z, tangents) = make(), _point()
    before = copy.deepcopy(decoder.state_dict())
    with pytest.raises(CannotFollow):
        push_rows(decoder, z, tangents.movedim(-1, 0), CHOSEN, FixedStatistics())
    assert all(torch.equal(value, before[name]) for name, value in decoder.state_dict().items())


def test_under_autocast(seed: int) -> None:
    """bf16 layers, tangents close to those of float32, in the type of the primal."""
    decoder = MNISTDecoder(LATENTS, 1 / 32).float()
    z, tangents = torch.randn(BATCH, LATENTS, dtype=torch.float32), torch.randn(MOVED, LATENTS, 1, dtype=torch.float32)
    exact = pushforward(copy.deepcopy(decoder), z, tangents, chosen=CHOSEN)
    with torch.autocast("cpu", torch.bfloat16):
        eta, pushed = pushforward(decoder, z, tangents, chosen=CHOSEN)
    assert eta.dtype == pushed.dtype
    torch.testing.assert_close(eta.float(), exact[0], atol=0.02, rtol=0.05)
    error = (pushed.float() - exact[1]).norm() / exact[1].norm()
    assert 0 < error < 0.1


def test_dropout_in_eval_mode_is_followed() -> None:
    decoder = nn.Sequential(nn.Linear(LATENTS, 5), nn.Dropout(0.5), nn.AlphaDropout(0.2), nn.Linear(5, 2)).eval()
    z, tangents = _point()
    push_rows(decoder, z, tangents.movedim(-1, 0), CHOSEN, FixedStatistics())
    with pytest.raises(CannotFollow):
        push_rows(decoder.train(), z, tangents.movedim(-1, 0), CHOSEN, FixedStatistics())


def test_without_gradients_a_function_with_its_own_derivative_is_still_noticed() -> None:
    z, tangents = _point()
    with torch.no_grad():
        pushed = push_rows(torch.tanh, z, tangents.movedim(-1, 0), CHOSEN, FixedStatistics())[1]
        assert not pushed.requires_grad
        with pytest.raises(CannotFollow, match="derivative of its own"):
            push_rows(_Square.apply, z, tangents.movedim(-1, 0), CHOSEN, FixedStatistics())


def test_a_compiled_decoder_gives_what_it_gives_as_it_was_written(seed: int) -> None:
    decoder = nn.Sequential(nn.Linear(LATENTS, 5), nn.BatchNorm1d(5), nn.ELU(), nn.Linear(5, 2))
    z, tangents = _point()
    expected = pushforward(decoder, z, tangents, chosen=CHOSEN)
    compiled = torch.compile(decoder, backend="eager")
    compiled(z)  # and so is in the compiler's cache
    torch.testing.assert_close(pushforward(compiled, z, tangents, chosen=CHOSEN), expected)


def test_a_decoder_that_keeps_no_activations_has_the_same_gradients() -> None:
    decoder = nn.Sequential(nn.Linear(LATENTS, 5), nn.BatchNorm1d(5), nn.ELU(), nn.Linear(5, 2))
    z, tangents = _point()
    gradients = []
    for fn in (decoder, lambda z: checkpoint(decoder, z, use_reentrant=False)):
        eta, pushed = pushforward(fn, z, tangents, chosen=CHOSEN)
        loss = eta.square().sum() + pushed.square().sum()
        gradients.append(torch.autograd.grad(loss, (z, *decoder.parameters())))
    torch.testing.assert_close(*gradients)


@pytest.mark.usefixtures("as_shipped")
def test_what_is_chosen_has_to_be_data() -> None:
    z, tangents = _point()
    for chosen in ([0], [1, 1], [0, BATCH], [-1, 0], [0.0, 1.0]):
        with pytest.raises(InputError, match="2 different samples"):
            pushforward(torch.tanh, z, tangents, chosen=torch.tensor(chosen))
