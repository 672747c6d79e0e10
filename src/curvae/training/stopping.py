"""The best held-out value so far, the model that had it, and when to wait no longer."""

from __future__ import annotations

from typing import Any

from torch import nn

from curvae._typing import Tensor
from curvae.runs.export import check_tensors
from curvae.runs.schema import amount, anything, count, mapping, number, record

BEST = record({"step": count, "value": number, "waited": amount, "model": mapping(anything)})
"""What a checkpoint holds of it."""


class EarlyStop:
    """Ends training after ``patience`` held-out values in a row that are no better than the best before them.

    ``step`` (0 before the first), ``value`` and ``model`` are those of the best one, ``waited`` the values since.

    Example:
        >>> stop, layer = EarlyStop(patience=2), nn.Linear(1, 1)
        >>> for step, value in enumerate((3.0, 2.0, 2.5, 2.0), start=1):
        ...     stop.look(value, step, layer)
        >>> stop.due, stop.step
        (True, 2)
    """

    def __init__(self, patience: int) -> None:
        self.patience = patience
        self.step, self.value, self.waited = 0, float("inf"), 0
        self.model: dict[str, Tensor] = {}

    @property
    def due(self) -> bool:
        """Whether training should end."""
        return self.waited >= self.patience

    def look(self, value: float, step: int, model: nn.Module) -> None:
        """Take in a held-out value of the model as it is now."""
        if value < self.value:
            self.step, self.value, self.waited = step, value, 0
            self.model = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
        else:
            self.waited += 1

    def state(self) -> dict[str, Any] | None:
        """For a checkpoint; None before the first value."""
        if not self.model:
            return None
        return {"step": self.step, "value": self.value, "waited": self.waited, "model": self.model}

    def restore(self, state: dict[str, Any], model: nn.Module) -> None:
        """Go on from a checkpoint's.

        Raises:
            InputError: it is not of this model.
        """
        check_tensors(state["model"], model.state_dict())
        self.step, self.value, self.waited = state["step"], state["value"], int(state["waited"])
        self.model = {name: tensor.clone() for name, tensor in state["model"].items()}
