"""Figure 4 in numbers: how good each model's samples are, and the answer to the paper's claim at each β."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from curvae._typing import Float, Tensor
from curvae.autoencoder import Autoencoder
from curvae.data import Dataset
from curvae.metrics import codes, evaluate, fit_mixture
from curvae.metrics.codes import batches
from curvae.metrics.sharpness import sharpness
from curvae.reproduce.fig4.config import Quality
from curvae.reproduce.intervals import paired
from curvae.reproduce.sweep.faces import CHALLENGER, REFERENCE, reconstruction_error
from curvae.reproduce.sweep.frechet import FrechetReference
from curvae.runs import Run, build_structure, likelihood_of
from curvae.runs.device import generator

MEASURES: Mapping[str, str] = {
    "frechet_prior": "FD, z from the prior",
    "frechet_mixture": "FD, z from a mixture",
    "frechet_reconstruction": "FD, reconstructed training images",
    "sharpness_prior": "sharpness, prior",
    "sharpness_mixture": "sharpness, mixture",
    "mse": "squared error per pixel",
    "beta_vae": "(2)",
    "taylor": "(7)",
    "grae": "closed form, diagonal",
    "grae_full": "(13)",
    "seconds": "training time, s",
}
"""What is measured of each model, and what to call it."""

Draw = Callable[[int], Float[Tensor, "n d"]]
_BATCH = 100
# the Jacobian of d columns of a 64 × 64 image takes 6 MB per sample
_JACOBIANS = 8


@dataclass(frozen=True)
class SampleEvaluator:
    """Measures models, all in the same way and with the same noise.

    Attributes:
        dataset: images.
        config: how much to measure.
        reference: the Fréchet distance.
        device: where.
    """

    dataset: Dataset
    config: Quality
    reference: FrechetReference
    device: torch.device

    def __call__(self, run: Run) -> dict[str, float]:
        """The measures of a finished run, by the keys of ``MEASURES``."""
        model = run.model().to(self.device)
        objectives = self._objectives(run, model)
        return {**self.images(model), **objectives, "seconds": float(run.metrics[-1]["seconds"])}

    def images(self, model: Autoencoder) -> dict[str, float]:
        """Those of them that are of images: the error of reconstructions, distances, and sharpness of samples."""
        prior, mixture = self._prior(model), self._mixture(model)
        found = {"mse": reconstruction_error(model, self.dataset.test[: self.config.points])}
        # with the codes of images themselves, not from a density: what the networks do with those
        found["frechet_reconstruction"] = self.reference.distance(self._reconstructed(model))
        for name, draw in (("prior", prior), ("mixture", mixture)):
            sharp: list[Tensor] = []
            found[f"frechet_{name}"] = self.reference.distance(self._decoded(model, draw, sharp))
            found[f"sharpness_{name}"] = float(torch.cat(sharp).mean())
        return found

    def _objectives(self, run: Run, model: Autoencoder) -> dict[str, float]:
        """Each in the closed form of a diagonal Σ, so that all models are measured alike, and (13)."""
        found = evaluate(
            model,
            self.dataset.test[: self.config.objective_points],
            run.config.beta,
            likelihood_of(run.config, model),
            build_structure("diagonal"),
            generator=generator(0, self.device),
            batch_size=_JACOBIANS,
        )
        return {name: getattr(found, name).mean for name in ("beta_vae", "taylor", "grae", "grae_full")}

    @torch.no_grad()
    def _decoded(self, model: Autoencoder, draw: Draw, sharp: list[Tensor]) -> Iterator[Float[Tensor, "B *D"]]:
        """Decoded draws, whose sharpness is noted as they pass."""
        for start in range(0, self.reference.images, _BATCH):
            images = model.decode(draw(min(_BATCH, self.reference.images - start))).clamp(0, 1)
            sharp.append(sharpness(images).cpu())
            yield images

    @torch.no_grad()
    def _reconstructed(self, model: Autoencoder) -> Iterator[Float[Tensor, "B *D"]]:
        """As many training images as there are samples."""
        for x in batches(model, self.dataset.train[: self.reference.images], _BATCH):
            yield model.reconstruct(x).clamp(0, 1)

    def _prior(self, model: Autoencoder) -> Draw:
        like, noise = next(model.parameters()), generator(0, self.device)
        return lambda n: torch.randn(n, model.latents, generator=noise, dtype=like.dtype, device=like.device)

    def _mixture(self, model: Autoencoder) -> Draw:
        like, noise = next(model.parameters()), torch.Generator().manual_seed(0)
        known = codes(model, self.dataset.train[: self.config.codes])
        with warnings.catch_warnings():
            # that it did not converge: the density is then a little worse, and no measurement wrong
            warnings.simplefilter("ignore")
            density = fit_mixture(known, min(self.config.components, len(known)))
        return lambda n: density.sample(n, noise).to(like)


Measures = Mapping[tuple[str, float, int], Mapping[str, float]]
"""Of every model, by name, β and seed."""
DISTANCES = ("frechet_prior", "frechet_mixture")


def against_beta(found: Measures) -> dict[str, Any]:
    """By measure and β: all values, means and standard deviations, and GRAE≈ less β-VAE of the same seed."""
    betas, seeds = list(dict.fromkeys(beta for _, beta, _ in found)), list(dict.fromkeys(seed for *_, seed in found))

    def values(name: str, key: str, beta: float) -> np.ndarray:
        return np.array([found[name, beta, seed][key] for seed in seeds])

    models = {
        name: {key: [spread(values(name, key, beta)) for beta in betas] for key in MEASURES}
        for name in (REFERENCE, CHALLENGER)
    }
    differences = {
        key: [paired(values(CHALLENGER, key, beta) - values(REFERENCE, key, beta)) for beta in betas]
        for key in MEASURES
    }
    answers = {
        key: [answer(values(CHALLENGER, key, beta), values(REFERENCE, key, beta)) for beta in betas]
        for key in DISTANCES
    }
    return {"measures": dict(MEASURES), "models": models, "differences": differences, "within_spread": answers}


def ablation(found: Mapping[tuple[str, int], Mapping[str, float]], beta: float) -> dict[str, Any]:
    """Every variant's values, from the measures by variant and seed, and how they differ from GRAE≈ of that seed."""
    names, seeds = list(dict.fromkeys(name for name, _ in found)), list(dict.fromkeys(seed for _, seed in found))

    def values(name: str, key: str) -> np.ndarray:
        return np.array([found[name, seed][key] for seed in seeds])

    def compared(name: str, key: str) -> dict[str, Any]:
        own = values(name, key)
        return {**spread(own), "difference": paired(own - values(CHALLENGER, key))}

    models = {name: {key: compared(name, key) for key in MEASURES} for name in names}
    return {"beta": beta, "seeds": seeds, "reference": CHALLENGER, "models": models}


def spread(values: np.ndarray) -> dict[str, Any]:
    """All values, their mean, and their standard deviation over seeds; None of one seed.

    Example:
        >>> spread(np.array([1.0, 3.0]))
        {'values': [1.0, 3.0], 'mean': 2.0, 'sd': 1.4142135623730951}
    """
    sd = float(values.std(ddof=1)) if len(values) > 1 else None
    return {"values": values.tolist(), "mean": float(values.mean()), "sd": sd}


def answer(challenger: np.ndarray, reference: np.ndarray) -> dict[str, Any]:
    """Whether two models' means differ by no more than one model differs from itself, with another seed.

    ``spread`` is the standard deviation of one model over seeds, pooled over both models; ``ratio`` is the distance of
    the means over it, ``within`` whether that is ≤ 1. None with one seed, which has no spread.

    Example:
        >>> answer(np.array([1.0, 3.0]), np.array([2.0, 4.0]))["within"]
        True
    """
    gap = abs(float(challenger.mean() - reference.mean()))
    if len(reference) < 2:
        return {"gap": gap, "spread": None, "ratio": None, "within": None}
    pooled = float(np.sqrt((challenger.var(ddof=1) + reference.var(ddof=1)) / 2))
    return {"gap": gap, "spread": pooled, "ratio": gap / pooled if pooled else None, "within": gap <= pooled}


def sentence(answers: Sequence[Mapping[str, Any]], betas: Sequence[float]) -> str:
    """The answer in words.

    Example:
        >>> sentence([{"within": True}, {"within": False}], [0.1, 1.0])
        'within the spread of the seeds at 1 of 2 β: yes at 0.1; no at 1'
    """
    if any(one["within"] is None for one in answers):
        return "no answer: one seed has no spread"
    yes = [f"{beta:g}" for one, beta in zip(answers, betas, strict=True) if one["within"]]
    no = [f"{beta:g}" for one, beta in zip(answers, betas, strict=True) if not one["within"]]
    parts = [f"{word} at {', '.join(some)}" for word, some in (("yes", yes), ("no", no)) if some]
    return f"within the spread of the seeds at {len(yes)} of {len(betas)} β: {'; '.join(parts)}"
