"""What every objective is."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch

from curvae._typing import Tensor
from curvae.autoencoder import Model
from curvae.objectives.terms import Terms


@runtime_checkable
class Objective(Protocol):
    """Anything that makes named terms of a model and a batch, to be minimised.

    Example:
        >>> from curvae.objectives import BetaVAE
        >>> isinstance(BetaVAE(beta=0.2), Objective)
        True
    """

    def __call__(self, model: Model, x: Tensor, generator: torch.Generator | None = None) -> Terms:
        """The named terms ``[B]`` of a batch ``x`` ``[B, *D]``; what is drawn comes from ``generator``."""
