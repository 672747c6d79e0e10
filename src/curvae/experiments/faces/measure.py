"""What figure 4 measures of each model: how good its samples are, what it reconstructs, its objectives."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch

from curvae._typing import Float, Tensor
from curvae.autoencoder import Autoencoder
from curvae.data import Dataset
from curvae.experiments.faces.config import Quality
from curvae.experiments.sweeps.gauges import Gauge
from curvae.metrics import codes, evaluate, fit_mixture
from curvae.metrics.codes import batches
from curvae.metrics.sharpness import sharpness
from curvae.runs import Run, build_structure, likelihood_of

MEASURES: Mapping[str, str] = {
    "frechet_prior": "FD, z from the prior",
    "frechet_mixture": "FD, z from a mixture",
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
class Judge:
    """Measures models, all in the same way and with the same noise.

    Attributes:
        dataset: images.
        config: how much to measure.
        gauge: the Fréchet distance.
        device: where.
    """

    dataset: Dataset
    config: Quality
    gauge: Gauge
    device: torch.device

    def __call__(self, run: Run) -> dict[str, float]:
        """The measures of a finished run, by the keys of ``MEASURES``."""
        model = run.model().to(self.device)
        prior, mixture = self._prior(model), self._mixture(model)
        found = {"mse": reconstruction_error(model, self.dataset.test[: self.config.points])}
        for name, draw in (("prior", prior), ("mixture", mixture)):
            sharp: list[Tensor] = []
            found[f"frechet_{name}"] = self.gauge.distance(self._images(model, draw, sharp))
            found[f"sharpness_{name}"] = float(torch.cat(sharp).mean())
        return {**found, **self._objectives(run, model), "seconds": float(run.metrics[-1]["seconds"])}

    def _objectives(self, run: Run, model: Autoencoder) -> dict[str, float]:
        """Each in the closed form of a diagonal Σ, so that all models are measured alike, and (13)."""
        found = evaluate(
            model,
            self.dataset.test[: self.config.objective_points],
            run.config.beta,
            likelihood_of(run.config, model),
            build_structure("diagonal"),
            generator=self._generator(),
            batch_size=_JACOBIANS,
        )
        return {name: getattr(found, name).mean for name in ("beta_vae", "taylor", "grae", "grae_full")}

    @torch.no_grad()
    def _images(self, model: Autoencoder, draw: Draw, sharp: list[Tensor]) -> Iterator[Float[Tensor, "B *D"]]:
        """Decoded draws, whose sharpness is noted as they pass."""
        for start in range(0, self.gauge.images, _BATCH):
            images = model.decode(draw(min(_BATCH, self.gauge.images - start))).clamp(0, 1)
            sharp.append(sharpness(images).cpu())
            yield images

    def _prior(self, model: Autoencoder) -> Draw:
        like, generator = next(model.parameters()), self._generator()
        return lambda n: torch.randn(n, model.latents, generator=generator, dtype=like.dtype, device=like.device)

    def _mixture(self, model: Autoencoder) -> Draw:
        like, generator = next(model.parameters()), torch.Generator().manual_seed(0)
        known = codes(model, self.dataset.train[: self.config.codes])
        with warnings.catch_warnings():
            # that it did not converge: the density is then a little worse, and no measurement wrong
            warnings.simplefilter("ignore")
            density = fit_mixture(known, min(self.config.components, len(known)))
        return lambda n: density.sample(n, generator).to(like)

    def _generator(self) -> torch.Generator:
        return torch.Generator(self.device).manual_seed(0)


@torch.no_grad()
def reconstruction_error(model: Autoencoder, data: Tensor) -> float:
    """Mean squared error of a pixel, from the code without noise.

    Args:
        model: in eval mode.
        data: ``[N, *D]``, uint8 pixels or floating point.

    Example:
        >>> from torch import nn
        >>> same = nn.Identity()
        >>> reconstruction_error(Autoencoder(same, same, latents=3, features=3), torch.rand(5, 3))
        0.0
    """
    parts = [(model.reconstruct(x) - x).double().square().flatten(1).mean(1) for x in batches(model, data, _BATCH)]
    return float(torch.cat(parts).mean())
