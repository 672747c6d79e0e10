"""What table 1 and figure 4 train and measure, as frozen values for each scale."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from curvae.errors import InputError
from curvae.experiments.sweeps.training import BETAS, Training


@dataclass(frozen=True)
class Samples:
    """Table 1 and App. G.

    Attributes:
        training: of every model; the table shows the first seed.
        betas: one row each.
        latents: d.
        rows: samples of each model at each β, from the same z for all models.
        points: held-out images for the reconstruction error beside the pictures.
    """

    training: Training
    betas: tuple[float, ...]
    latents: int
    rows: int = 6
    points: int = 500


@dataclass(frozen=True)
class Quality:
    """Figure 4.

    Attributes:
        training: of every model.
        betas: the horizontal axis.
        latents: d.
        images: drawn from each model for the Fréchet distance, against as many held-out ones.
        points: held-out images for the reconstruction error.
        objective_points: held-out images for the objectives, which need the whole Jacobian.
        components: of the mixture that is fitted to the codes after training.
        codes: training images whose codes it is fitted to.
        features: ``lite0``, ``inception``, or the file of Inception's weights.
        side: pixels that images are brought to for Lite0.
        ablation_beta: β of the models that differ from GRAE≈ in one thing; one of ``betas`` or not.
        ablation: which of these are trained, by the names in :mod:`curvae.experiments.faces.models`, or ``none``.
        ablation_seeds: how many of the seeds they are trained with.
    """

    training: Training
    betas: tuple[float, ...]
    latents: int
    images: int
    points: int
    objective_points: int
    codes: int
    components: int = 10
    features: str = "lite0"
    side: int = 128
    ablation_beta: float = 0.1
    ablation: tuple[str, ...] = ("k4", "fraction", "exact", "full", "lanczos", "half", "double", "no-norm")
    ablation_seeds: int = 5

    def __post_init__(self) -> None:
        if self.codes < 2:
            raise InputError(f"--set codes is {self.codes}; expected at least 2, to fit a mixture to")


Config = Samples | Quality

_PAPER = Training(50_000, 1.0, seeds=(0, 1, 2, 3, 4), data="avatars")
_QUICK = Training(400, 1 / 16, seeds=(0, 1), data="avatars", batch_size=32)
_SMOKE = Training(4, 1 / 128, seeds=(0,), data="avatars:60", batch_size=4)
_QUICK_BETAS = (0.02, 0.1, 1.0)

CONFIGS: Mapping[tuple[str, str], Config] = MappingProxyType(
    {
        ("table1", "smoke"): Samples(_SMOKE, (0.1, 1.0), latents=4, rows=2, points=6),
        ("table1", "quick"): Samples(_QUICK, _QUICK_BETAS, latents=32),
        ("table1", "paper"): Samples(_PAPER, BETAS, latents=128, points=2000),
        ("fig4", "smoke"): Quality(
            replace(_SMOKE, seeds=(0, 1)),
            (0.1, 1.0),
            latents=4,
            images=6,
            points=6,
            objective_points=2,
            codes=20,
            components=2,
            side=32,
            ablation=("k4", "no-norm"),
            ablation_seeds=1,
        ),
        ("fig4", "quick"): Quality(
            _QUICK,
            _QUICK_BETAS,
            latents=32,
            images=500,
            points=500,
            objective_points=16,
            codes=2000,
            side=64,
            ablation=("none",),  # four columns alone take as long as three other models
            ablation_seeds=1,
        ),
        ("fig4", "paper"): Quality(
            _PAPER,
            BETAS,
            latents=128,
            images=10_000,
            points=2000,
            objective_points=200,
            codes=10_000,
            # without "exact" and "full": all 128 columns of 64 images hold about 120 GB at this width
            ablation=("k4", "fraction", "lanczos", "half", "double", "no-norm"),
        ),
    }
)
"""By figure and scale."""
