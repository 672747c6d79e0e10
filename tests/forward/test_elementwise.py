"""Tangents through activations: PyTorch's own values and gradients, with one slope for all of them."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from torch import nn
from torch.func import jacfwd, vmap
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from curvae import curvature
from curvae.forward.elementwise import ELEMENTWISE

pytestmark = pytest.mark.usefixtures("float64")

OPTIONS = {
    functional.elu: {"alpha": 0.7},
    functional.leaky_relu: {"negative_slope": 0.3},
    functional.celu: {"alpha": 2},
}


@pytest.mark.parametrize("function", sorted(ELEMENTWISE, key=str), ids=lambda f: f"{f.__name__}-{type(f).__name__}")
def test_equals_pytorchs_forward_mode_in_value_and_gradient(function, seed):
    weight = torch.randn(5, 3, requires_grad=True)
    z = torch.randn(4, 3, requires_grad=True)

    def decoder(point):
        return function(point @ weight.T, **OPTIONS.get(function, {})).sin()

    ours = curvature.jacobian(decoder, z)
    theirs = vmap(jacfwd(lambda point: decoder(point[None])[0]))(z)
    torch.testing.assert_close(ours, theirs)
    direction = torch.randn_like(ours)
    gradients = [torch.autograd.grad((direction * j.square()).sum(), [z, weight]) for j in (ours, theirs)]
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("inplace", [False, True])
def test_the_slope_is_computed_once(inplace, seed):
    decoder = nn.Sequential(nn.Linear(3, 6), nn.ELU(inplace=inplace), nn.Linear(6, 4))
    z = torch.randn(2, 3)

    seen: Counter[int] = Counter()

    class Counted(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            if func.overloadpacket is torch.ops.aten.elu_backward:
                seen[args[0].numel()] += 1
            return func(*args, **(kwargs or {}))

    with Counted(), torch.no_grad():
        ours = curvature.jacobian(decoder, z)
    slopes = 3 * 2 * 6 if inplace else 2 * 6  # in place it is PyTorch's rule, for each tangent
    assert seen == {slopes: 1}
    torch.testing.assert_close(ours, vmap(jacfwd(lambda point: decoder(point[None])[0]))(z))


def test_a_learned_slope_that_depends_on_the_latents(seed):
    """More than one tensor: not of this kind."""

    def decoder(z):
        return functional.prelu(z.repeat(1, 2), z.mean().square()[None]) * functional.relu(z.repeat(1, 2))

    z = torch.randn(1, 3)
    torch.testing.assert_close(curvature.jacobian(decoder, z), torch.func.jacrev(decoder)(z).squeeze(2))
