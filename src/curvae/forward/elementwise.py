"""Elementwise layers push many tangents by one slope."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.autograd.forward_ad as forward_ad
from torch.func import jvp
from torch.nn import functional
from torch.overrides import TorchFunctionMode

ELEMENTWISE: frozenset[Callable[..., Any]] = frozenset(
    {
        functional.celu,
        functional.elu,
        functional.gelu,
        functional.leaky_relu,
        functional.mish,
        functional.relu,
        functional.selu,
        functional.sigmoid,
        functional.silu,
        functional.softplus,
        functional.tanh,
        torch.celu,
        torch.exp,
        torch.relu,
        torch.selu,
        torch.sigmoid,
        torch.tanh,
        torch.Tensor.exp,
        torch.Tensor.relu,
        torch.Tensor.sigmoid,
        torch.Tensor.tanh,
    }
)
"""Functions of one tensor and of numbers that act on each of its elements by itself."""


class OneSlope(TorchFunctionMode):
    """Inside this mode an activation's slope is computed once and multiplied with every tangent.

    PyTorch's forward-mode rule evaluates the derivative, exponential and all, for each tangent anew.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Split primal and tangent of an elementwise function; pass everything else on."""
        options = dict(kwargs or {})
        if func not in ELEMENTWISE or not args or options.get("inplace"):
            return func(*args, **options)
        x, *rest = args
        primal, tangent = forward_ad.unpack_dual(x)
        if tangent is None or any(isinstance(other, torch.Tensor) for other in (*rest, *options.values())):
            return func(*args, **options)
        ones = torch.ones_like(primal)
        output, slope = jvp(lambda point: func(point, *rest, **options), (primal,), (ones,))  # type: ignore[misc]
        return forward_ad.make_dual(output, tangent * slope)
