"""Training with GRAE against training with the β-VAE: what is lost and what is gained by dropping the noise?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from curvae._typing import Float, Tensor
from curvae.autoencoder import Autoencoder
from curvae.metrics import Implied, active_units, at_unit_beta, evaluate, importance_weighted_nll
from curvae.reproduce.comparison.config import REFERENCE, Comparison, variants
from curvae.reproduce.intervals import paired
from curvae.reproduce.sweep.frechet import BATCH, FrechetReference
from curvae.runs import Run, RunConfig, build_likelihood, build_structure
from curvae.runs.device import generator

MEASURES: Mapping[str, str] = {
    "beta_vae": "(2)",
    "taylor": "(7)",
    "grae": "closed form of its family",
    "grae_full": "(13)",
    "nll": "IW-NLL, nats",
    "mse": "squared error per pixel",
    "active": "active units",
    "frechet": "Fréchet distance (digit features)",
    "frechet_lite0": "Fréchet distance (EfficientNet-Lite0 features)",
    "seconds": "training time, s",
}
"""What is measured of each model, and what to call it."""


def runs(config: Comparison) -> dict[tuple[str, int], RunConfig]:
    """Every model, by its variant's name and its seed."""
    training = config.training
    return {
        (name, seed): training.run(seed, beta=config.beta, latents=config.latents, **choices)
        for name, choices in variants(config).items()
        for seed in training.seeds
    }


@dataclass(frozen=True)
class ModelEvaluator:
    """Measures models, all in the same way and with the same noise.

    Attributes:
        data: the held-out images.
        config: how much to measure.
        references: the Fréchet distances, by the keys of ``MEASURES``; those not here are None for every model.
        device: where.
    """

    data: Tensor
    config: Comparison
    references: Mapping[str, FrechetReference]
    device: torch.device

    def __call__(self, run: Run) -> dict[str, float | None]:
        """The measures of a finished run, by the keys of ``MEASURES``.

        The likelihood is of the model that β makes of the decoder, with noise N(g, βI), and every model's posterior is
        proposed by the same rule, its full optimum (11). The bound is looser where that is further from the posterior.
        """
        config, model = self.config, run.model().to(self.device)
        beta, likelihood = run.config.beta, build_likelihood(run.config.likelihood)
        data = self.data[: config.points]
        found = evaluate(
            model,
            data,
            beta,
            likelihood,
            build_structure(run.config.structure),
            generator=generator(0, self.device),
            samples=config.draws,
        )
        unit = at_unit_beta(likelihood, beta)
        proposal = Implied(model, 1.0, unit)
        nll = importance_weighted_nll(proposal, data, unit, samples=config.samples, generator=generator(0, self.device))
        names = ("beta_vae", "taylor", "grae", "grae_full", "mse")
        return {
            **{name: getattr(found, name).mean for name in names},
            "nll": nll.mean().mean,
            "active": float(active_units(model, data).count),
            **{key: self._frechet(model, key) for key in ("frechet", "frechet_lite0")},
            "seconds": float(run.metrics[-1]["seconds"]),
        }

    def _frechet(self, model: Autoencoder, key: str) -> float | None:
        reference = self.references.get(key)
        return None if reference is None else reference.distance(self._samples(model, reference.images))

    @torch.no_grad()
    def _samples(self, model: Autoencoder, count: int) -> Iterator[Float[Tensor, "B *D"]]:
        noise = generator(0, self.device)
        for start in range(0, count, BATCH):
            yield model.sample(min(BATCH, count - start), noise).clamp(0, 1)


Measures = Mapping[str, float | None]


def summarise(found: Mapping[tuple[str, int], Measures], config: Comparison) -> dict[str, Any]:
    """Every variant's values by seed, their mean, and how they differ from the β-VAE of the same seed."""
    seeds = config.training.seeds
    models = {}
    for name in variants(config):
        measured: dict[str, Any] = {}
        for key in MEASURES:
            own = [found[name, seed][key] for seed in seeds]
            reference = [found[REFERENCE, seed][key] for seed in seeds]
            measured[key] = _compared(own, reference)
        models[name] = measured
    known = {
        key: title
        for key, title in MEASURES.items()
        if any(model[key]["mean"] is not None for model in models.values())
    }
    return {
        "beta": config.beta,
        "latents": config.latents,
        "reference": REFERENCE,
        "measures": known,
        "models": models,
    }


def _compared(own: Sequence[float | None], reference: Sequence[float | None]) -> dict[str, Any]:
    known = [(a, b) for a, b in zip(own, reference, strict=True) if a is not None and b is not None]
    if not known:
        return {"values": list(own), "mean": None, "difference": None}
    a, b = (np.array(side, dtype=np.float64) for side in zip(*known, strict=True))
    return {"values": list(own), "mean": float(a.mean()), "difference": paired(a - b)}
