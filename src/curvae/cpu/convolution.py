"""A convolution with gradients of our own where they are faster: weights' by products, inputs' by turned kernels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch.nn import functional

from curvae._transforms import in_transform
from curvae._typing import Float, Tensor

Pair = tuple[int, int]
HALF = torch.bfloat16


def input_gradient(
    gradient: Float[Tensor, "B O h w"], weight: Float[Tensor, "O C kh kw"], padding: Pair
) -> Float[Tensor, "B C H W"]:
    """The gradient of a convolution's input, for stride 1: a convolution with the kernels turned round.

    Example:
        >>> x, weight = torch.randn(2, 3, 8, 8, requires_grad=True), torch.randn(4, 3, 3, 3)
        >>> y = torch.nn.functional.conv2d(x, weight, padding=1)
        >>> expected, = torch.autograd.grad(y.sum(), x)
        >>> torch.allclose(input_gradient(torch.ones_like(y), weight, (1, 1)), expected, atol=1e-5)
        True
    """
    border, turned = [weight.shape[i + 2] - 1 - padding[i] for i in (0, 1)], weight.flip(2, 3).transpose(0, 1)
    return torch.ops.aten.convolution(gradient, turned, None, (1, 1), border, (1, 1), False, (0, 0), 1)


def weight_gradient(
    x: Float[Tensor, "B C H W"], gradient: Float[Tensor, "B O h w"], kernel: Pair, stride: Pair, padding: Pair
) -> Float[Tensor, "O C kh kw"]:
    """The gradient of a convolution's weight, by one matrix product for each of the kernel's rows.

    The windows along a row are laid out once for all rows of the kernel, which saves most of unfolding's copies.

    Example:
        >>> x, weight = torch.randn(2, 3, 8, 8), torch.randn(4, 3, 3, 3, requires_grad=True)
        >>> y = torch.nn.functional.conv2d(x, weight, stride=2, padding=1)
        >>> expected, = torch.autograd.grad(y.sum(), weight)
        >>> torch.allclose(weight_gradient(x, torch.ones_like(y), (3, 3), (2, 2), (1, 1)), expected, atol=1e-5)
        True
    """
    if any(padding):
        x = functional.pad(x, (padding[1], padding[1], padding[0], padding[0]))
    channels, (batch, outputs, height, width) = x.shape[1], gradient.shape
    across, meetings = kernel[1] * channels, height * batch * width
    windows = x.permute(2, 0, 3, 1).unfold(2, kernel[1], stride[1]).narrow(2, 0, width).permute(0, 1, 2, 4, 3)
    # rows of x that the same row of the kernel meets, next to each other (a slice of everything has no batching rule)
    parts = [windows[first :: stride[0]] for first in range(stride[0])] if stride[0] > 1 else [windows]
    rows = [part.reshape(len(part), batch * width, across) for part in parts]
    left = gradient.permute(2, 0, 3, 1).reshape(meetings, outputs).mT
    products = []
    for row in range(kernel[0]):
        skip, first = divmod(row, stride[0])
        products.append(left @ rows[first].narrow(0, skip, height).reshape(meetings, across))
    return torch.stack(products, 1).reshape(outputs, *kernel, channels).permute(0, 3, 1, 2)


class _Convolution(torch.autograd.Function):
    """PyTorch's convolution with our weight gradient, our input gradient, or both, where they are faster."""

    @staticmethod
    def forward(
        x: Tensor, weight: Tensor, bias: Tensor | None, stride: Pair, padding: Pair, transposed: bool, extra: Pair
    ) -> Tensor:
        return torch.ops.aten.convolution(x, weight, bias, stride, padding, (1, 1), transposed, extra, 1)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ARG004
        x, weight, bias, *ctx.geometry = inputs
        ctx.has_bias = bias is not None
        ctx.save_for_backward(x, weight)
        ctx.save_for_forward(x, weight)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        stride, padding, transposed, extra = ctx.geometry
        if gradient.dtype is HALF and not in_transform():  # vmap has no rule for it
            gradient = gradient.contiguous(memory_format=torch.channels_last)
        # a transposed convolution is the adjoint of one that goes from its output to its input
        source, result = (gradient, x) if transposed else (x, gradient)
        needs_x, needs_weight, needs_bias, *_ = ctx.needs_input_grad
        ours = needs_weight and few_pixels(result.shape[2:], weight)
        turned = needs_x and not transposed and few_outputs(weight, stride, padding)
        of_x, of_weight, of_bias = None, None, None
        mask = (needs_x and not turned, needs_weight and not ours, False)
        if any(mask):
            of_x, of_weight, _ = torch.ops.aten.convolution_backward(
                gradient, x, weight, None, stride, padding, (1, 1), transposed, extra, 1, mask
            )
        if turned:
            of_x = input_gradient(gradient, weight, padding)
        if ours:
            of_weight = weight_gradient(source, result, tuple(weight.shape[2:]), stride, padding)
        if ctx.has_bias and needs_bias:
            of_bias = gradient.sum((0, 2, 3))
        return of_x, of_weight, of_bias, None, None, None, None

    @staticmethod
    def jvp(ctx: Any, of_x: Tensor, of_weight: Tensor, of_bias: Tensor | None, *_: None) -> Tensor:
        """Forward mode (zeros stand for what carries no tangent)."""
        x, weight = ctx.saved_tensors
        along_x = _Convolution.forward(of_x, weight, None, *ctx.geometry)
        return along_x + _Convolution.forward(x, of_weight, of_bias, *ctx.geometry)

    @staticmethod
    def vmap(
        info: Any,  # noqa: ARG004
        in_dims: tuple[Any, ...],
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        *geometry: Any,
    ) -> tuple[Tensor, int]:
        """Several inputs under one weight are one larger batch."""
        if in_dims[1] is not None or in_dims[2] is not None:
            several = torch.vmap(lambda *given: _Convolution.forward(*given, *geometry), in_dims[:3])
            return several(x, weight, bias), 0
        batches = x.movedim(in_dims[0], 0)
        y = convolution(batches.flatten(0, 1), weight, bias, *geometry)
        return y.unflatten(0, batches.shape[:2]), 0


def convolution(
    x: Float[Tensor, "B C H W"], weight: Float[Tensor, "P Q kh kw"], bias: Tensor | None, *geometry: Any
) -> Float[Tensor, "B O h w"]:
    """PyTorch's convolution with :func:`weight_gradient` and :func:`input_gradient`, each where it is faster.

    ``geometry``: stride, padding, whether it is transposed, and the padding of a transposed one's output.

    Example:
        >>> x, weight = torch.randn(2, 3, 8, 8), torch.randn(4, 3, 3, 3)
        >>> convolution(x, weight, None, (2, 2), (1, 1), False, (0, 0)).shape
        torch.Size([2, 4, 4, 4])
    """
    return _Convolution.apply(x, weight, bias, *geometry)  # type: ignore[no-untyped-call]


def few_pixels(pixels: Sequence[int], weight: Float[Tensor, "P Q kh kw"]) -> bool:
    """Whether the products are worth laying out the windows: measured over the paper's layers × 1/16 … 1."""
    return min(weight.shape[:2]) >= (2 if weight.dtype is HALF else 16) * math.prod(pixels)


def few_outputs(weight: Float[Tensor, "O C kh kw"], stride: Pair, padding: Pair) -> bool:
    """Whether the input's gradient is faster as a convolution: measured below oneDNN's block of 16 channels.

    With kernels of one pixel it is not, and PyTorch's finds both gradients together.
    """
    rows, columns = weight.shape[2:]
    fits = rows * columns > 1 and padding[0] < rows and padding[1] < columns
    return weight.dtype is torch.float32 and len(weight) <= 8 and stride == (1, 1) and fits
