"""An exponential moving average of the weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from curvae._typing import Tensor


class WeightAverage:
    r"""$\bar w\leftarrow a_t\bar w+(1-a_t)w$ after each step, with $a_t=\min(a,\tfrac{1+t}{10+t})$ after t steps.

    The decay grows to $a$, so that the first weights are soon forgotten. Running statistics are not averaged: they are
    estimated anew for the weights that are measured. The averages are ``weights``, by name.

    Example:
        >>> layer = nn.Linear(1, 1, bias=False)
        >>> average, before = WeightAverage(layer, 0.9), layer.weight.item()
        >>> _ = layer.weight.data.add_(1.0)
        >>> average.update(layer, 1)
        >>> with average.applied(layer):
        ...     round(layer.weight.item() - before, 4)      # a = 2/11
        0.8182
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.weights: dict[str, Tensor] = {name: value.detach().clone() for name, value in model.named_parameters()}

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Take in the weights after so many steps."""
        current = [value.detach() for value in model.parameters()]
        decay = min(self.decay, (1 + step) / (10 + step))
        get_ema_multi_avg_fn(decay)(list(self.weights.values()), current, None)

    @contextmanager
    def applied(self, model: nn.Module) -> Iterator[None]:
        """The model with the averages for weights, and then with its own again."""
        own = {name: value.data for name, value in model.named_parameters()}
        self._set(model, self.weights)
        try:
            yield
        finally:
            self._set(model, own)

    def keep(self, model: nn.Module) -> None:
        """Give the model the averages for good."""
        # which the trainer has taken off its device again
        there = {name: value.device for name, value in model.named_parameters()}
        self._set(model, {name: value.to(there[name], copy=True) for name, value in self.weights.items()})

    @staticmethod
    def _set(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
        for name, value in model.named_parameters():
            value.data = weights[name]
