"""Where precision is decided: autocast may shrink the network, never the regulariser."""

from __future__ import annotations

import torch
from torch import nn

from curvae._typing import Tensor

_HALF = (torch.float16, torch.bfloat16)


def full_precision(tensor: Tensor) -> torch.autocast:
    """A context in which autocast leaves alone what is computed from ``tensor``."""
    return torch.autocast(tensor.device.type, enabled=False)


def at_least_float32(tensor: Tensor) -> Tensor:
    """Lift half precision to float32; leave float32 and float64 as they are."""
    return tensor.float() if tensor.dtype in _HALF else tensor


def lifted(codes: Tensor) -> Tensor:
    """Codes that a network has made under autocast, in float32: half of their digits are for its decoder, no more.

    Outside autocast a decoder may want the type that it is given.
    """
    return at_least_float32(codes) if torch.is_autocast_enabled(codes.device.type) else codes


def half_weights(module: nn.Module) -> torch.dtype | None:
    """float16 or bfloat16 if that is the type of a module's weights, else ``None``."""
    dtype = next((weight.dtype for weight in module.parameters() if weight.is_floating_point()), None)
    return dtype if dtype in _HALF else None


def as_weights(tensor: Tensor, module: nn.Module) -> Tensor:
    """The tensor in the type of a half-precision module; as it is for any other."""
    dtype = half_weights(module)
    return tensor if dtype is None or not tensor.is_floating_point() else tensor.to(dtype)
