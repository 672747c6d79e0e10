"""Convolutions on a CPU with the weight's gradient as matrix products, and to few channels with the input's as one."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch
from torch.autograd import forward_ad
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from curvae._transforms import in_transform
from curvae._typing import Float, Tensor
from curvae.cpu.switch import Switch

Pair = tuple[int, int]
Sizes = int | Sequence[int]
HALF = torch.bfloat16
WEIGHT_GRADIENTS = Switch()


class _Inside(threading.local):
    """How many of the modes this thread is in."""

    count = 0


_inside = _Inside()


class MatrixWeightGradients(TorchFunctionMode):
    """Inside this mode 2-D convolutions on a CPU that meet many channels and few pixels, or end in few, train faster.

    With many channels and few pixels PyTorch's weight gradient takes up to twice the time of :func:`weight_gradient`
    in float32. Under bfloat16 autocast, where forward pass and input gradient take half of float32's time, it takes as
    long as in float32 or longer on processors with bfloat16 dot products but no tiles (measured with PyTorch 2.13,
    AVX512-BF16). In float32 PyTorch's input gradient of a layer with stride 1 and at most eight channels out, such as a
    decoder's last, takes 1.4 to 10 times as long as :func:`input_gradient`. Where ours is faster, it is used;
    everything else (other types, devices, groups, dilation, no gradient asked for, in float32 also transforms and
    forward mode) is passed on as it is.

    The mode intercepts the function, not the module, so it works for any network. In bfloat16 it goes best with
    ``model.to(memory_format=torch.channels_last)``, which saves copies.

    Measured with ``python -m benchmarks cpu`` (``docs/log.md``). Switch: ``WEIGHT_GRADIENTS``, or leave the mode out.

    Example:
        >>> layer, x = torch.nn.Conv2d(3, 8, 3), torch.randn(2, 3, 8, 8)
        >>> with torch.autocast("cpu", torch.bfloat16), MatrixWeightGradients():
        ...     y = layer(x)
        >>> y.float().sum().backward()
        >>> y.dtype, layer.weight.grad.dtype
        (torch.bfloat16, torch.float32)
    """

    def __enter__(self) -> MatrixWeightGradients:
        """Replace them from here on, in this thread."""
        _inside.count += 1
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *error: Any) -> None:
        """And no longer."""
        _inside.count -= 1
        super().__exit__(*error)  # type: ignore[no-untyped-call]

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Replace convolutions that are covered; pass everything else on."""
        if func not in _REPLACED or not WEIGHT_GRADIENTS.on:
            return func(*args, **(kwargs or {}))
        # a tensor of another kind has its own rule, which will come back here with plain tensors or ask by_products
        if types and not hasattr(types[0], "asks_by_products"):
            with self:
                return types[0].__torch_function__(func, types, args, kwargs)
        if types:
            return types[0].__torch_function__(func, types, args, kwargs)
        return _REPLACED[func](*args, **(kwargs or {}))


def by_products(func: Callable[..., Any]) -> Callable[..., Any]:
    """What the mode calls in a function's place where modes are switched off, inside :class:`MatrixWeightGradients`."""
    return _REPLACED.get(func, func) if WEIGHT_GRADIENTS.on and _inside.count else func


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
        ours = needs_weight and _few_pixels(result.shape[2:], weight)
        turned = needs_x and not transposed and _few_outputs(weight, stride, padding)
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
        y = _Convolution.apply(batches.flatten(0, 1), weight, bias, *geometry)  # type: ignore[no-untyped-call]
        return y.unflatten(0, batches.shape[:2]), 0


def _few_pixels(pixels: Sequence[int], weight: Float[Tensor, "P Q kh kw"]) -> bool:
    """Whether the products are worth laying out the windows: measured over the paper's layers × 1/16 … 1."""
    return min(weight.shape[:2]) >= (2 if weight.dtype is HALF else 16) * math.prod(pixels)


def _few_outputs(weight: Float[Tensor, "O C kh kw"], stride: Pair, padding: Pair) -> bool:
    """Whether the input's gradient is faster as a convolution: measured below oneDNN's block of 16 channels.

    With kernels of one pixel it is not, and PyTorch's finds both gradients together.
    """
    rows, columns = weight.shape[2:]
    fits = rows * columns > 1 and padding[0] < rows and padding[1] < columns
    return weight.dtype is torch.float32 and len(weight) <= 8 and stride == (1, 1) and fits


def _conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sizes = 1,
    padding: Sizes | str = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> Tensor:
    if not isinstance(padding, str) and _covered(input, weight, groups, dilation, stride, padding):
        steps, border, sides = _pair(stride), _pair(padding), zip(input.shape[2:], weight.shape[2:], strict=True)
        pixels = [(n - k + 2 * p) // s + 1 for (n, k), s, p in zip(sides, steps, border, strict=True)]
        if _half() or _few_pixels(pixels, weight) or (input.requires_grad and _few_outputs(weight, steps, border)):
            return _apply(input, weight, bias, steps, border, False, (0, 0))
    return functional.conv2d(input, weight, bias, stride, padding, dilation, groups)


def _conv_transpose2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sizes = 1,
    padding: Sizes = 0,
    output_padding: Sizes = 0,
    groups: int = 1,
    dilation: Sizes = 1,
) -> Tensor:
    if _covered(input, weight, groups, dilation, stride, padding, output_padding) and (
        _half() or _few_pixels(input.shape[2:], weight)
    ):
        return _apply(input, weight, bias, _pair(stride), _pair(padding), True, _pair(output_padding))
    return functional.conv_transpose2d(input, weight, bias, stride, padding, output_padding, groups, dilation)


def _covered(x: Tensor, weight: Tensor, groups: int, dilation: Sizes, stride: Sizes, *paddings: Sizes) -> bool:
    """Whether to replace a call; what PyTorch would refuse is left to PyTorch."""
    return (
        x.dim() == weight.dim() == 4
        and 0 not in x.shape[1:]
        and x.device.type == "cpu"
        and groups == 1
        and all(map(_is_size, (dilation, stride, *paddings)))
        and _pair(dilation) == (1, 1)
        and min(_pair(stride)) > 0
        and weight.requires_grad
        and torch.is_grad_enabled()
        and x.is_floating_point()
        and weight.is_floating_point()
        and torch.float64 not in (x.dtype, weight.dtype)  # autocast leaves those alone
        and (_half() or _plain(x, weight))
    )


def _is_size(value: object) -> bool:
    several = isinstance(value, tuple | list) and len(value) in (1, 2) and all(type(item) is int for item in value)
    return type(value) is int or several


def _half() -> bool:
    return torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") is HALF


def _plain(x: Tensor, weight: Tensor) -> bool:
    """In float32, and no transform, forward mode or tracing of PyTorch's own is on, which would need rules of ours."""
    return (
        x.dtype is weight.dtype is torch.float32
        and not torch.is_autocast_enabled("cpu")
        and not in_transform()
        and forward_ad._current_level < 0
        and torch._C._get_tracing_state() is None
    )


def _apply(x: Tensor, weight: Tensor, bias: Tensor | None, *geometry: Any) -> Tensor:
    if _half():
        x, weight = x.to(HALF), weight.to(HALF, memory_format=torch.channels_last)  # and so will be the output
        bias = None if bias is None else bias.to(HALF)
    return _Convolution.apply(x, weight, bias, *geometry)  # type: ignore[no-untyped-call]


def _pair(value: Sizes) -> Pair:
    return (value, value) if isinstance(value, int) else (value[0], value[-1])  # PyTorch takes a tuple of one as well


_REPLACED: Mapping[Callable[..., Any], Callable[..., Any]] = MappingProxyType(
    {functional.conv2d: _conv2d, functional.conv_transpose2d: _conv_transpose2d}
)
