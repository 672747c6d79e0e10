"""Array types. Letters: B batch, D outputs (``*D`` where they have a shape), d latents, K probes, S samples."""

from __future__ import annotations

from jaxtyping import Float, Int, UInt8
from torch import Tensor

__all__ = ["Float", "Int", "Tensor", "UInt8"]
