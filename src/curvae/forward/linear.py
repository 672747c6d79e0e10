"""Layers that are linear in their input push a tangent by one more application of themselves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.autograd.forward_ad as forward_ad
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from curvae._typing import Tensor

LINEAR_IN_INPUT: frozenset[Callable[..., Any]] = frozenset(
    {
        functional.linear,
        functional.conv1d,
        functional.conv2d,
        functional.conv3d,
        functional.conv_transpose1d,
        functional.conv_transpose2d,
        functional.conv_transpose3d,
    }
)
"""Functions ``(input, weight, bias=None, …)`` that are linear in ``input`` but for the bias."""


class LinearLayers(TorchFunctionMode):
    """Inside this mode a convolution's tangent costs one convolution.

    PyTorch's forward-mode rule also convolves the input with the weight's tangent, which is zero here, and so spends
    half as much again on every layer, and again in the backward pass (measured with PyTorch 2.13).
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Split primal and tangent where only the input carries one; pass everything else on."""
        options = dict(kwargs or {})
        if func not in LINEAR_IN_INPUT or len(args) < 2:
            return func(*args, **options)
        x, weight, *rest = args
        bias = rest.pop(0) if rest else options.pop("bias", None)
        primal, tangent = forward_ad.unpack_dual(x)
        if tangent is None or carries_tangent(weight) or carries_tangent(bias):
            return func(*args, **(kwargs or {}))
        output = func(primal, weight, bias, *rest, **options)
        return forward_ad.make_dual(output, func(tangent, weight, None, *rest, **options))


def carries_tangent(parameter: Tensor | None) -> bool:
    """Whether forward mode is differentiating with respect to it."""
    return isinstance(parameter, torch.Tensor) and forward_ad.unpack_dual(parameter).tangent is not None
