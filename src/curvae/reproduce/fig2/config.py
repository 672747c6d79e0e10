"""What figures 2 and 7 train and measure, as frozen values for each scale."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from curvae.reproduce.sweep.mnist import OVERNIGHT, PAPER, QUICK, SMOKE
from curvae.reproduce.sweep.training import TrainingSettings


@dataclass(frozen=True)
class Setting:
    """One panel of figures 2 and 7: β, d and the size b of the blocks."""

    beta: float
    latents: int
    block: int

    form: ClassVar[str] = "β:d:b with 1 < b < d"

    @classmethod
    def read(cls, text: str) -> Setting:
        """From ``β:d:b``, as ``--set settings=0.4:12:3`` has it.

        Raises:
            ValueError: not that, or blocks that are no blocks of the latents.
        """
        beta, latents, block = text.split(":")
        if not 1 < int(block) < int(latents):
            raise ValueError
        return cls(float(beta), int(latents), int(block))

    def __str__(self) -> str:
        return f"{self.beta:g}:{self.latents}:{self.block}"

    @property
    def name(self) -> str:
        """As the paper captions it."""
        return setting_name(vars(self))


def setting_name(found: Mapping[str, Any]) -> str:
    """Of a setting as a summary has it."""
    return f"β = {found['beta']:g}, d = {found['latents']}, b = {found['block']}"


FIGURE_2 = (Setting(0.2, 8, 2), Setting(0.4, 8, 2), Setting(0.6, 8, 3), Setting(0.8, 20, 3))
FIGURE_7 = (
    Setting(0.2, 8, 2), Setting(0.4, 8, 2), Setting(0.6, 12, 2), Setting(1.0, 8, 2),
    Setting(0.4, 12, 3), Setting(0.6, 8, 3), Setting(0.8, 20, 3),
)  # fmt: skip


@dataclass(frozen=True)
class HeatMaps:
    """Figures 2 and 7.

    Attributes:
        training: of every model.
        settings: the panels; ``--set`` takes β:d:b of each.
        points: held-out images that the statistics are over.
        shown: how many of them the figure shows.
        permutations: random orders of the latents in the test of the blocks.
        resamples: of the bootstrap.
    """

    training: TrainingSettings
    settings: tuple[Setting, ...]
    points: int
    shown: int = 4
    permutations: int = 4999
    resamples: int = 1000


CONFIGS: Mapping[tuple[str, str], HeatMaps] = {
    ("fig2", "smoke"): HeatMaps(SMOKE, FIGURE_2[:1], points=6, shown=2, permutations=99, resamples=20),
    ("fig2", "quick"): HeatMaps(QUICK, FIGURE_2, points=200),
    ("fig2", "overnight"): HeatMaps(OVERNIGHT, FIGURE_2, points=5000),
    ("fig2", "paper"): HeatMaps(PAPER, FIGURE_2, points=5000),
    ("fig7", "smoke"): HeatMaps(SMOKE, FIGURE_7[:2], points=6, shown=2, permutations=99, resamples=20),
    ("fig7", "quick"): HeatMaps(replace(QUICK, seeds=(0,)), FIGURE_7, points=200),
    ("fig7", "overnight"): HeatMaps(OVERNIGHT, FIGURE_7, points=5000),
    ("fig7", "paper"): HeatMaps(PAPER, FIGURE_7, points=5000),
}
"""By figure and scale."""
