"""What the figure trains and measures, as frozen values for each scale."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from curvae.data import is_name
from curvae.errors import InputError
from curvae.reproduce.sweep import TrainingSettings
from curvae.runs import RunConfig

_VAE, _GRAE = {"objective": "beta-vae"}, {"objective": "grae", "estimator": "exact"}
MODELS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "vae-diagonal": ("β-VAE, diagonal", {**_VAE, "structure": "diagonal"}),
    "vae-block": ("β-VAE, blocks of 2", {**_VAE, "structure": "block:2"}),
    "vae-full": ("β-VAE, full", {**_VAE, "structure": "full"}),
    "grae-diagonal": ("GRAE, diagonal", {**_GRAE, "structure": "diagonal"}),
    "grae-block": ("GRAE, blocks of 2", {**_GRAE, "structure": "block:2"}),
    "grae-full": ("GRAE, full", {**_GRAE, "structure": "full"}),
}
"""By the names that ``--set models=…`` takes: what to call a model, and what of a run's configuration makes it."""
AUTOENCODER = "autoencoder"
"""Ordinary, with no regulariser and so without a β."""


@dataclass(frozen=True)
class Disentanglement:
    """The figure.

    Attributes:
        training: of every model.
        models: which, by the names of :data:`MODELS`; the autoencoder is always among them.
        betas: the horizontal axis.
        latents: d.
        control: data of the same factors whose principal directions do not lie along them, or ``none``.
        points: held-out samples that the scores are of.
        jacobians: held-out samples that the orthogonality is measured at.
        predictor: of DCI, ``lasso`` or ``boosting``.
        votes: of FactorVAE's score.
        resamples: of the bootstrap.
    """

    training: TrainingSettings
    models: tuple[str, ...]
    betas: tuple[float, ...]
    latents: int
    control: str
    points: int
    jacobians: int
    predictor: str = "lasso"
    votes: int = 800
    resamples: int = 1000

    def __post_init__(self) -> None:
        unknown = [name for name in self.models if name not in MODELS]
        if unknown:
            raise InputError(f"--set models has {unknown[0]!r}; expected any of {', '.join(MODELS)}")
        if self.predictor not in ("lasso", "boosting"):
            raise InputError(f"--set predictor is {self.predictor!r}; expected lasso or boosting")
        if self.latents < 2:
            raise InputError(f"--set latents is {self.latents}; expected at least 2, to compare them")
        for name, source in (("data", self.training.data), ("control", self.control)):
            drawn = is_name(source) and source.partition(":")[0] in ("sprites", "tilted-sprites", "avatars")
            if not drawn and (name, source) != ("control", "none"):
                raise InputError(
                    f"{name} is {source!r}, whose factors are not known; expected sprites, tilted-sprites or avatars"
                )

    @property
    def controlled(self) -> tuple[str, ...]:
        """The models that are trained on the control's data too: those with a diagonal Σ."""
        return tuple(name for name in self.models if name.endswith("diagonal")) if self.control != "none" else ()


def runs(config: Disentanglement, data: str, models: tuple[str, ...]) -> dict[tuple[str, float | None, int], RunConfig]:
    """Every model on some data, by name, β and seed; the autoencoder has no β."""
    training, latents = config.training, config.latents
    found: dict[tuple[str, float | None, int], RunConfig] = {
        (name, beta, seed): training.run(seed, beta=beta, latents=latents, **{**MODELS[name][1], "data": data})
        for name in models
        for beta in config.betas
        for seed in training.seeds
    }
    return found


def autoencoders(config: Disentanglement) -> dict[tuple[str, float | None, int], RunConfig]:
    """The models without a β."""
    training = config.training
    return {(AUTOENCODER, None, seed): training.autoencoder(seed, config.latents) for seed in training.seeds}


_ALL = tuple(MODELS)
_SPRITES: dict[str, Any] = {"data": "sprites", "network": "mlp", "size": 32}

CONFIGS: Mapping[tuple[str, str], Disentanglement] = {
    ("disentanglement", "smoke"): Disentanglement(
        TrainingSettings(4, 0.05, seeds=(0,), data="sprites:800", network="mlp", size=16, batch_size=16),
        ("vae-diagonal", "grae-diagonal", "grae-full"),
        (0.3,),
        latents=2,
        control="tilted-sprites:800",
        points=80,
        jacobians=4,
        votes=20,
        resamples=20,
    ),
    ("disentanglement", "quick"): Disentanglement(
        TrainingSettings(1000, 0.25, seeds=(0, 1, 2), lr=2e-3, schedule="cosine", **_SPRITES),
        _ALL,
        (0.3, 1.0, 3.0),
        latents=6,
        control="tilted-sprites",
        points=2000,
        jacobians=100,
    ),
    ("disentanglement", "overnight"): Disentanglement(
        TrainingSettings(8000, 0.5, seeds=tuple(range(8)), lr=1e-3, schedule="cosine", **_SPRITES),
        _ALL,
        (0.03, 0.1, 0.3, 1.0, 3.0),
        latents=6,
        control="tilted-sprites",
        points=2000,
        jacobians=500,
    ),
    ("disentanglement", "paper"): Disentanglement(
        TrainingSettings(50_000, 1.0, seeds=tuple(range(8)), data="sprites"),
        _ALL,
        (0.1, 0.3, 1.0, 3.0, 10.0),
        latents=10,
        control="tilted-sprites",
        points=2000,
        jacobians=500,
    ),
}
"""By figure and scale; the paper has no such figure, its scale is that of its other ones on 64 × 64 images."""
