"""What figure 3 trains and measures, as frozen values for each scale."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from curvae.errors import InputError
from curvae.reproduce.sweep.mnist import OVERNIGHT, PAPER, QUICK, SMOKE
from curvae.reproduce.sweep.training import BETAS, TrainingSettings


@dataclass(frozen=True)
class Curves:
    """Figure 3 and App. F.

    Attributes:
        training: of every model.
        betas: the horizontal axis.
        blocks: sizes b of the blocks, one panel each.
        latents: d.
        points: held-out images that are evaluated.
        hessian_points: how many of them are evaluated with the exact Hessian as well.
        draws: of the noise in (2) for each image, even: they come in pairs ±ε.
        resamples: of the bootstrap.
    """

    training: TrainingSettings
    betas: tuple[float, ...]
    points: int
    hessian_points: int
    draws: int
    blocks: tuple[int, ...] = (1, 2, 3)
    latents: int = 12
    resamples: int = 1000

    def __post_init__(self) -> None:
        if self.draws < 2 or self.draws % 2:
            raise InputError(f"draws is {self.draws}; expected an even number, as they come in pairs ±ε")


CONFIGS: Mapping[tuple[str, str], Curves] = {
    ("fig3", "smoke"): Curves(
        SMOKE, (0.2, 0.8), points=6, hessian_points=2, draws=2, blocks=(1, 2), latents=4, resamples=20
    ),
    ("fig3", "quick"): Curves(
        replace(QUICK, seeds=(0,)), (0.05, 0.2, 0.4, 1.0), points=300, hessian_points=32, draws=8
    ),
    ("fig3", "overnight"): Curves(OVERNIGHT, (0.02, 0.1, 0.2, 0.4, 1.0), points=5000, hessian_points=500, draws=8),
    ("fig3", "paper"): Curves(PAPER, BETAS, points=5000, hessian_points=500, draws=32),
}
"""By figure and scale."""
