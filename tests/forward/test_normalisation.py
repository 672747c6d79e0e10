"""Normalisation of each sample by itself: PyTorch's values, and correct derivatives."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from curvae.curvature import FixedStatistics, jacobian, unchecked
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


BELOW = {
    "batch": (
        lambda h, w, b: torch.batch_norm(h, w, b, None, None, True, 0.1, 1e-5, False),
        lambda h, w, b: functional.batch_norm(h, None, None, w, b, True),
    ),
    "batch-aten": (
        lambda h, w, b: torch.ops.aten.batch_norm.default(h, w, b, None, None, True, 0.1, 1e-5, False),
        lambda h, w, b: functional.batch_norm(h, None, None, w, b, True),
    ),
    "batch-stored": (
        lambda h, w, b: torch.native_batch_norm(h, w, b, b, w, False, 0.1, 1e-5)[0],
        lambda h, w, b: functional.batch_norm(h, b, w, w, b, False),
    ),
    "instance": (
        lambda h, w, b: torch.instance_norm(h[:, None], None, None, None, None, True, 0.1, 1e-5, False)[:, 0],
        lambda h, w, b: functional.instance_norm(h[:, None])[:, 0],
    ),
    "layer": (
        lambda h, w, b: torch.native_layer_norm(h, [5], w, b, 1e-5)[0],
        lambda h, w, b: functional.layer_norm(h, (5,), w, b),
    ),
    "layer-aten": (
        lambda h, w, b: torch.ops.aten.layer_norm(h, [5], w, b),
        lambda h, w, b: functional.layer_norm(h, (5,), w, b),
    ),
    "named": (
        lambda h, w, b: functional.batch_norm(input=h, running_mean=None, running_var=None, weight=w, training=True),
        lambda h, w, b: functional.batch_norm(h, None, None, w, None, True),
    ),
}


@pytest.mark.parametrize("name", BELOW)
def test_operators_below_are_met(name: str, seed: int) -> None:
    """Jacobian, its gradients and the running statistics are those of the function in ``torch.nn.functional``."""
    below, above = BELOW[name]
    weight, bias, z = torch.rand(5) + 0.5, torch.rand(5), torch.randn(4, 5, requires_grad=True)
    found = []
    for norm in (below, above):
        columns = jacobian(lambda h, norm=norm: torch.tanh(norm(h.sin(), weight, bias)), z)
        found.append((columns, *torch.autograd.grad(columns.square().sum(), z)))
    torch.testing.assert_close(*found)


def test_running_statistics_of_operators_below_move_once(seed: int) -> None:
    mean, variance, z = torch.zeros(5), torch.ones(5), torch.randn(4, 5)
    expected = mean.clone(), variance.clone()
    jacobian(lambda h: torch.batch_norm(h, None, None, mean, variance, True, 0.1, 1e-5, False), z, chunk_size=2)
    functional.batch_norm(z, *expected, training=True)
    torch.testing.assert_close((mean, variance), expected)


@pytest.mark.parametrize(
    "norm",
    [
        lambda h: torch.native_batch_norm(h, None, None, None, None, True, 0.1, 1e-5)[0],
        lambda h: torch.ops.aten._native_batch_norm_legit.no_stats(h, None, None, True, 0.1, 1e-5)[0],
        lambda h: torch._batch_norm_impl_index(h, None, None, None, None, True, 0.1, 1e-5, False)[0],
    ],
)
def test_operators_without_a_counterpart_are_refused(norm: Callable[[Tensor], Tensor]) -> None:
    with unchecked(), pytest.raises(InputError, match=r"torch\.nn\.functional\.batch_norm"):
        jacobian(norm, torch.randn(4, 5))
