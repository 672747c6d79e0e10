"""Padding: against explicit zeros, and one convolution as the other's adjoint."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import conv2d

from curvae.nn import SameConv2d, SameConvTranspose2d

kernels = st.integers(1, 6)
strides = st.integers(1, 4)
sizes = st.integers(1, 9)


@given(kernels, strides, st.sampled_from([1, 3]), sizes, sizes, st.integers(0, 1000))
def test_same_convolution_is_one_on_an_explicitly_padded_image(
    kernel: int, stride: int, channels: int, height: int, width: int, seed: int
) -> None:
    torch.manual_seed(seed)
    layer = SameConv2d(2, channels, kernel, stride).double()
    x = torch.randn(2, 2, height, width, dtype=torch.float64)
    out = math.ceil(height / stride), math.ceil(width / stride)
    before = [max((o - 1) * stride + kernel - n, 0) // 2 for o, n in zip(out, (height, width), strict=True)]
    canvas = torch.zeros(2, 2, height + 2 * kernel, width + 2 * kernel, dtype=torch.float64)
    canvas[..., before[0] : before[0] + height, before[1] : before[1] + width] = x
    expected = conv2d(canvas, layer.weight, layer.bias, stride)[..., : out[0], : out[1]]
    torch.testing.assert_close(layer(x), expected)
    weight, wrt = torch.randn_like(expected), list(layer.parameters())
    torch.testing.assert_close(
        torch.autograd.grad((layer(x) * weight).sum(), wrt), torch.autograd.grad((expected * weight).sum(), wrt)
    )


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(("kernel", "size"), [(3, 8), (4, 7), (4, 28), (5, 16)])
def test_same_convolution_agrees_with_pytorch_where_it_can(kernel: int, size: int, stride: int) -> None:
    x = torch.randn(2, 2, size, size, dtype=torch.float64)
    ours = SameConv2d(2, 3, kernel, stride).double()
    if stride == 1:
        torch.testing.assert_close(ours(x), conv2d(x, ours.weight, ours.bias, padding="same"))
    assert ours(x).shape == (2, 3, -(-size // stride), -(-size // stride))


@given(kernels, strides, sizes, sizes, st.integers(0, 1000))
def test_transposed_is_the_adjoint(kernel: int, stride: int, height: int, width: int, seed: int) -> None:
    """⟨conv x, y⟩ = ⟨x, convᵀ y⟩ for images whose sides are multiples of the stride."""
    torch.manual_seed(seed)
    down = SameConv2d(2, 3, kernel, stride).double()
    up = SameConvTranspose2d(3, 2, kernel, stride).double()
    with torch.no_grad():
        up.weight.copy_(down.weight)
        down.bias.zero_()
        up.bias.zero_()
        x = torch.randn(2, 2, height * stride, width * stride, dtype=torch.float64)
        y = torch.randn(2, 3, height, width, dtype=torch.float64)
        assert up(y).shape == x.shape
        torch.testing.assert_close((down(x) * y).sum(), (x * up(y)).sum())
