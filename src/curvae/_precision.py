"""Where precision is decided: autocast may shrink the network, never the regulariser."""

from __future__ import annotations

import torch

from curvae._typing import Tensor


def full_precision(tensor: Tensor) -> torch.autocast:
    """A context in which autocast leaves alone what is computed from ``tensor``."""
    return torch.autocast(tensor.device.type, enabled=False)


def at_least_float32(tensor: Tensor) -> Tensor:
    """Lift half precision to float32; leave float32 and float64 as they are."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor
