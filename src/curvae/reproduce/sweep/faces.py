"""What table 1 and figure 4 share: the models of the paper's claim, their training, and what both measure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from curvae._typing import Tensor
from curvae.autoencoder import Autoencoder
from curvae.data import Dataset
from curvae.data.pixels import as_images
from curvae.errors import InputError
from curvae.metrics.codes import batches
from curvae.reproduce.sweep.training import TrainingSettings
from curvae.runs import RunConfig

PAPER = TrainingSettings(50_000, 1.0, seeds=(0, 1, 2, 3, 4), data="avatars")
# 0.8 s a step of a β-VAE and 1.4 s one of GRAE≈, on one core: thirty models are seven hours on two
OVERNIGHT = TrainingSettings(1500, 0.125, seeds=(0, 1, 2), data="avatars")
QUICK = TrainingSettings(400, 1 / 16, seeds=(0, 1), data="avatars", batch_size=32)
SMOKE = TrainingSettings(4, 1 / 128, seeds=(0,), data="avatars:60", batch_size=4)
QUICK_BETAS = (0.02, 0.1, 1.0)
OVERNIGHT_BETAS = (0.02, 0.1, 0.2, 0.4, 1.0)

REFERENCE, CHALLENGER = "β-VAE", "GRAE≈"
VAE = {"objective": "beta-vae", "structure": "diagonal"}
GRAE = {"objective": "grae", "structure": "diagonal", "estimator": "columns:1"}
MODELS: Mapping[str, Mapping[str, Any]] = {REFERENCE: VAE, CHALLENGER: GRAE}
"""The two that the paper compares: what of a run's configuration makes each."""


def sweep_runs(
    training: TrainingSettings, betas: tuple[float, ...], latents: int, seeds: tuple[int, ...]
) -> dict[tuple[str, float, int], RunConfig]:
    """Both models, by name, β and seed."""
    return {
        (name, beta, seed): training.run(seed, beta=beta, latents=latents, **choices)
        for beta in betas
        for name, choices in MODELS.items()
        for seed in seeds
    }


def check_images(figure: str, dataset: Dataset) -> None:
    """Refuse data that are not images, or not on the scale of pixels, to which samples are cut off.

    Raises:
        InputError: so they are.
    """
    shape = dataset.shape
    if len(shape) != 3 or shape[0] not in (1, 3):
        raise InputError(f"{figure} is made of images, but the data have shape {tuple(shape)}; give images by --data")
    if dataset.train.dtype != torch.uint8:
        for half in (dataset.train, dataset.test):
            as_images(half[:])


@torch.no_grad()
def reconstruction_error(model: Autoencoder, data: Tensor) -> float:
    """Mean squared error of a pixel of ``[N, *D]``, from the code without noise, of a model in eval mode.

    Example:
        >>> from torch import nn
        >>> same = nn.Identity()
        >>> reconstruction_error(Autoencoder(same, same, latents=3, features=3), torch.rand(5, 3))
        0.0
    """
    parts = [(model.reconstruct(x) - x).double().square().flatten(1).mean(1) for x in batches(model, data, 100)]
    return float(torch.cat(parts).mean())
