"""Train-mode batch normalisation of primal and tangent rows, at the price of PyTorch's own layer."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch

from curvae._again import goes_again, gradients_again
from curvae._typing import Float, Tensor
from curvae.cpu.switch import Switch

BATCH_NORM = Switch()


def normalise(
    rows: Float[Tensor, "R C *S"],
    weight: Float[Tensor, " C"] | None,
    bias: Float[Tensor, " C"] | None,
    data: int,
    eps: float,
) -> tuple[Float[Tensor, "R C *S"], Float[Tensor, " C"], Float[Tensor, " C"]]:
    r"""Normalise the first ``data`` rows by their own mean and variance, and scale the others (tangents) alike.

    $y=w\,(x-\mu)/\sqrt{v+\epsilon}+b$ for primals, $w\,t/\sqrt{v+\epsilon}$ for tangents, and gradients of both flow
    through $\mu$ and the (biased) $v$, which are returned, too. PyTorch's kernels do the primals' part; written out in
    plain operations, statistics and gradients take about twice their time.

    Measured with ``python -m benchmarks cpu`` (``results/bench/cpu.json``): 7 % of a step with all columns
    of a quarter of the batch, 2 % with one column. Switch: ``BATCH_NORM``.

    Example:
        >>> rows = torch.tensor([[1.0], [3.0], [2.0]])
        >>> normalise(rows, None, None, data=2, eps=0.0)
        (tensor([[-1.],
                [ 1.],
                [ 2.]]), tensor([2.]), tensor([1.]))
    """
    # of any other layout PyTorch's kernel writes wrong values into memory that it is given; here and not inside, so
    # that what is saved is the input, through which second derivatives go
    if not (rows.dim() == 4 and rows.is_contiguous(memory_format=torch.channels_last)):
        rows = rows.contiguous()
    return _Normalised.apply(rows, weight, bias, data, eps)  # type: ignore[no-untyped-call]


class _Normalised(torch.autograd.Function):
    # with a setup_context PyTorch would look up the signature at every call, which costs more than a small layer
    @staticmethod
    def forward(
        ctx: Any, rows: Tensor, weight: Tensor | None, bias: Tensor | None, data: int, eps: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        output, (mean, inverse) = torch.empty_like(rows), (rows.new_empty(0) for _ in range(2))
        results = output.narrow(0, 0, data), mean, inverse
        torch.native_batch_norm(rows.narrow(0, 0, data), weight, bias, None, None, True, 0.0, eps, out=results)
        scale = inverse if weight is None else inverse * weight
        count = len(rows) - data
        torch.mul(rows.narrow(0, data, count), _wide(scale, rows), out=output.narrow(0, data, count))
        ctx.data, ctx.eps = data, eps
        ctx.set_materialize_grads(False)  # nobody may have used the statistics
        ctx.save_for_backward(rows, weight, bias, mean, inverse, scale)
        return output, mean, (inverse.pow(-2) - eps).clamp(min=0)

    @staticmethod
    def backward(
        ctx: Any, gradient: Tensor | None, of_mean: Tensor | None, of_variance: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        rows, weight, bias, mean, inverse, scale = ctx.saved_tensors
        gradient = torch.zeros_like(rows) if gradient is None else gradient
        if goes_again(gradient):
            plain = partial(_plain, data=ctx.data, eps=ctx.eps)
            of_statistics = (torch.zeros_like(mean) if of is None else of for of in (of_mean, of_variance))
            return *gradients_again(plain, (rows, weight, bias), (gradient, *of_statistics)), None, None
        sizes = [ctx.data, len(rows) - ctx.data]
        (primal, tangents), (u, v) = rows.split_with_sizes(sizes), gradient.split_with_sizes(sizes)
        of_rows = torch.empty_like(rows)
        to_primal, to_tangents = of_rows.split_with_sizes(sizes)
        wanted = [True, weight is not None, bias is not None]
        through, of_weight, of_bias = torch.ops.aten.native_batch_norm_backward(
            u, primal, weight, None, None, mean, inverse, True, ctx.eps, wanted
        )
        # what the tangents add: to the weight, and through the variance to the primals
        of_scale = (v * tangents).sum([0, *range(2, rows.dim())]) * inverse
        share = len(mean) / primal.numel()
        slope = torch.mul(of_scale * scale, inverse).mul_(-share)
        slope = slope if of_variance is None else slope.add_(of_variance, alpha=2 * share)
        shift = slope * mean
        shift = shift if of_mean is None else shift.sub_(of_mean, alpha=share)
        torch.addcmul(through, primal, _wide(slope, rows), out=to_primal).sub_(_wide(shift, rows))
        torch.mul(v, _wide(scale, rows), out=to_tangents)
        return of_rows, None if weight is None else of_weight.add_(of_scale), of_bias, None, None


def _plain(
    rows: Tensor, weight: Tensor | None, bias: Tensor | None, data: int, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """The same in operations that autograd can follow."""
    variance, mean = torch.var_mean(rows[:data], [0, *range(2, rows.dim())], correction=0)
    scale = (variance + eps).rsqrt() if weight is None else (variance + eps).rsqrt() * weight
    shift = -mean * scale if bias is None else bias - mean * scale
    scaled = rows * _wide(scale, rows)
    return torch.cat([scaled[:data] + _wide(shift, rows), scaled[data:]]), mean, variance


def _wide(vector: Float[Tensor, " C"], rows: Tensor) -> Tensor:
    return vector.view(-1, *[1] * (rows.dim() - 2))
