"""Elementwise layers for rows; common ones with a backward pass of their own, of a few of PyTorch's fused kernels."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import torch
from torch.func import jvp
from torch.nn import functional

from curvae._again import goes_again, gradients_again
from curvae._transforms import in_transform
from curvae._typing import Float, Tensor
from curvae.forward.arrangement import Arrangement

Function = Callable[[Tensor], Tensor]
_aten = torch.ops.aten


class Kernels(NamedTuple):
    r"""A function of each element and its derivatives, as PyTorch has them.

    Attributes:
        value: $f(x)$, into ``out=``.
        push: $(t, x)\mapsto f'(x)\,t$, into ``grad_input=``.
        bend: $(t, u, f'(x)\,u, x)\mapsto f''(x)\,t\,u$; ``None`` where it is 0.
        of_output: whether the last two are functions of $f(x)$ instead of x.
    """

    value: Callable[..., Tensor]
    push: Callable[..., Tensor]
    bend: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor] | None
    of_output: bool


def elementwise(
    rows: Float[Tensor, "R *S"], arrangement: Arrangement, function: Function, kernels: Kernels | None
) -> Float[Tensor, "R *S"]:
    r"""$f(x)$ of primals, $f'(x)\,t$ of tangents, with one slope for all tangents."""
    # functorch's own transforms cannot see into a function with a backward pass of its own
    if kernels is None or in_transform():
        return _plain(rows, arrangement, function)
    return _Elementwise.apply(rows, arrangement, function, kernels)  # type: ignore[no-untyped-call]


def _plain(rows: Float[Tensor, "R *S"], arrangement: Arrangement, function: Function) -> Float[Tensor, "R *S"]:
    primal, tangents = arrangement.split(rows)
    points = arrangement.points(primal)
    slope = jvp(function, (points,), (torch.ones_like(points),))[1]
    return arrangement.join(function(primal), tangents * slope)


class _Elementwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, arrangement: Arrangement, function: Function, kernels: Kernels) -> Tensor:
        output = torch.empty_like(rows)
        (primal, tangents), (values, pushed) = arrangement.halves(rows), arrangement.halves(output)
        kernels.value(primal, out=values)
        points = arrangement.points(values if kernels.of_output else primal)
        _push(kernels, arrangement, tangents, points, pushed)
        ctx.given = arrangement, function, kernels
        ctx.save_for_backward(rows, output if kernels.of_output else None, None if arrangement.everyone else points)
        return output

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (rows, output, points), (arrangement, function, kernels) = ctx.saved_tensors, ctx.given
        if goes_again(gradient):
            plain = partial(_plain, arrangement=arrangement, function=function)
            return *gradients_again(plain, [rows], [gradient]), None, None, None
        result = torch.empty_like(rows)
        (of_primal, of_tangents), (to_primal, to_tangents) = map(arrangement.halves, (gradient, result))
        at = (rows if output is None else output).narrow(0, 0, arrangement.data)
        points = at if points is None else points
        kernels.push(of_primal, at, grad_input=to_primal)
        _push(kernels, arrangement, of_tangents, points, to_tangents)
        if kernels.bend is not None:
            tangents = arrangement.halves(rows)[1]
            bent = kernels.bend(tangents, of_tangents, to_tangents, arrangement.along(points))
            arrangement.add_at_points(to_primal, bent)
        return result, None, None, None


def _push(kernels: Kernels, arrangement: Arrangement, tangents: Tensor, points: Tensor, output: Tensor) -> None:
    if arrangement.directions == 1:
        kernels.push(tangents, points, grad_input=output)
        return
    slope = kernels.push(torch.ones_like(points), points, grad_input=torch.empty_like(points))
    shape = (arrangement.directions, len(points))
    torch.mul(tangents.unflatten(0, shape), slope, out=output.unflatten(0, shape))


def _silu(inplace: bool = False) -> Kernels | None:
    def bend(t: Tensor, u: Tensor, _: Tensor, x: Tensor) -> Tensor:
        s = torch.sigmoid(x)
        return torch.addcmul(s, s, s, value=-1).mul_(torch.rsub(s, 1, alpha=2).mul_(x).add_(2)).mul_(t).mul_(u)

    return None if inplace else Kernels(_aten.silu.out, _aten.silu_backward.grad_input, bend, of_output=False)


def _gelu(approximate: str = "none") -> Kernels:
    def exact(x: Tensor) -> Tensor:
        squares = x.square()
        return squares.mul(-0.5).exp_().mul_(squares.neg_().add_(2)).mul_(1 / math.sqrt(2 * math.pi))

    def by_tanh(x: Tensor) -> Tensor:
        scale, cubic = math.sqrt(2 / math.pi), 0.044715
        squares = x.square()
        t = torch.tanh(scale * x * (1 + cubic * squares))
        slope = scale * (1 + 3 * cubic * squares)
        return (1 - t.square()) * (slope + x * (3 * scale * cubic * x - t * slope.square()))

    def bend(t: Tensor, u: Tensor, _: Tensor, x: Tensor) -> Tensor:
        return (exact if approximate == "none" else by_tanh)(x).mul_(t).mul_(u)

    value = partial(_aten.gelu.out, approximate=approximate)
    push = partial(_aten.gelu_backward.grad_input, approximate=approximate)
    return Kernels(value, push, bend, of_output=False)


def _elu(alpha: float = 1.0, inplace: bool = False) -> Kernels | None:
    def push(tangents: Tensor, y: Tensor, grad_input: Tensor) -> Tensor:
        return _aten.elu_backward.grad_input(tangents, alpha, 1.0, 1.0, True, y, grad_input=grad_input)

    def bend(t: Tensor, _: Tensor, pushed: Tensor, y: Tensor) -> Tensor:
        # the slope again where y ≤ 0; torch.where is many times slower on a CPU
        return _aten.hardtanh_backward(pushed * t, y, -math.inf, torch.finfo(y.dtype).tiny)

    usable = not inplace and alpha > 0  # or the output does not tell
    return Kernels(lambda x, out: _aten.elu.out(x, alpha, out=out), push, bend, of_output=True) if usable else None


def _leaky_relu(negative_slope: float = 0.01, inplace: bool = False) -> Kernels | None:
    def push(tangents: Tensor, x: Tensor, grad_input: Tensor) -> Tensor:
        return _aten.leaky_relu_backward.grad_input(tangents, x, negative_slope, False, grad_input=grad_input)

    def value(x: Tensor, out: Tensor) -> Tensor:
        return _aten.leaky_relu.out(x, negative_slope, out=out)

    return None if inplace else Kernels(value, push, None, of_output=False)


def _relu(inplace: bool = False) -> Kernels | None:
    def push(tangents: Tensor, y: Tensor, grad_input: Tensor) -> Tensor:
        return _aten.threshold_backward.grad_input(tangents, y, 0, grad_input=grad_input)

    return None if inplace else Kernels(_aten.relu.out, push, None, of_output=True)


def _tanh() -> Kernels:
    def bend(t: Tensor, _: Tensor, pushed: Tensor, y: Tensor) -> Tensor:
        return (pushed * t).mul_(y).mul_(-2)

    return Kernels(_aten.tanh.out, _aten.tanh_backward.grad_input, bend, of_output=True)


def _sigmoid() -> Kernels:
    def bend(t: Tensor, _: Tensor, pushed: Tensor, y: Tensor) -> Tensor:
        return (pushed * t).mul_(torch.rsub(y, 1, alpha=2))

    return Kernels(_aten.sigmoid.out, _aten.sigmoid_backward.grad_input, bend, of_output=True)


KERNELS: Mapping[Callable[..., Any], Callable[..., Kernels | None]] = {
    functional.silu: _silu,
    functional.gelu: _gelu,
    functional.elu: _elu,
    functional.leaky_relu: _leaky_relu,
    **dict.fromkeys([functional.relu, torch.relu, torch.Tensor.relu], _relu),
    functional.tanh: _tanh,
    torch.tanh: _tanh,
    torch.Tensor.tanh: _tanh,
    **dict.fromkeys([functional.sigmoid, torch.sigmoid, torch.Tensor.sigmoid], _sigmoid),
}
"""The kernels of a function, given its other arguments; ``None`` for one that writes into its input."""
