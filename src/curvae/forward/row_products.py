"""What rows are multiplied with and shifted by."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional

from curvae._transforms import in_transform
from curvae._typing import Float, Tensor
from curvae.forward.arrangement import Arrangement


def bilinear(
    product: Callable[[Tensor, Tensor], Tensor],
    left: Float[Tensor, "R *S"],
    right: Float[Tensor, "R *T"],
    arrangement: Arrangement,
) -> Float[Tensor, "R *U"]:
    """A product of any kind within each sample, its tangents by the product rule."""
    (a, s), (b, t) = arrangement.split(left), arrangement.split(right)
    pushed = product(arrangement.points(a), t) + product(s, arrangement.points(b))
    return arrangement.join(product(a, b), pushed)


def shifted(rows: Float[Tensor, "R *S"], bias: Tensor, arrangement: Arrangement) -> Float[Tensor, "R *S"]:
    """Primals plus a bias, which broadcasts, in the place of rows that nothing else looks at."""
    if in_transform() or rows._is_view():  # functorch's own transforms see into no function with a backward pass
        return rows + arrangement.constant(bias)
    return _Shifted.apply(rows, bias, arrangement.data)  # type: ignore[no-untyped-call]


def linear(
    rows: Float[Tensor, "R *S n"],
    weight: Float[Tensor, "m n"],
    bias: Float[Tensor, " m"] | None,
    arrangement: Arrangement,
) -> Float[Tensor, "R *S m"]:
    """``torch.nn.functional.linear``, whose bias is the primals' alone."""
    output = functional.linear(rows, weight)
    return output if bias is None else shifted(output, bias.view(*[1] * (output.dim() - 1), -1), arrangement)


class _Shifted(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, bias: Tensor, data: int) -> Tensor:
        rows.narrow(0, 0, data).add_(bias)
        ctx.mark_dirty(rows)
        ctx.data, ctx.shape, ctx.dtype = data, bias.shape, bias.dtype
        return rows

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        if not ctx.needs_input_grad[1]:
            return gradient, None, None
        return gradient, gradient.narrow(0, 0, ctx.data).sum_to_size(ctx.shape).to(ctx.dtype), None
