"""Training with GRAE against training with the β-VAE: what is lost and what is gained by dropping the noise?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import scipy.stats
import torch

from curvae._typing import Float, Tensor
from curvae.autoencoder import Autoencoder
from curvae.data import Dataset, as_float, mnist
from curvae.experiments.mnist.config import Comparison
from curvae.experiments.mnist.digits import Classifier, frechet_distance, train_classifier
from curvae.metrics import Implied, active_units, at_unit_beta, evaluate, importance_weighted_nll
from curvae.runs import Run, RunConfig, build_likelihood, build_structure

REFERENCE = "β-VAE, diagonal"
MEASURES: Mapping[str, str] = {
    "beta_vae": "(2)",
    "taylor": "(7)",
    "grae": "closed form of its family",
    "grae_full": "(13)",
    "nll": "IW-NLL, nats",
    "mse": "squared error per pixel",
    "active": "active units",
    "frechet": "Fréchet distance (digit features)",
    "seconds": "training time, s",
}
"""What is measured of each model, and what to call it."""


def variants(config: Comparison) -> dict[str, dict[str, Any]]:
    """The models that are compared: what of the run's configuration makes each, by name."""
    found: dict[str, dict[str, Any]] = {
        REFERENCE: {"objective": "beta-vae", "structure": "diagonal"},
        "β-VAE, full": {"objective": "beta-vae", "structure": "full"},
        "GRAE, full": {"structure": "full"},
        "GRAE, block:2": {"structure": "block:2"},
        "GRAE, diagonal": {"structure": "diagonal"},
        "GRAE≈, one column": {"structure": "diagonal", "estimator": "columns:1"},
    }
    # an older RunConfig cannot ask for the penalty
    if "orthogonality" in {field.name for field in fields(RunConfig)}:
        penalty = {"orthogonality": config.orthogonality}
        found |= {
            "GRAE, block:2 + orthogonality": {"structure": "block:2", **penalty},
            "GRAE, diagonal + orthogonality": {"structure": "diagonal", **penalty},
            "GRAE≈, two columns": {"structure": "diagonal", "estimator": "columns:2"},
            "GRAE≈, two columns + orthogonality": {"structure": "diagonal", "estimator": "columns:2", **penalty},
        }
    return {name: {"objective": "grae", **choices} for name, choices in found.items()}


def runs(config: Comparison) -> dict[tuple[str, int], RunConfig]:
    """Every model, by its variant's name and its seed."""
    training = config.training
    return {
        (name, seed): training.run(seed, beta=config.beta, latents=config.latents, **choices)
        for name, choices in variants(config).items()
        for seed in training.seeds
    }


@dataclass(frozen=True)
class Judge:
    """Measures models, all in the same way.

    Attributes:
        data: the held-out images.
        config: how much to measure.
        classifier: whose features the Fréchet distance uses; None leaves that out.
        device: where.
    """

    data: Tensor
    config: Comparison
    classifier: Classifier | None
    device: torch.device

    def __call__(self, run: Run) -> dict[str, float | None]:
        """The measures of a finished run, by the keys of ``MEASURES``.

        The likelihood is of the model that β makes of the decoder, with noise N(g, βI), and every model's posterior is
        proposed by the same rule, its full optimum (11), so that the bound is as tight for one as for another.
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
            generator=self._generator(),
            samples=config.draws,
        )
        noise = at_unit_beta(likelihood, beta)
        proposal = Implied(model, 1.0, noise)
        nll = importance_weighted_nll(proposal, data, noise, samples=config.samples, generator=self._generator())
        names = ("beta_vae", "taylor", "grae", "grae_full", "mse")
        return {
            **{name: getattr(found, name).mean for name in names},
            "nll": nll.mean().mean,
            "active": float(active_units(model, data).count),
            "frechet": self.frechet(self._samples(model)),
            "seconds": float(run.metrics[-1]["seconds"]),
        }

    def frechet(self, images: Iterator[Tensor]) -> float | None:
        """The distance of images from the held-out ones."""
        if self.classifier is None:
            return None
        return frechet_distance(self.classifier.network, self.images(self.data), images)

    def images(self, data: Tensor) -> Iterator[Tensor]:
        """As many images of ``data`` as are drawn from a model."""
        for part in data[: self.config.generated].split(500):
            yield as_float(part).to(self.device)

    @torch.no_grad()
    def _samples(self, model: Autoencoder) -> Iterator[Float[Tensor, "B *D"]]:
        generator = self._generator()
        for start in range(0, self.config.generated, 500):
            yield model.sample(min(500, self.config.generated - start), generator)

    def _generator(self) -> torch.Generator:
        # the same noise for every model
        return torch.Generator(self.device).manual_seed(0)


def classifier_for(dataset: Dataset, config: Comparison, device: torch.device) -> Classifier | None:
    """A classifier of MNIST's digits; None for other data, which have no labels here."""
    if config.training.data != "mnist":
        return None
    digits = [torch.from_numpy(labels) for labels in mnist.load_labels()]
    return train_classifier((dataset.train, digits[0]), (dataset.test, digits[1]), config.classifier_steps, 0, device)


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
    return {"beta": config.beta, "latents": config.latents, "reference": REFERENCE, "models": models}


def _compared(own: Sequence[float | None], reference: Sequence[float | None]) -> dict[str, Any]:
    known = [(a, b) for a, b in zip(own, reference, strict=True) if a is not None and b is not None]
    if not known:
        return {"values": list(own), "mean": None, "difference": None}
    a, b = (np.array(side, dtype=np.float64) for side in zip(*known, strict=True))
    return {"values": list(own), "mean": float(a.mean()), "difference": paired(a - b)}


def paired(differences: np.ndarray) -> dict[str, float | None]:
    """Mean of differences that are paired by seed, with Student's 95 % interval; no interval from one seed.

    Example:
        >>> paired(np.array([1.0, 3.0]))["value"]
        2.0
    """
    value, count = float(differences.mean()), len(differences)
    if count < 2:
        return {"value": value, "low": None, "high": None}
    half = float(scipy.stats.t.ppf(0.975, count - 1) * differences.std(ddof=1) / np.sqrt(count))
    return {"value": value, "low": value - half, "high": value + half}
