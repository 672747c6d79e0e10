"""Rows through one layer at a time, against Jacobians in reverse mode, value by value; derivatives of both orders."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.func import jacrev
from torch.multiprocessing.reductions import StorageWeakRef
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from curvae.cpu.weight_gradients import MatrixWeightGradients
from curvae.forward.pushforward import pushforward
from curvae.forward.row_attention import fused_attention
from curvae.forward.row_rules import CannotFollow
from curvae.forward.rows import push_rows
from curvae.forward.statistics import FixedStatistics

pytestmark = pytest.mark.usefixtures("float64")

BATCH = 3
MASK = torch.tensor([[True, False, True], [True, True, False], [False, False, True]])
EACH, MORE = torch.linspace(1.0, 2.0, BATCH).view(BATCH, 1), torch.linspace(-1.0, 1.0, 8).view(2, 4)
Layer = Callable[[Tensor], Tensor]


def _attend(**options: object) -> Layer:
    return lambda x: functional.scaled_dot_product_attention(x, x.tanh(), x.sin(), **options)


class Heads(nn.Module):
    """Attention of a sequence to another one, or to itself."""

    def __init__(self, other: bool, bias: bool) -> None:
        super().__init__()
        self.other, self.layer = other, nn.MultiheadAttention(4, 2, bias=bias, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        seen = x.tanh() if self.other else x
        return self.layer(x, seen, seen, need_weights=False)[0]


class Biased(nn.Module):
    """Attention with what it adds to its scores learned, or given."""

    def __init__(self, learned: bool) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(3, 3), requires_grad=learned)

    def forward(self, x: Tensor) -> Tensor:
        heads = x.unflatten(-1, (2, 2)).transpose(1, 2)
        return functional.scaled_dot_product_attention(heads, heads.tanh(), heads.sin(), attn_mask=self.bias)


LAYERS: dict[str, tuple[Callable[[], Layer], tuple[int, ...]]] = {
    "group norm": (lambda: nn.GroupNorm(2, 4), (4, 3, 2)),
    "group norm, no pixels": (lambda: nn.GroupNorm(2, 4), (4,)),
    "group norm, not scaled": (lambda: nn.GroupNorm(2, 4, affine=False), (4, 3)),
    "group norm, one value each": (lambda: nn.Sequential(nn.GroupNorm(4, 4), nn.Linear(4, 2)), (4,)),
    "layer norm": (lambda: nn.LayerNorm(4, eps=0.1), (3, 4)),
    "layer norm, two axes": (lambda: nn.LayerNorm((3, 4)), (3, 4)),
    "layer norm, no bias": (lambda: nn.LayerNorm(4, bias=False), (4,)),
    "layer norm, another layout": (lambda: lambda x: functional.layer_norm(x.mT, (3,), eps=0.1), (3, 4)),
    "instance norm": (lambda: nn.InstanceNorm2d(2, affine=True), (2, 3, 2)),
    "RMS norm": (lambda: nn.RMSNorm(4), (3, 4)),
    "RMS norm, two axes": (lambda: nn.RMSNorm((3, 4), eps=0.1), (3, 4)),
    **{
        str(layer): (lambda layer=layer: layer, (5,))
        for layer in (
            *(
                nn.SiLU(),
                nn.GELU(),
                nn.GELU("tanh"),
                nn.ELU(0.7),
                nn.LeakyReLU(0.2),
                nn.ReLU(),
                nn.Tanh(),
                nn.Sigmoid(),
            ),
            *(nn.ELU(-0.5), nn.Softmax(1), nn.LogSoftmax(-1)),
        )
    },
    "convolution": (lambda: nn.Conv2d(2, 3, 3, padding=1), (2, 3, 2)),
    "sum": (lambda: lambda x: torch.sub(x, x.tanh(), alpha=2), (5,)),
    "plus one for each": (lambda: lambda x: EACH - x, (5,)),
    "times one for each": (lambda: lambda x: EACH * x / (EACH + 1), (5,)),
    "sum with a vector, and the rows again": (lambda: lambda x: (x + MORE[0]) * x + EACH, (4,)),
    "sum that grows": (lambda: lambda x: MORE - x[:, None], (4,)),
    "product that grows": (lambda: lambda x: x[:, None] * MORE, (4,)),
    "product": (lambda: lambda x: x * x.tanh() * x, (5,)),
    "quotient": (lambda: lambda x: 1 / (x.square() + 1) + x / (2 + x**2), (5,)),
    "attention": (lambda: _attend(), (3, 4)),
    "attention to the past": (lambda: _attend(is_causal=True), (3, 4)),
    "attention, masked": (lambda: _attend(attn_mask=MASK, scale=0.3), (3, 4)),
    "attention, moved": (lambda: _attend(attn_mask=MASK.double()), (3, 4)),
    "heads": (lambda: Heads(other=False, bias=True), (3, 4)),
    "heads, elsewhere": (lambda: Heads(other=True, bias=False), (3, 4)),
    "heads, a bias": (lambda: Biased(learned=False), (3, 4)),
    "heads, a bias that learns": (lambda: Biased(learned=True), (3, 4)),
    "matrices": (lambda: lambda x: torch.bmm(x, x.mT) @ x.tanh(), (3, 4)),
}


def _naive(layer: Layer, z: Tensor, tangents: Tensor, chosen: list[int]) -> tuple[Tensor, Tensor]:
    """Whole Jacobians of the whole batch, of which each sample's own block counts."""
    pushed = []
    for i in chosen:
        jacobian = jacrev(lambda point, i=i: layer(z.index_copy(0, torch.tensor([i]), point[None]))[i])(z[i])
        along = tangents[:, chosen.index(i)]
        pushed.append((jacobian.flatten(-z[i].dim()) @ along.flatten(1).mT).movedim(-1, 0))
    return layer(z), torch.stack(pushed, 1)


@pytest.mark.parametrize(("chosen", "directions"), [(None, 1), ([2, 0], 1), ([1], 3)])
@pytest.mark.parametrize("name", LAYERS)
def test_value_gradient_and_second_derivative(name: str, chosen: list[int] | None, directions: int, seed: int) -> None:
    make, shape = LAYERS[name]
    layer = make()
    weights = list(layer.parameters()) if isinstance(layer, nn.Module) else []
    for weight in weights:
        nn.init.normal_(weight)
    weights = [weight for weight in weights if weight.requires_grad]
    places = list(range(BATCH)) if chosen is None else chosen
    z = torch.randn(BATCH, *shape, requires_grad=True)
    tangents = torch.randn(directions, len(places), *shape, requires_grad=True)
    at = None if chosen is None else torch.tensor(chosen)
    got = push_rows(layer, z, tangents, at, FixedStatistics())
    torch.testing.assert_close(got[0], layer(z))
    # PyTorch's own third derivative of a layer normalisation is wrong; the mode spells it out
    with FixedStatistics(), sdpa_kernel(SDPBackend.MATH):
        expected = _naive(layer, z, tangents, places)
    torch.testing.assert_close(got, expected)
    leaves, mixed = [z, tangents, *weights], [torch.randn(part.shape) for part in got]

    def gradients(parts: tuple[Tensor, Tensor], create: bool) -> tuple[Tensor, ...]:
        loss = (parts[0].sin() * mixed[0]).sum() + (parts[1].square() * mixed[1]).sum()
        return torch.autograd.grad(loss, leaves, create_graph=create, retain_graph=True, materialize_grads=True)

    first = gradients(expected, create=True)
    torch.testing.assert_close(gradients(got, create=False), first)
    again = gradients(got, create=True)
    torch.testing.assert_close(again, first)
    along = [torch.randn(part.shape) for part in first]
    second = [
        torch.autograd.grad(
            sum((a * b).sum() for a, b in zip(parts, along, strict=True)), leaves, materialize_grads=True
        )
        for parts in (again, first)
    ]
    torch.testing.assert_close(*second)


@pytest.mark.parametrize("chosen", [None, [1]])
def test_attention_that_sees_nothing_gives_nothing_and_no_nan(chosen: list[int] | None) -> None:
    z, mask = torch.randn(2, 1, 3, 4, requires_grad=True), torch.eye(3, dtype=torch.bool)
    mask[1] = False
    tangents = torch.randn(1, 2 if chosen is None else 1, 1, 3, 4)
    at = None if chosen is None else torch.tensor(chosen)
    eta, pushed = push_rows(_attend(attn_mask=mask), z, tangents, at, FixedStatistics())
    (gradient,) = torch.autograd.grad(eta.square().sum() + pushed.square().sum(), z)
    assert eta[:, :, 1].abs().max() == pushed[..., 1, :].abs().max() == 0
    assert gradient.isfinite().all()


def test_samples_without_tangents_have_the_fused_kernel_and_its_gradients_come_many_at_once(seed: int) -> None:
    z, at = torch.randn(BATCH, 2, 3, 4, requires_grad=True), torch.tensor([1])
    with _Calls() as calls:
        eta, pushed = push_rows(_attend(), z, torch.randn(1, 1, 2, 3, 4), at, FixedStatistics())
    assert sum("flash_attention" in call for call in calls.names) == 1
    of_eta, of_pushed = (torch.randn(5, *part.shape) for part in (eta, pushed))
    together = torch.autograd.grad([eta, pushed], z, [of_eta, of_pushed], is_grads_batched=True, retain_graph=True)[0]
    for one, *given in zip(together, of_eta, of_pushed, strict=True):
        torch.testing.assert_close(torch.autograd.grad([eta, pushed], z, given, retain_graph=True)[0], one)


def test_attention_lets_go_of_what_it_kept_after_the_backward_pass() -> None:
    """Or each step of a training would hold what the last one did, whose loss has a name still."""
    z = torch.randn(2, 1, 3, 4, requires_grad=True)
    query = 2 * z
    kept = StorageWeakRef(query.untyped_storage())
    loss = fused_attention(query, query, query, None, 1.0).sum()
    del query
    loss.backward()
    assert kept.expired()


class _Calls(TorchDispatchMode):
    """Which of PyTorch's kernels are called."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Callable, types: object, args: tuple = (), kwargs: dict | None = None) -> object:
        self.names.append(str(func))
        return func(*args, **(kwargs or {}))


def test_what_was_drawn_before_rows_gave_up_is_drawn_again(seed: int) -> None:
    def decoder(z: Tensor) -> Tensor:
        return functional.softmin(z + torch.randn(z.shape), 1)

    z, unit = torch.randn(BATCH, 2), torch.ones(BATCH, 2, 1)
    with pytest.raises(CannotFollow):
        push_rows(decoder, z, unit.movedim(-1, 0), None, FixedStatistics())
    torch.manual_seed(3)
    eta = pushforward(decoder, z, unit)[0]
    torch.manual_seed(3)
    torch.testing.assert_close(eta, decoder(z))


class _Halved(TorchFunctionMode):
    """A caller's mode, which sees to it that half of everything is bent."""

    def __torch_function__(self, func: Callable, types: object, args: tuple = (), kwargs: dict | None = None) -> object:
        if func is functional.elu:
            args = (args[0] * 0.5, *args[1:])
        return func(*args, **(kwargs or {}))


def test_a_mode_of_the_caller_sees_what_is_done_to_rows(seed: int) -> None:
    first, z, tangents = nn.Linear(2, 3), torch.randn(BATCH, 2), torch.randn(1, BATCH, 2)
    expected = push_rows(lambda z: functional.elu(0.5 * first(z)), z, tangents, None, FixedStatistics())
    with _Halved(), MatrixWeightGradients():
        got = push_rows(lambda z: functional.elu(first(z)), z, tangents, None, FixedStatistics())
    torch.testing.assert_close(got, expected)


def test_a_decoder_that_rows_cannot_follow_is_tried_once() -> None:
    calls: list[int] = []

    def decoder(z: Tensor) -> Tensor:
        calls.append(len(z))
        return functional.softmin(z, 1)

    z, unit = torch.randn(BATCH, 2), torch.ones(BATCH, 2, 1)
    pushforward(decoder, z, unit)
    before = len(calls)
    pushforward(decoder, z, unit)
    assert len(calls) == before + 1
