"""Training runs on Lightning: steps, checkpoints, exact resume."""

from curvae.training.errors import TrainingError
from curvae.training.loop import Outcome, train

__all__ = ["Outcome", "TrainingError", "train"]
