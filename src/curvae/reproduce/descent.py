"""The training loop of what is no run of its own: small networks that a measurement needs beside the models."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch

from curvae._typing import Float, Tensor


def descend(parameters: Iterable[Tensor], loss: Callable[[int], Float[Tensor, ""]], steps: int) -> None:
    """Adam with PyTorch's defaults, in place; the loss is that of a step, counted from 0.

    Example:
        >>> x = torch.ones(2, requires_grad=True)
        >>> descend([x], lambda step: x.square().sum(), 10)
        >>> 0.98 < float(x.detach().abs().max()) < 1
        True
    """
    optimiser = torch.optim.Adam(parameters)
    for step in range(steps):
        optimiser.zero_grad()
        loss(step).backward()
        optimiser.step()
