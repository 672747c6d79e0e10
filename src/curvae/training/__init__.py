"""Training runs on Lightning: steps, checkpoints, exact resume."""

from curvae._extras import require

require("curvae.training needs", "lightning", "rich", "filelock")

from curvae.training.errors import TrainingError
from curvae.training.job import Outcome
from curvae.training.loop import train
from curvae.training.snapshots import snapshot
from curvae.training.widths import fit_widths

__all__ = ["Outcome", "TrainingError", "fit_widths", "snapshot", "train"]
