"""The one call by which an estimator trains."""

from __future__ import annotations

import math

import torch

from curvae._typing import Float, Tensor
from curvae.autoencoder import Autoencoder
from curvae.data import Batches
from curvae.objectives import GRAE, BetaVAE
from curvae.training.noise import step_generator


def train(
    model: Autoencoder,
    objective: GRAE | BetaVAE,
    x: Float[Tensor, "N C"],
    *,
    steps: int,
    batch_size: int,
    lr: float,
    falling: bool,
    seed: int,
) -> None:
    """Minimise an objective over a table, in place."""
    model.train()
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    for step, batch in enumerate(Batches(x, min(batch_size, len(x)), seed, steps=steps)):
        loss = objective(model, batch, step_generator(seed, step, x.device)).mean()
        optimizer.zero_grad()
        loss.backward()
        for group in optimizer.param_groups:
            group["lr"] = lr * (0.5 * (1 + math.cos(math.pi * step / steps)) if falling else 1.0)
        optimizer.step()
    model.eval()
