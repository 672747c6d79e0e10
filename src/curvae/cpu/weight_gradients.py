"""The mode in which convolutions on a CPU take our gradients where those are faster."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.autograd import forward_ad
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from curvae._transforms import in_transform
from curvae._typing import Tensor
from curvae.cpu.convolution import HALF, Pair, convolution, few_outputs, few_pixels
from curvae.cpu.switch import Switch

Sizes = int | Sequence[int]
WEIGHT_GRADIENTS = Switch()


class _Inside(threading.local):
    """How many of the modes this thread is in."""

    count = 0


_inside = _Inside()


class MatrixWeightGradients(TorchFunctionMode):
    """Inside this mode 2-D convolutions on a CPU that meet many channels and few pixels, or end in few, train faster.

    With many channels and few pixels PyTorch's weight gradient takes up to twice the time of ``weight_gradient`` of
    :mod:`curvae.cpu.convolution` in float32. Under bfloat16 autocast, where forward pass and input gradient take half
    of float32's time, it takes as long as in float32 or longer on processors with bfloat16 dot products but no tiles
    (measured with PyTorch 2.13, AVX512-BF16). In float32 PyTorch's input gradient of a layer with stride 1 and at most
    eight channels out, such as a decoder's last, takes 1.4 to 10 times as long as ``input_gradient``. Where ours is
    faster, it is used; everything else (other types, devices, groups, dilation, no gradient asked for, in float32 also
    transforms and forward mode) is passed on as it is.

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
        if _half() or few_pixels(pixels, weight) or (input.requires_grad and few_outputs(weight, steps, border)):
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
        _half() or few_pixels(input.shape[2:], weight)
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
    return convolution(x, weight, bias, *geometry)


def _pair(value: Sizes) -> Pair:
    return (value, value) if isinstance(value, int) else (value[0], value[-1])  # PyTorch takes a tuple of one as well


_REPLACED: Mapping[Callable[..., Any], Callable[..., Any]] = {
    functional.conv2d: _conv2d,
    functional.conv_transpose2d: _conv_transpose2d,
}
