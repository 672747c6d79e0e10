"""Array types. Letters: B batch, D outputs (``*D`` where they have a shape), d latents, K probes, S samples."""

from __future__ import annotations

from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

__all__ = ["Bool", "Float", "Int", "Tensor", "UInt8"]
