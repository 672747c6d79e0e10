"""Normalised rows against the statistics written out; values, gradients, gradients of gradients."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm

from curvae.cpu.batch_norm import normalise
from curvae.curvature import pushforward

pytestmark = pytest.mark.usefixtures("float64")

DATA, TANGENTS, CHANNELS, EPS = 5, 3, 4, 0.01
SHAPES = {"dense": (), "sequence": (3,), "image": (3, 2), "volume": (2, 2, 3)}


def _inputs(shape: tuple[int, ...], affine: bool) -> tuple[Tensor, Tensor | None, Tensor | None]:
    rows = torch.randn(DATA + TANGENTS, CHANNELS, *shape) * 2 + 1
    vectors = (torch.randn(CHANNELS), torch.randn(CHANNELS)) if affine else (None, None)
    return rows.requires_grad_(), *(None if v is None else v.requires_grad_() for v in vectors)


def _written_out(rows: Tensor, weight: Tensor | None, bias: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    flat = rows[:DATA].transpose(0, 1).flatten(1)
    mean = flat.sum(1) / flat.shape[1]
    variance = (flat - mean[:, None]).square().sum(1) / flat.shape[1]
    w, b = (torch.ones(CHANNELS), torch.zeros(CHANNELS)) if weight is None or bias is None else (weight, bias)
    channels = rows.transpose(1, -1)
    normalised = [
        ((sample - mean) if row < DATA else sample) / (variance + EPS).sqrt() * w + (b if row < DATA else 0.0)
        for row, sample in enumerate(channels)
    ]
    return torch.stack(normalised).transpose(1, -1), mean, variance


@pytest.mark.parametrize("affine", [True, False], ids=["affine", "plain"])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
def test_is_the_formula(shape: tuple[int, ...], affine: bool, seed: int) -> None:
    inputs = _inputs(shape, affine)
    got, expected = normalise(*inputs, data=DATA, eps=EPS), _written_out(*inputs)
    torch.testing.assert_close(got, expected)
    torch.testing.assert_close(got[0][:DATA], batch_norm(inputs[0][:DATA], None, None, *inputs[1:], True, 0.1, EPS))
    wrt = [tensor for tensor in inputs if tensor is not None]
    weights = [torch.randn_like(output) for output in expected]
    once = [
        torch.autograd.grad(sum((w * o.square()).sum() for w, o in zip(weights, outputs, strict=True)), wrt)
        for outputs in (got, expected)
    ]
    torch.testing.assert_close(*once)


@pytest.mark.parametrize("affine", [True, False], ids=["affine", "plain"])
def test_can_be_differentiated_twice(affine: bool, seed: int) -> None:
    inputs = _inputs((2,), affine)
    assert torch.autograd.gradcheck(lambda *given: normalise(*given, DATA, EPS), inputs)
    assert torch.autograd.gradgradcheck(lambda *given: normalise(*given, DATA, EPS), inputs)


@pytest.mark.parametrize("frozen", ["rows", "weight", "bias"])
def test_what_needs_no_gradient_gets_none(frozen: str, seed: int) -> None:
    """A gradient of the others is the same, also where it is to be differentiated again."""
    inputs = dict(zip(("rows", "weight", "bias"), _inputs((2,), True), strict=True))
    asked = [name for name in inputs if name != frozen]

    def gradients(create_graph: bool, given: dict[str, Tensor]) -> tuple[Tensor, ...]:
        output = normalise(*given.values(), DATA, EPS)[0]
        return torch.autograd.grad(output.pow(3).sum(), [given[name] for name in asked], create_graph=create_graph)

    expected = gradients(False, inputs)
    fixed = inputs | {frozen: inputs[frozen].detach()}
    torch.testing.assert_close(gradients(False, fixed), expected)
    torch.testing.assert_close(gradients(True, fixed), expected)


def test_statistics_alone_have_gradients(seed: int) -> None:
    inputs = _inputs((3,), True)
    for place in (1, 2):
        got, expected = (of(*inputs)[place].sin().sum() for of in (lambda *x: normalise(*x, DATA, EPS), _written_out))
        torch.testing.assert_close(*(torch.autograd.grad(of, inputs[0])[0] for of in (got, expected)))


def test_takes_any_layout_of_memory(seed: int) -> None:
    rows, weight, bias = _inputs((3, 2), True)
    expected, weights = normalise(rows, weight, bias, DATA, EPS), torch.randn_like(rows)

    def gradients(output: Tensor, of: Tensor) -> list[Tensor]:
        losses = (output * weights).sum(), output.sum()  # the gradient of the second is an expanded one
        return [torch.autograd.grad(loss, of, retain_graph=True)[0] for loss in losses]

    wanted = gradients(expected[0], rows)
    padded = torch.nn.functional.pad(rows.detach(), (1, 1))[..., 1:-1]  # with gaps
    turned = rows.detach().permute(3, 0, 2, 1).contiguous().permute(1, 3, 2, 0)
    for of in (padded, turned, rows.detach().contiguous(memory_format=torch.channels_last)):
        of.requires_grad_()
        got = normalise(of, weight, bias, DATA, EPS)
        torch.testing.assert_close(got, expected)
        torch.testing.assert_close(gradients(got[0], of), wanted)
        assert torch.autograd.gradgradcheck(lambda *given: normalise(*given, DATA, EPS), (of, weight, bias))


class _Twice(nn.Module):
    """One layer used twice: rows depend on the very weight that they meet again."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Linear(2, 3), nn.BatchNorm1d(3, track_running_stats=False)
        nn.init.normal_(self.norm.weight)

    def forward(self, z: Tensor) -> Tensor:
        return self.norm(torch.tanh(self.norm(self.first(z))))


def _nll(decoder: nn.Module, z: Tensor, tangents: Tensor) -> Tensor:
    eta, pushed = pushforward(decoder, z, tangents)
    return pushed[:3].square().sum() + eta.pow(3).sum()


def test_second_derivatives_of_a_layer_used_twice(seed: int) -> None:
    """Against the pass with tangents of zero for the other data, which is PyTorch's forward mode."""
    decoder, z = _Twice(), torch.randn(DATA, 2, requires_grad=True)
    some = torch.randn(3, 2, 1)
    wrt, found = [z, *decoder.parameters()], []
    for tangents in (some, torch.cat([some, torch.zeros(2, 2, 1)])):
        first = torch.autograd.grad(_nll(decoder, z, tangents), wrt, create_graph=True)
        second = torch.autograd.grad(sum(g.square().sum() for g in first), wrt)
        found.append((first, second))
    torch.testing.assert_close(*found)


def test_inside_transforms_of_functions(seed: int) -> None:
    decoder, z, some = _Twice(), torch.randn(DATA, 2), torch.randn(3, 2, 1)

    def nll(point: Tensor) -> Tensor:
        return _nll(decoder, point, some)

    expected = torch.autograd.functional.hessian(nll, z)
    torch.testing.assert_close(torch.func.hessian(nll)(z), expected)
    batch = torch.stack([z, 2 * z])
    torch.testing.assert_close(torch.vmap(nll)(batch), torch.stack([nll(z), nll(2 * z)]))
    torch.testing.assert_close(torch.autograd.functional.hessian(nll, z, vectorize=True), expected)


def test_weights_in_half_precision(seed: int) -> None:
    decoder = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)).bfloat16()
    z, tangents = torch.randn(DATA, 2).bfloat16(), torch.randn(3, 2, 1).bfloat16()
    eta, pushed = pushforward(decoder, z, tangents)
    expected = pushforward(decoder, z, torch.cat([tangents, torch.zeros(2, 2, 1).bfloat16()]))
    near = {"atol": 0.05, "rtol": 0.05}  # eight bits, rounded in another order
    torch.testing.assert_close(eta, expected[0], **near)
    torch.testing.assert_close(pushed, expected[1][:3], **near)
