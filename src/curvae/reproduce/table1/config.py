"""What table 1 trains and shows, as frozen values for each scale."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from curvae.reproduce.sweep.faces import OVERNIGHT, OVERNIGHT_BETAS, PAPER, QUICK, QUICK_BETAS, SMOKE
from curvae.reproduce.sweep.training import BETAS, TrainingSettings


@dataclass(frozen=True)
class SampleGrid:
    """Table 1 and App. G.

    Attributes:
        training: of every model; the table shows the first seed.
        betas: one row each.
        latents: d.
        rows: samples of each model at each β, from the same z for all models.
        points: held-out images for the reconstruction error beside the pictures.
    """

    training: TrainingSettings
    betas: tuple[float, ...]
    latents: int
    rows: int = 6
    points: int = 500


CONFIGS: Mapping[tuple[str, str], SampleGrid] = {
    ("table1", "smoke"): SampleGrid(SMOKE, (0.1, 1.0), latents=4, rows=2, points=6),
    ("table1", "quick"): SampleGrid(QUICK, QUICK_BETAS, latents=32),
    ("table1", "overnight"): SampleGrid(OVERNIGHT, OVERNIGHT_BETAS, latents=128, points=2000),
    ("table1", "paper"): SampleGrid(PAPER, BETAS, latents=128, points=2000),
}
"""By figure and scale."""
