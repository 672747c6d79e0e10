"""Arithmetic of rows with each other, with numbers and with constant tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from curvae._typing import Float, Tensor
from curvae.forward.row_products import bilinear, shifted
from curvae.forward.row_rules import Call

_tensor = torch.Tensor


def arithmetic(call: Call) -> Float[Tensor, "R *S"]:
    """Elementwise functions of several tensors: what has as many axes as the rows has its first along the data."""
    call.require(not any(isinstance(value, torch.Tensor) for value in call.options.values()))
    dims = {call.args[place].dim() for place in call.places}
    call.require(len(dims) == 1)
    own = []  # constants with something for each sample
    for place, value in enumerate(call.args):
        if place not in call.places and isinstance(value, torch.Tensor):
            call.require(value.dim() <= max(dims))
            if value.dim() in dims and len(value) > 1:
                call.require(len(value) == call.arrangement.data)
                own.append(place)
    if call.func in _SUMS:
        return _sum(call)
    if call.func in _PRODUCTS and len(call.places) == 2:
        left, right = call.args
        return bilinear(call.func, left, right, call.arrangement)
    if call.func in _PRODUCTS or (call.func in _QUOTIENTS and call.places == [0] and not call.options):
        return _scaled(call, own)
    return _any(call, own)


def _sum(call: Call) -> Float[Tensor, "R *S"]:
    """What is constant moves the primals alone, and may have more elements."""
    if call.places == list(range(len(call.args))):
        return call.same(call.func(*call.args, **call.options))
    if _is_bias(call):
        rows, bias = call.args
        return shifted(rows.clone(), bias, call.arrangement)
    primal, tangents = list(call.args), list(call.args)
    for place, value in enumerate(call.args):
        if place in call.places:
            primal[place], tangents[place] = call.arrangement.halves(value)
        else:
            tangents[place] = value.new_zeros(()) if isinstance(value, torch.Tensor) else 0
    values, pushed = call.func(*primal, **call.options), call.func(*tangents, **call.options)
    return torch.cat([values, pushed.to(values.dtype).expand(len(pushed), *values.shape[1:])])


def _is_bias(call: Call) -> bool:
    """Whether a tensor is added that neither grows the rows nor changes their type."""
    if call.func not in (torch.add, _tensor.add) or call.places != [0] or call.options or len(call.args) != 2:
        return False
    rows, bias = call.args
    if not isinstance(bias, torch.Tensor) or bias.dtype is not rows.dtype or bias.device != rows.device:
        return False
    sides = zip(reversed(bias.shape), (*reversed(rows.shape[1:]), call.arrangement.data), strict=False)
    return all(side in (1, expected) for side, expected in sides)


def _scaled(call: Call, own: list[int]) -> Float[Tensor, "R *S"]:
    """By something constant: linear."""
    args = list(call.args)
    for place in own:
        args[place] = torch.cat([args[place], call.arrangement.along(call.arrangement.points(args[place]))])
    return call.same(call.func(*args, **call.options))


def _any(call: Call, own: list[int]) -> Float[Tensor, "R *S"]:
    at_points = list(call.args)
    for place in own:
        at_points[place] = call.arrangement.points(call.args[place])

    def at(arguments: list[Any]) -> Callable[..., Tensor]:
        def on(*values: Tensor) -> Tensor:
            inner = list(arguments)
            for place, value in zip(call.places, values, strict=True):
                inner[place] = value
            return call.func(*inner, **call.options)

        return on

    rows = (call.args[place] for place in call.places)
    return call.arrangement.differentiate(at(call.args), at(at_points), *rows)


_SUMS: frozenset[Callable[..., Any]] = frozenset(
    {torch.add, torch.sub, torch.neg, _tensor.add, _tensor.sub, _tensor.neg, _tensor.__rsub__}
)
_PRODUCTS: frozenset[Callable[..., Any]] = frozenset({torch.mul, _tensor.mul})
_QUOTIENTS: frozenset[Callable[..., Any]] = frozenset({torch.div, _tensor.div})
_OTHERS: frozenset[Callable[..., Any]] = frozenset(
    {
        *(torch.square, _tensor.square, torch.pow, _tensor.pow, _tensor.__pow__, _tensor.__rdiv__, torch.where),
        *(torch.sin, _tensor.sin, torch.cos, _tensor.cos),
    }
)
RULES: Mapping[Callable[..., Any], Callable[[Call], Tensor]] = dict.fromkeys(
    [*_SUMS, *_PRODUCTS, *_QUOTIENTS, *_OTHERS], arithmetic
)
"""Beside those of :mod:`~curvae.forward.row_rules`."""
