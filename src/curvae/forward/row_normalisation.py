r"""Normalisation of each sample by itself, for rows.

With $\hat x=(x-\mu)r$, $r=(v+\epsilon)^{-1/2}$, over the N values of one group, the derivative of $\hat x$ is the
symmetric map $Pt=r\,(t-\bar t-\hat x\,\overline{\hat x t})$, which PyTorch's kernel for the backward pass of
``layer_norm`` computes. A tangent of $w\hat x+b$ is $w\,Pt$; for a gradient $u$ of it, with $h=wu$, that of $t$ is $Ph$
and that of $x$

$$-\hat x\,\bigl(\overline{Pt\,Ph}+\epsilon r^4\,\overline{\hat xt}\;\overline{\hat xh}\bigr)
-r\,\bigl(\overline{\hat xh}\,Pt+\overline{\hat xt}\,Ph\bigr).$$
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import torch

from curvae._again import goes_again, gradients_again
from curvae._typing import Float, Tensor
from curvae.forward.arrangement import Arrangement


class Groups(NamedTuple):
    """What is normalised together, and how it is scaled.

    Attributes:
        parts: groups in each sample, the channels in as many equal parts; ``None``: everything in trailing axes.
        trailing: their sizes (layer normalisation).
        eps: ε.
    """

    parts: int | None
    trailing: tuple[int, ...]
    eps: float

    def flat(self, rows: Float[Tensor, "n *S"]) -> Float[Tensor, "g N"]:
        """One group a row."""
        size = math.prod(self.trailing) if self.parts is None else rows.shape[1:].numel() // self.parts
        return rows.reshape(-1, size)

    def scale(self, weight: Tensor, dims: int) -> Tensor:
        """A weight that broadcasts over rows of so many axes."""
        return weight if self.parts is None else weight.view(-1, *[1] * (dims - 2))

    def over(self, dims: int) -> list[int]:
        """The axes that a weight does not have."""
        return list(range(dims - len(self.trailing))) if self.parts is None else [0, *range(2, dims)]


def normalise(
    rows: Float[Tensor, "R *S"],
    weight: Tensor | None,
    bias: Tensor | None,
    arrangement: Arrangement,
    groups: Groups,
) -> Float[Tensor, "R *S"]:
    """Group, layer or instance normalisation of primals, and its derivative of tangents.

    Example:
        >>> arrangement = Arrangement(1, torch.tensor([0]), 1, everyone=True)
        >>> rows = torch.tensor([[1.0, 3.0], [2.0, 2.0]])  # it does not see what all values of a sample have in common
        >>> normalise(rows, None, None, arrangement, Groups(None, (2,), 0.0))
        tensor([[-1.,  1.],
                [ 0.,  0.]])
    """
    # here and not inside, so that what is saved is the input, through which second derivatives go
    return _Normalised.apply(rows.contiguous(), weight, bias, arrangement, groups)  # type: ignore[no-untyped-call]


def _derivative(
    values: Float[Tensor, "g N"], x: Float[Tensor, "g N"], mean: Float[Tensor, "g 1"], inverse: Float[Tensor, "g 1"]
) -> Float[Tensor, "g N"]:
    """P applied to values."""
    size, wanted = list(x.shape[1:]), [True, False, False]
    result: Tensor = torch.ops.aten.native_layer_norm_backward(values, x, size, mean, inverse, None, None, wanted)[0]
    return result


class _Normalised(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, rows: Tensor, weight: Tensor | None, bias: Tensor | None, arrangement: Arrangement, groups: Groups
    ) -> Tensor:
        primal, tangents = arrangement.halves(rows)
        y, mean, inverse = _values(primal, weight, bias, groups)
        at = _points(primal, mean, inverse, arrangement, groups)
        slopes = _derivative(groups.flat(tangents), *at).view_as(tangents)
        scale = None if weight is None else groups.scale(weight, rows.dim())
        ctx.save_for_backward(rows, weight, bias, mean, inverse, slopes, *(at if arrangement.directions == 1 else ()))
        ctx.given = arrangement, groups
        return torch.cat([y, slopes if scale is None else slopes * scale])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        rows, weight, bias, mean, inverse, slopes, *at = ctx.saved_tensors
        arrangement, groups = ctx.given
        if goes_again(gradient):
            plain = partial(_plain, arrangement=arrangement, groups=groups)
            return *gradients_again(plain, (rows, weight, bias), [gradient]), None, None
        primal, tangents = arrangement.halves(rows)
        of_primal, of_tangents = arrangement.halves(gradient.contiguous())
        to_primal, of_weight, of_bias = _backward(
            of_primal, primal, mean, inverse, weight, bias, groups, ctx.needs_input_grad[1:3]
        )
        scaled = of_tangents
        if weight is not None:
            scaled = of_tangents * groups.scale(weight, rows.dim())
            if of_weight is not None:
                of_weight += (of_tangents * slopes).sum(groups.over(rows.dim())).view_as(of_weight)
        points, mean, inverse = at or _points(primal, mean, inverse, arrangement, groups)
        tangents, scaled, slopes = map(groups.flat, (tangents, scaled, slopes))
        back = _derivative(scaled, points, mean, inverse)
        standard = (points - mean).mul_(inverse)
        along, against = _mean_product(standard, tangents), _mean_product(standard, scaled)
        both = _mean_product(slopes, back).addcmul_(inverse.pow(4), along * against, value=groups.eps)
        bent = standard.mul_(both.neg_())
        bent.addcmul_(slopes, inverse * against, value=-1).addcmul_(back, inverse * along, value=-1)
        shape = (-1, *rows.shape[1:])
        arrangement.add_at_points(to_primal, bent.view(shape))
        return torch.cat([to_primal, back.view(shape)]), of_weight, of_bias, None, None


def _points(
    primal: Tensor,
    mean: Float[Tensor, "B ..."],
    inverse: Float[Tensor, "B ..."],
    arrangement: Arrangement,
    groups: Groups,
) -> tuple[Float[Tensor, "n N"], Float[Tensor, "n 1"], Float[Tensor, "n 1"]]:
    """The values of each tangent's point, their mean and 1/√(v + ε)."""
    # the kernel reads memory as if it were in order, which that of one point seen many times is not
    points, mean, inverse = (
        arrangement.along(arrangement.points(part)).contiguous() for part in (primal, mean, inverse)
    )
    return groups.flat(points), mean.reshape(-1, 1), inverse.reshape(-1, 1)


def _mean_product(first: Float[Tensor, "g N"], second: Float[Tensor, "g N"]) -> Float[Tensor, "g 1"]:
    return torch.linalg.vecdot(first, second).unsqueeze(1).div_(first.shape[1])


def _values(
    x: Float[Tensor, "B *S"], weight: Tensor | None, bias: Tensor | None, groups: Groups
) -> tuple[Float[Tensor, "B *S"], Tensor, Tensor]:
    """PyTorch's own kernel: output, means, 1/√(v + ε)."""
    if groups.parts is None:
        return torch.native_layer_norm(x, groups.trailing, weight, bias, groups.eps)
    sizes = x.shape[0], x.shape[1], x.shape[2:].numel()
    return torch.native_group_norm(x, weight, bias, *sizes, groups.parts, groups.eps)


def _backward(
    gradient: Float[Tensor, "B *S"],
    x: Float[Tensor, "B *S"],
    mean: Float[Tensor, "B ..."],
    inverse: Float[Tensor, "B ..."],
    weight: Tensor | None,
    bias: Tensor | None,
    groups: Groups,
    needed: Sequence[bool],
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    wanted = [True, *needed]
    if groups.parts is None:
        return torch.ops.aten.native_layer_norm_backward(
            gradient, x, groups.trailing, mean, inverse, weight, bias, wanted
        )
    sizes = x.shape[0], x.shape[1], x.shape[2:].numel(), groups.parts
    return torch.ops.aten.native_group_norm_backward(gradient, x, mean, inverse, weight, *sizes, wanted)


def _plain(
    rows: Tensor, weight: Tensor | None, bias: Tensor | None, arrangement: Arrangement, groups: Groups
) -> Tensor:
    """The same in operations that autograd can follow."""
    primal, tangents = arrangement.halves(rows)
    x, t = groups.flat(primal), groups.flat(tangents)
    variance, mean = torch.var_mean(x, 1, correction=0, keepdim=True)
    inverse = (variance + groups.eps).rsqrt()
    y = ((x - mean) * inverse).view_as(primal)
    inverse = arrangement.along(arrangement.points(inverse.view(len(primal), -1))).reshape(-1, 1)
    standard = groups.flat(arrangement.along(arrangement.points(y)))
    pushed = inverse * (t - t.mean(1, keepdim=True) - standard * (standard * t).mean(1, keepdim=True))
    scaled = torch.cat([y, pushed.view_as(tangents)])
    scaled = scaled if weight is None else scaled * groups.scale(weight, rows.dim())
    if bias is None:
        return scaled
    values, pushed = arrangement.halves(scaled)
    return torch.cat([values + groups.scale(bias, rows.dim()), pushed])
