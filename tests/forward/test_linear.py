"""Tangents through linear layers: PyTorch's own values and gradients, at one application a tangent."""

from __future__ import annotations

from collections import Counter
from contextlib import nullcontext

import pytest
import torch
from torch import nn
from torch.func import jvp
from torch.nn import functional

from curvae import curvature
from curvae.forward.linear import LINEAR_IN_INPUT, LinearLayers
from curvae.forward.rows import ROWS

pytestmark = pytest.mark.usefixtures("float64")

CASES = {
    "linear": (functional.linear, (4, 5), (3, 5), {}),
    "conv1d": (functional.conv1d, (4, 5, 7), (3, 5, 2), {"stride": 2}),
    "conv2d": (functional.conv2d, (4, 6, 7, 7), (4, 3, 3, 3), {"padding": 1, "groups": 2}),
    "conv2d-same": (functional.conv2d, (4, 2, 7, 7), (3, 2, 4, 4), {"padding": "same"}),
    "conv3d": (functional.conv3d, (2, 2, 4, 4, 4), (3, 2, 2, 2, 2), {}),
    "conv_transpose1d": (functional.conv_transpose1d, (4, 5, 7), (5, 3, 4), {"stride": 2, "padding": 1}),
    "conv_transpose2d": (functional.conv_transpose2d, (4, 5, 3, 3), (5, 3, 4, 4), {"stride": 2, "output_padding": 1}),
    "conv_transpose3d": (functional.conv_transpose3d, (2, 2, 3, 3, 3), (2, 3, 2, 2, 2), {}),
}


def test_every_function_has_a_case():
    assert {case[0] for case in CASES.values()} == LINEAR_IN_INPUT


def products(layer, x, tangent, parameters, mode):
    def fn(point):
        with mode:
            return layer(point.sin()).cos()

    output, pushed = jvp(fn, (x,), (tangent,))
    gradients = torch.autograd.grad((output * pushed.exp()).sum(), [x, *parameters])
    return output, pushed, *gradients


@pytest.mark.parametrize("bias", ["positional", "keyword", "none"])
@pytest.mark.parametrize("name", CASES)
def test_equals_pytorchs_forward_mode_in_value_and_gradient(name, bias, seed):
    function, shape, kernel, options = CASES[name]
    x, tangent = torch.randn(shape, requires_grad=True), torch.randn(shape)
    weight = torch.randn(kernel, requires_grad=True)
    offset = None if bias == "none" else torch.randn(3 if name != "conv2d" else 4, requires_grad=True)

    def layer(point):
        if bias == "positional":
            return function(point, weight, offset, **options)
        return (
            function(point, weight, bias=offset, **options) if bias == "keyword" else function(point, weight, **options)
        )

    parameters = [weight] if offset is None else [weight, offset]
    ours = products(layer, x, tangent, parameters, LinearLayers())
    theirs = products(layer, x, tangent, parameters, nullcontext())
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b)


def test_a_weight_that_depends_on_the_latents_keeps_its_own_tangent(seed):
    """A hypernetwork's layer is not linear in z."""
    base, offset = torch.randn(3, 2), torch.randn(2)

    def decoder(z):
        return functional.linear(z, z.mean() * base, bias=z.sum() * torch.ones(3) + offset.sum())

    z = torch.randn(1, 2)
    expected = torch.func.jacrev(decoder)(z).squeeze(2)
    torch.testing.assert_close(curvature.jacobian(decoder, z), expected)


class CountConvolutions(torch.utils._python_dispatch.TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.calls[func.overloadpacket.__name__] += 1
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("rows", [True, False])
def test_one_column_costs_two_convolutions_a_layer(rows):
    """The primal's and the tangent's, forward and backward: a third would be of a zero. In rows, both are one."""
    decoder = nn.Sequential(nn.Unflatten(1, (2, 1, 1)), nn.ConvTranspose2d(2, 3, 4), nn.ELU(), nn.Conv2d(3, 1, 3))
    z = torch.randn(2, 2, requires_grad=True)
    with nullcontext() if rows else ROWS.off(), CountConvolutions() as counted:
        eta, pushed = curvature.pushforward(decoder, z, torch.randn(2, 2, 1))
        (eta.sum() + pushed.square().sum()).backward()
    assert counted.calls["convolution"] == (2 if rows else 4)
    assert counted.calls["convolution_backward"] == (2 if rows else 4)
