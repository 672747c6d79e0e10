"""What the MNIST experiments train and measure, as frozen values: one set for each figure and scale."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from curvae.errors import InputError
from curvae.experiments.sweeps.training import BETAS, Training
from curvae.runs import RunConfig


@dataclass(frozen=True)
class Setting:
    """One panel of figures 2 and 7: β, d and the size b of the blocks."""

    beta: float
    latents: int
    block: int

    @property
    def name(self) -> str:
        """As the paper captions it."""
        return f"β = {self.beta:g}, d = {self.latents}, b = {self.block}"


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
        settings: the panels.
        points: held-out images that the statistics are over.
        shown: how many of them the figure shows.
        permutations: random orders of the latents in the test of the blocks.
        resamples: of the bootstrap.
    """

    training: Training
    settings: tuple[Setting, ...]
    points: int
    shown: int = 4
    permutations: int = 4999
    resamples: int = 1000


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

    training: Training
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


@dataclass(frozen=True)
class Comparison:
    """Training with GRAE against training with the β-VAE.

    Attributes:
        training: of every model.
        points: held-out images that are evaluated.
        draws: of the noise in (2) for each image.
        samples: importance samples for each image.
        generated: images drawn from each model for the Fréchet distance on digit features, against as many held-out
            ones.
        lite0_images: the same for EfficientNet-Lite0 features, whose extractor takes 15 ms an image on a CPU.
        classifier_steps: of the digit classifier whose features the distance uses.
        beta: β of all models.
        latents: d.
        orthogonality: weight of the orthogonality penalty, where it is used.
    """

    training: Training
    points: int
    draws: int
    samples: int
    generated: int
    lite0_images: int
    classifier_steps: int
    beta: float = 0.2
    latents: int = 12
    orthogonality: float = 1.0


_PAPER = Training(20_000, 1.0, seeds=(0, 1, 2))
_QUICK = Training(600, 0.125, seeds=(0, 1))
_SMOKE = Training(8, 1 / 32, seeds=(0,))
# the exact Jacobian of d = 12 makes a step ten times as long, so these runs are shorter and narrower
_QUICK_COMPARISON = Training(300, 0.0625, seeds=(0, 1))


Config = HeatMaps | Curves | Comparison

CONFIGS: Mapping[tuple[str, str], Config] = MappingProxyType(
    {
        ("fig2", "smoke"): HeatMaps(_SMOKE, FIGURE_2[:1], points=6, shown=2, permutations=99, resamples=20),
        ("fig2", "quick"): HeatMaps(_QUICK, FIGURE_2, points=200),
        ("fig2", "paper"): HeatMaps(_PAPER, FIGURE_2, points=5000),
        ("fig7", "smoke"): HeatMaps(_SMOKE, FIGURE_7[:2], points=6, shown=2, permutations=99, resamples=20),
        ("fig7", "quick"): HeatMaps(replace(_QUICK, seeds=(0,)), FIGURE_7, points=200),
        ("fig7", "paper"): HeatMaps(_PAPER, FIGURE_7, points=5000),
        ("fig3", "smoke"): Curves(
            _SMOKE, (0.2, 0.8), points=6, hessian_points=2, draws=2, blocks=(1, 2), latents=4, resamples=20
        ),
        ("fig3", "quick"): Curves(
            replace(_QUICK, seeds=(0,)), (0.05, 0.2, 0.4, 1.0), points=300, hessian_points=32, draws=8
        ),
        ("fig3", "paper"): Curves(_PAPER, BETAS, points=5000, hessian_points=500, draws=32),
        ("comparison", "smoke"): Comparison(
            _SMOKE, points=20, draws=1, samples=2, generated=100, lite0_images=10, classifier_steps=5, latents=3
        ),
        ("comparison", "quick"): Comparison(
            _QUICK_COMPARISON,
            points=500,
            draws=8,
            samples=50,
            generated=2000,
            lite0_images=400,
            classifier_steps=400,
            latents=8,
        ),
        ("comparison", "paper"): Comparison(
            _PAPER, points=5000, draws=32, samples=500, generated=10_000, lite0_images=10_000, classifier_steps=1500
        ),
    }
)
"""By figure and scale."""


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
