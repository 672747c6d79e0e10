"""Architectures drawn at random, whose sizes like to be equal: a fraction of a batch against the plain pass."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from curvae.curvature import Exact, Fraction, Linearised
from curvae.curvature.estimator import Subsample
from curvae.forward.rows import ROWS
from curvae.likelihoods import Gaussian
from curvae.posteriors import Full

pytestmark = pytest.mark.usefixtures("float64")

LATENTS, BETA, BLOCK = 3, 0.7, 25
Shape = tuple[int, ...]
Step = Callable[[Tensor], Tensor]


class Drawn(nn.Module):
    """A decoder of random layers that treat each sample by itself (batch statistics aside).

    Sizes are drawn from few numbers, among them the batch's and that of primals and tangents together.
    """

    def __init__(self, draw: random.Random, data: int, sizes: list[int]) -> None:
        super().__init__()
        self.draw, self.data, self.sizes = draw, data, sizes
        self.layers, self.steps, self.names = nn.ModuleList(), [], []
        shape: Shape = (LATENTS,)
        while len(self.steps) < 2 or draw.random() < 0.75:
            maker = draw.choice(MAKERS)
            step = maker(self, shape)
            after = self.shape_after(step, shape)
            if after is None:
                continue
            self.steps.append(step)
            self.names.append(maker.__name__)
            if draw.random() < 0.3 and self.shape_after(step, after) is not None:  # a tied layer
                self.steps.append(step)
                after = self.shape_after(step, after)
            shape = after
        self.last = shape

    @torch.no_grad()
    def shape_after(self, step: Step, shape: Shape) -> Shape | None:
        """What a step makes of a shape, ``None`` where it does not fit."""
        try:
            after = tuple(step(torch.zeros(self.data, *shape)).shape[1:])
        except (RuntimeError, IndexError, ValueError):
            return None
        return after if 1 <= len(after) <= 3 and 0 < math.prod(after) <= 64 else None

    def forward(self, z: Tensor) -> Tensor:
        x = z
        for step in self.steps:
            x = step(x)
        return x

    def size(self) -> int:
        return self.draw.choice(self.sizes)

    def constant(self, *shape: int) -> nn.Parameter:
        self.layers.append(nn.ParameterList([torch.randn(shape)]))
        return self.layers[-1][0]

    def module(self, module: nn.Module) -> nn.Module:
        self.layers.append(module)
        return module


def linear(net: Drawn, shape: Shape) -> Step:
    return net.module(nn.Linear(shape[-1], net.size(), bias=net.draw.random() < 0.8))


def activation(net: Drawn, shape: Shape) -> Step:
    return net.draw.choice([torch.tanh, functional.elu, functional.silu, torch.sin, lambda x: x.square() - 0.1 * x])


def split(net: Drawn, shape: Shape) -> Step:
    """The last axis in two, in one of the ways to say so."""
    last = shape[-1]
    first = net.draw.choice([n for n in range(1, last + 1) if last % n == 0])
    rest = (*shape[:-1], first, last // first)
    ways = [
        lambda x: x.view(len(x), *rest),
        lambda x: x.reshape(-1, *rest),
        lambda x: x.unflatten(-1, rest[-2:]),
        lambda x: x.reshape(net.data, *rest[:-1], -1),
    ]
    return net.draw.choice(ways)


def merge(net: Drawn, shape: Shape) -> Step:
    return net.draw.choice([lambda x: x.flatten(1), lambda x: x.reshape(x.shape[0], -1), lambda x: x[..., 0]])


def turn(net: Drawn, shape: Shape) -> Step:
    order = [0, *net.draw.sample(range(1, len(shape) + 1), len(shape))]
    return net.draw.choice([lambda x: x.permute(order), lambda x: x.transpose(1, -1), lambda x: x.movedim(-1, 1)])


def widen(net: Drawn, shape: Shape) -> Step:
    place = net.draw.randint(1, len(shape) + 1)
    return net.draw.choice([lambda x: x.unsqueeze(place), lambda x: x[:, None], lambda x: x.unsqueeze(-1)])


def narrow(net: Drawn, shape: Shape) -> Step:
    return net.draw.choice([lambda x: x.squeeze(-1), lambda x: x[..., : max(1, shape[-1] - 1)], lambda x: x[:, :2]])


def arithmetic(net: Drawn, shape: Shape) -> Step:
    """With a number for each sample, for all, or anything that broadcasts."""
    first = net.draw.choice([1, net.data])
    kept = tuple(n if net.draw.random() < 0.6 else 1 for n in shape)
    other = net.constant(*net.draw.choice([(first, *kept), kept, kept[1:], (), (*[1] * len(shape), shape[-1])]))
    return net.draw.choice([lambda x: x + other, lambda x: other * x, lambda x: x / (2 + other.cos()), lambda x: 1 - x])


def beside(net: Drawn, shape: Shape) -> Step:
    """Labels of each sample, as a conditional decoder has them."""
    labels = net.constant(net.data, *shape)
    dim = net.draw.randint(1, len(shape))
    return net.draw.choice([lambda x: torch.cat([x, labels], dim), lambda x: torch.cat([x, x.tanh()], -1)])


def residual(net: Drawn, shape: Shape) -> Step:
    inner = net.module(nn.Linear(shape[-1], shape[-1]))
    return lambda x: x + torch.tanh(inner(x)) * x


def normalise(net: Drawn, shape: Shape) -> Step:
    kind = nn.BatchNorm2d if len(shape) == 3 else nn.BatchNorm1d
    layers = [nn.LayerNorm(shape[net.draw.randrange(len(shape)) :]), nn.GroupNorm(1, shape[0])]
    layer = net.module(net.draw.choice([*layers, kind(shape[0]), kind(shape[0]).eval()]))
    for parameter in layer.parameters():
        nn.init.normal_(parameter)
    return layer


def convolve(net: Drawn, shape: Shape) -> Step:
    channels, out = shape[0], net.size()
    kinds: dict[int, list[nn.Module]] = {
        1: [nn.Linear(channels, out)],
        2: [nn.Conv1d(channels, out, 3, padding=1), nn.ConvTranspose1d(channels, out, 1)],
        3: [nn.Conv2d(channels, out, 1), nn.ConvTranspose2d(channels, out, 2)],
    }
    return net.module(net.draw.choice(kinds[len(shape)]))


def attention(net: Drawn, shape: Shape) -> Step:
    return (lambda x: torch.softmax(x @ x.mT, -1) @ x) if len(shape) > 1 else torch.tanh


def product(net: Drawn, shape: Shape) -> Step:
    weight = net.constant(shape[-1], net.size())
    return lambda x: x @ weight


def dropout(net: Drawn, shape: Shape) -> Step:
    return net.module(nn.Dropout(0.0)) if net.draw.random() < 0.5 else lambda x: functional.dropout(x, 0.5, False)


MAKERS = [
    linear,
    linear,
    split,
    split,
    activation,
    merge,
    turn,
    widen,
    narrow,
    arithmetic,
    arithmetic,
    beside,
    residual,
]
MAKERS += [normalise, normalise, convolve, attention, product, dropout]


def _drawn(seed: int) -> tuple[Drawn, int, int]:
    draw = random.Random(seed)
    data = draw.choice([1, 2, 3, 4, 6, 8])
    moved = draw.randint(1, data)
    sizes = [1, 2, data, data + LATENTS * moved]
    return Drawn(draw, data, sizes), data, moved


@pytest.mark.cases(1)
@pytest.mark.parametrize("block", range(8))
def test_a_fraction_is_the_plain_pass_on_the_data_drawn(block: int) -> None:
    """Value and gradients, of z, of weights and of what the decoder holds of each sample; statistics too."""
    for seed in range(BLOCK * block, BLOCK * (block + 1)):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            decoder, data, moved = _drawn(seed)
            fraction = _measured(decoder, data, moved, seed, short=True)
            every = _measured(decoder, data, moved, seed, short=False)
            with ROWS.off():
                plain = _measured(decoder, data, moved, seed, short=False)
        note = f"seed {seed}, {data} data, {moved} moved: {decoder.names}\n"
        for name, expected in plain.items():
            for got in (fraction[name], every[name]):
                torch.testing.assert_close(
                    got, expected, rtol=1e-8, atol=1e-9, msg=lambda text, n=note + name: n + text
                )


def _measured(decoder: Drawn, data: int, moved: int, seed: int, short: bool) -> dict[str, Any]:
    torch.manual_seed(seed)
    state = {name: value.clone() for name, value in decoder.state_dict().items()}
    z = torch.randn(data, LATENTS, requires_grad=True)
    x = torch.randn(data, *decoder.last)
    weights = torch.randn(data), torch.randn(x.shape)
    chosen = torch.randperm(data, generator=torch.Generator().manual_seed(seed))[:moved]
    estimator = Fraction(Exact(), moved / data) if short else Exact()
    eta, value = estimator.penalty(
        Linearised(decoder, z, x, Gaussian(0.5)), Full(), BETA, torch.Generator().manual_seed(seed)
    )
    if not short:
        value = Subsample(chosen, data).spread(value[chosen])
    loss = (weights[0] * value).sum() + (weights[1] * eta).sum()
    gradients = torch.autograd.grad(loss, (z, *decoder.parameters()), materialize_grads=True)
    buffers = [buffer.clone() for buffer in decoder.buffers()]
    decoder.load_state_dict(state)
    return {"eta": eta, "value": value, "gradients": gradients, "buffers": buffers}
