"""Normalised rows against the statistics written out; values, gradients, gradients of gradients."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import batch_norm

from curvae.curvature.batch_norm import normalise

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
        ((datum - mean) if row < DATA else datum) / (variance + EPS).sqrt() * w + (b if row < DATA else 0.0)
        for row, datum in enumerate(channels)
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


def test_takes_any_layout_of_memory(seed: int) -> None:
    rows, weight, bias = _inputs((3, 2), True)
    last = rows.detach().contiguous(memory_format=torch.channels_last).requires_grad_()
    for of in (rows, last):
        normalise(of, weight, bias, DATA, EPS)[0].sum().backward()  # an expanded gradient
    torch.testing.assert_close(rows.grad, last.grad)
