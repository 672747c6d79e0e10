"""The training loop of what is no run of its own: small networks that a measurement needs beside the models."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch

from curvae._typing import Float, Tensor


def descend(
    parameters: Iterable[Tensor],
    loss: Callable[[int], Float[Tensor, ""]],
    steps: int,
    rate: Callable[[int], float] = lambda _: 1e-3,
) -> None:
    """Adam with PyTorch's defaults, in place; loss and learning rate are those of a step, counted from 0.

    Example:
        >>> x = torch.ones(2, requires_grad=True)
        >>> descend([x], lambda step: x.square().sum(), 500, rate=lambda step: 0.1 if step < 400 else 0.01)
        >>> float(x.detach().abs().max()) < 1e-3
        True
    """
    optimiser = torch.optim.Adam(parameters)
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = rate(step)
        optimiser.zero_grad()
        loss(step).backward()
        optimiser.step()
