"""Train-mode batch normalisation of primal and tangent rows, at the price of PyTorch's own layer."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch

from curvae._again import gradients_again
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
    through $\mu$ and $v$. PyTorch's kernels do the primals' part; written out in plain operations, statistics and
    gradients take about twice their time.

    Measured with ``python -m benchmarks cpu`` (``results/bench/cpu.json``): 7 % of a step with all columns
    of a quarter of the batch, 2 % with one column. Switch: ``BATCH_NORM``.

    Args:
        rows: primals, then tangents.
        weight: w, ``None`` for 1.
        bias: b, ``None`` for 0.
        data: how many rows are primals.
        eps: ε.

    Returns:
        The normalised rows, μ and (biased) v, all differentiable.

    Example:
        >>> rows = torch.tensor([[1.0], [3.0], [2.0]])
        >>> normalise(rows, None, None, data=2, eps=0.0)
        (tensor([[-1.],
                [ 1.],
                [ 2.]]), tensor([2.]), tensor([1.]))
    """
    return _Normalised.apply(rows, weight, bias, data, eps)  # type: ignore[no-untyped-call]


class _Normalised(torch.autograd.Function):
    @staticmethod
    def forward(
        rows: Tensor, weight: Tensor | None, bias: Tensor | None, data: int, eps: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        output = torch.empty_like(rows)
        output[:data], mean, inverse = torch.native_batch_norm(rows[:data], weight, bias, None, None, True, 0.0, eps)
        scale = inverse if weight is None else inverse * weight
        torch.mul(rows[data:], _wide(scale, rows), out=output[data:])
        return output, mean, (inverse.pow(-2) - eps).clamp(min=0)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        *given, ctx.data, ctx.eps = inputs
        ctx.save_for_backward(*given, *output[1:])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, of_mean: Tensor, of_variance: Tensor) -> tuple[Tensor | None, ...]:
        rows, weight, bias, mean, variance = ctx.saved_tensors
        if torch.is_grad_enabled():  # to be differentiated again
            plain = partial(_plain, data=ctx.data, eps=ctx.eps)
            return *gradients_again(plain, (rows, weight, bias), (gradient, of_mean, of_variance)), None, None
        data, (primal, tangents) = ctx.data, (rows[: ctx.data], rows[ctx.data :])
        inverse = (variance + ctx.eps).rsqrt()
        scale = inverse if weight is None else inverse * weight
        wanted = [True, weight is not None, bias is not None]
        of_primal, of_weight, of_bias = torch.ops.aten.native_batch_norm_backward(
            gradient[:data], primal, weight, None, None, mean, inverse, True, ctx.eps, wanted
        )
        # what the tangents add: to the weight, and through the variance to the primals
        of_scale = (gradient[data:] * tangents).sum([0, *range(2, rows.dim())])
        slope = (2 * of_variance - of_scale * scale * inverse.square()) * (len(mean) / primal.numel())
        shift = of_mean * (len(mean) / primal.numel()) - slope * mean
        of_primal = torch.addcmul(of_primal, primal, _wide(slope, rows)) + _wide(shift, rows)
        of_rows = torch.cat([of_primal, gradient[data:] * _wide(scale, rows)])
        return of_rows, None if weight is None else of_weight + of_scale * inverse, of_bias, None, None


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
