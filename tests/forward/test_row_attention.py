"""Rows through what transformers and latent-diffusion decoders are made of, against the plain pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from curvae.forward.first_use import unchecked
from curvae.forward.pushforward import pushforward
from curvae.forward.row_rules import CannotFollow
from curvae.forward.rows import ROWS, push_rows
from curvae.forward.statistics import FixedStatistics

pytestmark = pytest.mark.usefixtures("float64")

BATCH, CHOSEN, DIRECTIONS, WIDTH = 4, [2, 0], 2, 4


class ImageAttention(nn.Module):
    """Self-attention over the pixels of a map, in the order of calls of latent-diffusion autoencoders."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(2, WIDTH)
        self.qkv = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(3))
        self.out = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Dropout(0.0))

    def forward(self, x: Tensor) -> Tensor:
        b, c, h, w = x.shape
        tokens = x.view(b, c, h * w).transpose(1, 2)
        tokens = self.norm(tokens.transpose(1, 2)).transpose(1, 2)
        q, k, v = (layer(tokens).view(b, -1, 2, c // 2).transpose(1, 2) for layer in self.qkv)
        y = functional.scaled_dot_product_attention(q, k, v, attn_mask=None, dropout_p=0.0, is_causal=False)
        y = self.out(y.transpose(1, 2).reshape(b, -1, c)).transpose(-1, -2).reshape(b, c, h, w)
        return (x + y) / 1.5


class Residual(nn.Module):
    """Normalised, activated and convolved twice, and upsampled."""

    def __init__(self) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.GroupNorm(2, WIDTH) for _ in range(2))
        self.layers = nn.ModuleList(nn.Conv2d(WIDTH, WIDTH, 3, padding=1) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        h = x
        for norm, layer in zip(self.norms, self.layers, strict=True):
            h = layer(functional.dropout(functional.silu(norm(h)), 0.0, self.training))
        return functional.interpolate(x + h, scale_factor=2.0, mode="nearest")


class Written(nn.Module):
    """Attention with products and a softmax, the three parts of one projection taken apart in another order of axes."""

    def __init__(self, parts: str) -> None:
        super().__init__()
        self.parts, self.qkv, self.out = parts, nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        b, n, c = x.shape
        if self.parts == "unbind":
            q, k, v = self.qkv(x).reshape(b, n, 3, 2, c // 2).permute(2, 0, 3, 1, 4).unbind(0)
        elif self.parts == "index":
            qkv = self.qkv(x).reshape(b, n, 3, 2, c // 2).permute(2, 0, 3, 1, 4)
            q, k, v = qkv[0], qkv[1], qkv[2]
        else:
            q, k, v = (t.reshape(b, n, 2, c // 2).transpose(1, 2) for t in self.qkv(x).chunk(3, dim=-1))
        a = ((q * 0.7) @ k.transpose(-2, -1)).softmax(dim=-1)
        return self.out((a @ v).transpose(1, 2).reshape(b, n, c))


class Module(nn.Module):
    """PyTorch's own layer."""

    def __init__(self, batch_first: bool) -> None:
        super().__init__()
        self.batch_first = batch_first
        self.layer = nn.MultiheadAttention(WIDTH, 2, batch_first=batch_first)

    def forward(self, x: Tensor) -> Tensor:
        x = x if self.batch_first else x.transpose(0, 1)
        y = self.layer(x, x, x, need_weights=False)[0]
        return y if self.batch_first else y.transpose(0, 1)


class Block(nn.Module):
    """A transformer's block."""

    def __init__(self, attention: nn.Module) -> None:
        super().__init__()
        self.first, self.second, self.attention = nn.LayerNorm(WIDTH), nn.RMSNorm(WIDTH), attention
        self.up, self.place = nn.Linear(WIDTH, 5), nn.Parameter(torch.randn(1, 3, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.place
        x = x + self.attention(self.first(x))
        hidden = functional.gelu(self.up(self.second(x)))
        return x + functional.linear(hidden, self.up.weight.T)  # tied


MAPS: dict[str, Callable[[], nn.Module]] = {
    "residual": Residual,
    "image attention": lambda: nn.Sequential(ImageAttention(), Residual()),
}
TOKENS: dict[str, Callable[[], nn.Module]] = {
    "unbind": lambda: Block(Written("unbind")),
    "index": lambda: Block(Written("index")),
    "chunk": lambda: Block(Written("chunk")),
    "module": lambda: Block(Module(batch_first=True)),
    "module, tokens first": lambda: Block(Module(batch_first=False)),
}


@pytest.mark.parametrize("name", [*MAPS, *TOKENS])
def test_equals_the_plain_pass_in_value_and_gradient(name: str, seed: int) -> None:
    shape = (WIDTH, 2, 3) if name in MAPS else (3, WIDTH)
    decoder = (MAPS | TOKENS)[name]().train()
    z = torch.randn(BATCH, *shape, requires_grad=True)
    tangents, chosen = torch.randn(DIRECTIONS, 2, *shape), torch.tensor(CHOSEN)
    rows = push_rows(decoder, z, tangents, chosen, FixedStatistics())
    whole = torch.zeros(BATCH, *shape, DIRECTIONS)
    whole[chosen] = tangents.movedim(0, -1)
    with unchecked(), ROWS.off():
        eta, pushed = pushforward(decoder, z, whole)
    plain = eta, pushed[chosen].movedim(-1, 0)
    leaves = [z, *decoder.parameters()]
    weights = [torch.randn_like(value) for value in plain]
    for got, expected in zip(rows, plain, strict=True):
        torch.testing.assert_close(got, expected)
    gradients = [torch.autograd.grad([v.square() for v in values], leaves, weights) for values in (rows, plain)]
    torch.testing.assert_close(*gradients)


def _attend(**options: Any) -> Callable[[Tensor], Tensor]:
    return lambda z: functional.scaled_dot_product_attention(z, z, z, **options)


@pytest.mark.parametrize(
    "fn",
    [
        _attend(dropout_p=0.5),
        _attend(attn_mask=torch.zeros(BATCH, 3, 3)),  # one for each sample
        lambda z: functional.softmax(z, 0),
        lambda z: z.transpose(0, 1).softmax(1).transpose(0, 1),
        lambda z: z.transpose(0, 1) + 1,
        lambda z: torch.bmm(z.transpose(0, 1), z.transpose(0, 1).transpose(1, 2)).sum(1),
        lambda z: z.transpose(0, 1).unbind(1)[0],
        lambda z: z.chunk(2)[0],
    ],
)
def test_what_mixes_samples_or_cannot_be_told_is_left_to_the_plain_pass(fn: Callable[[Tensor], Tensor]) -> None:
    z = torch.randn(BATCH, 3, WIDTH)
    with pytest.raises(CannotFollow):
        push_rows(fn, z, torch.randn(1, 2, 3, WIDTH), torch.tensor(CHOSEN), FixedStatistics())
