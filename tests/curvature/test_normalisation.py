"""Normalisation of each datum by itself: PyTorch's values, and correct derivatives."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from curvae.curvature import FixedStatistics, jacobian
from curvae.errors import InputError

pytestmark = pytest.mark.usefixtures("float64")


def _randomised(module: nn.Module) -> nn.Module:
    for tensor in (*module.parameters(), *(b for b in module.buffers() if b.is_floating_point())):
        tensor.data = torch.rand_like(tensor) + 0.5
    return module


CASES = {
    "layer": lambda: (nn.LayerNorm(4, eps=0.1), (3, 2, 4)),
    "layer-all": lambda: (nn.LayerNorm((3, 2, 4)), (3, 2, 4)),
    "layer-plain": lambda: (nn.LayerNorm((2, 4), elementwise_affine=False), (3, 2, 4)),
    "layer-no-bias": lambda: (nn.LayerNorm(4, bias=False), (4,)),
    "group": lambda: (nn.GroupNorm(2, 6, eps=0.1), (6, 2, 4)),
    "group-vector": lambda: (nn.GroupNorm(3, 6, affine=False), (6,)),
    "instance": lambda: (nn.InstanceNorm2d(3, affine=True, eps=0.1), (3, 2, 4)),
    "instance-plain": lambda: (nn.InstanceNorm1d(3), (3, 5)),
    "instance-running": lambda: (nn.InstanceNorm1d(3, affine=True, track_running_stats=True).eval(), (3, 5)),
}


@pytest.mark.parametrize("name", CASES)
def test_values_are_pytorchs(name: str, seed: int) -> None:
    module, shape = CASES[name]()
    _randomised(module)
    x = torch.randn(4, *shape)
    expected = module(x)
    with FixedStatistics():
        got = module(x)
        half = module.float()(x.float().bfloat16())
    torch.testing.assert_close(got, expected)
    assert half.dtype == torch.float32


def test_functions_are_replaced_as_well_as_modules(seed: int) -> None:
    """Second derivatives through PyTorch's own layer_norm are wrong; its positional form is reached too."""
    weight, bias, z = torch.randn(5), torch.randn(5), torch.randn(2, 5, requires_grad=True)

    def plain(h: Tensor) -> Tensor:
        mean, variance = h.mean(1, keepdim=True), h.var(1, keepdim=True, unbiased=False)
        return (h - mean) / (variance + 1e-5).sqrt() * weight + bias

    (expected,) = torch.autograd.grad(jacobian(plain, z).square().sum(), z)
    for fn in (
        lambda h: functional.layer_norm(h, (5,), weight, bias, 1e-5),
        lambda h: torch.layer_norm(h, (5,), weight, bias, 1e-5, False),
        lambda h: functional.group_norm(h, 1, weight, bias),
        lambda h: torch.group_norm(h, 1, weight, bias, 1e-5, False),
    ):
        (got,) = torch.autograd.grad(jacobian(fn, z).square().sum(), z)
        torch.testing.assert_close(got, expected)


def test_instance_statistics_that_move_are_refused() -> None:
    norm = nn.InstanceNorm1d(3, track_running_stats=True)
    decoder = nn.Sequential(nn.Linear(2, 12), nn.Unflatten(1, (3, 4)), norm)
    with pytest.raises(InputError, match="track_running_stats=False or put it into eval mode"):
        jacobian(decoder, torch.randn(4, 2))
