"""What the comparison trains and measures, as frozen values for each scale."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from curvae.errors import InputError
from curvae.reproduce.sweep.mnist import OVERNIGHT, PAPER, SMOKE
from curvae.reproduce.sweep.training import TrainingSettings

REFERENCE = "β-VAE, diagonal"


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
        models: which are trained, by the names that :func:`variants` knows; ``vae`` is what all are compared to.
    """

    training: TrainingSettings
    points: int
    draws: int
    samples: int
    generated: int
    lite0_images: int
    classifier_steps: int
    beta: float = 0.2
    latents: int = 12
    orthogonality: float = 1.0
    models: tuple[str, ...] = (
        "vae", "vae-full", "full", "block", "diagonal", "block-orthogonal", "diagonal-orthogonal", "column",
        "column-eighth", "two-columns", "two-columns-orthogonal",
    )  # fmt: skip

    def __post_init__(self) -> None:
        known = _variants(self.orthogonality)
        if "vae" not in self.models or any(name not in known for name in self.models):
            given = ",".join(self.models)
            raise InputError(f"--set models is {given!r}; expected vae and any others of {', '.join(known)}")


def variants(config: Comparison) -> dict[str, dict[str, Any]]:
    """The models that are compared: what of a run's configuration makes each, by title."""
    known = _variants(config.orthogonality)
    return dict(known[name] for name in config.models)


def _variants(orthogonality: float) -> Mapping[str, tuple[str, dict[str, Any]]]:
    """Title and choices of every model, by the name that ``--set models=…`` takes."""
    vae, grae, penalty = {"objective": "beta-vae"}, {"objective": "grae"}, {"orthogonality": orthogonality}
    block, diagonal = {**grae, "structure": "block:2"}, {**grae, "structure": "diagonal"}
    two_columns = {**diagonal, "estimator": "columns:2"}
    return {
        "vae": (REFERENCE, {**vae, "structure": "diagonal"}),
        "vae-full": ("β-VAE, full", {**vae, "structure": "full"}),
        "vae-antithetic": (
            "β-VAE, antithetic pair",
            {**vae, "structure": "diagonal", "samples": 2, "antithetic": True},
        ),
        "full": ("GRAE, full", {**grae, "structure": "full"}),
        "block": ("GRAE, block:2", block),
        "diagonal": ("GRAE, diagonal", diagonal),
        "block-orthogonal": ("GRAE, block:2 + orthogonality", {**block, **penalty}),
        "diagonal-orthogonal": ("GRAE, diagonal + orthogonality", {**diagonal, **penalty}),
        "column": ("GRAE≈, one column", {**diagonal, "estimator": "columns:1"}),
        "column-eighth": ("GRAE≈, one column on 1/8", {**diagonal, "estimator": "fraction:1/8:columns:1"}),
        "sixteenth": ("GRAE, diagonal, on 1/16", {**diagonal, "estimator": "fraction:1/16:exact"}),
        "full-sixteenth": ("GRAE, full, on 1/16", {**grae, "structure": "full", "estimator": "fraction:1/16:exact"}),
        "secant": ("GRAE, one secant", {**diagonal, "estimator": "secants:1"}),
        "two-columns": ("GRAE≈, two columns", two_columns),
        "two-columns-orthogonal": ("GRAE≈, two columns + orthogonality", {**two_columns, **penalty}),
    }


# the exact Jacobian of d = 12 makes a step ten times as long, so these runs are shorter and narrower
_QUICK = TrainingSettings(300, 0.0625, seeds=(0, 1))
_CHEAP = ("vae", "vae-full", "vae-antithetic", "column", "sixteenth", "full-sixteenth", "secant", "two-columns")

CONFIGS: Mapping[tuple[str, str], Comparison] = {
    ("comparison", "smoke"): Comparison(
        SMOKE, points=20, draws=1, samples=2, generated=100, lite0_images=10, classifier_steps=5, latents=3
    ),
    ("comparison", "quick"): Comparison(
        _QUICK, points=500, draws=8, samples=50, generated=2000, lite0_images=400, classifier_steps=400, latents=8
    ),
    # without what needs all columns of every image: one such run is a night of its own
    ("comparison", "overnight"): Comparison(
        replace(OVERNIGHT, seeds=(0, 1, 2)), 5000, 32, 200, 10_000, 2000, classifier_steps=1500, models=_CHEAP
    ),
    ("comparison", "paper"): Comparison(
        PAPER, points=5000, draws=32, samples=500, generated=10_000, lite0_images=10_000, classifier_steps=1500
    ),
}
"""By figure and scale."""
