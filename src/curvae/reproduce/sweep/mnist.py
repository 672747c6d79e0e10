"""What the figures on MNIST train: one set of steps, width and seeds for each scale, so that they share their runs."""

from __future__ import annotations

from curvae.autoencoder import Autoencoder
from curvae.reproduce.sweep.training import TrainingSettings
from curvae.runs import Run, RunConfig, load_model
from curvae.training import snapshot

PAPER = TrainingSettings(20_000, 1.0, seeds=(0, 1, 2))
# 0.11 s a step of a β-VAE on one core: a run is forty minutes
OVERNIGHT = TrainingSettings(20_000, 0.125, seeds=(0, 1))
QUICK = TrainingSettings(600, 0.125, seeds=(0, 1))
SMOKE = TrainingSettings(8, 1 / 32, seeds=(0,))


def milestones(config: RunConfig) -> tuple[int, ...]:
    """Steps after which a β-VAE's model is kept for figure 3: 1 %, 10 % and 30 % of its training.

    They depend on the configuration alone, so that every figure finds them whichever of them trained the run.

    Example:
        >>> milestones(RunConfig(data="mnist", objective="beta-vae", steps=20_000))
        (200, 2000, 6000)
    """
    if config.objective != "beta-vae":
        return ()
    return tuple(sorted({config.steps * percent // 100 for percent in (1, 10, 30)} - {0}))


def along_training(run: Run) -> dict[int, Autoencoder]:
    """A run's models by step: of its milestones, which only β-VAEs have, and of its end."""
    models = {step: load_model(snapshot(run.path, step)) for step in milestones(run.config)}
    return {**models, run.config.steps: run.model()}
