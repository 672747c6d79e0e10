r"""Figures 2 and 7: does the structure of Σ show up in the decoder's $J_g^\top J_g$, and is Σ the cause?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Shaped

from curvae._typing import Float, Tensor
from curvae.autoencoder import Autoencoder
from curvae.curvature import gauss_newton
from curvae.likelihoods import Gaussian
from curvae.metrics import correlation, off_diagonal_moments, relative_distance
from curvae.metrics.codes import batches, deployed, in_double
from curvae.reproduce.fig2.blocks import chance, cosines, inside, permuted, share_inside
from curvae.reproduce.fig2.config import HeatMaps, Setting
from curvae.reproduce.intervals import Interval, Values, bootstrap, mean
from curvae.reproduce.sweep.mnist import along_training
from curvae.runs import Run, RunConfig

KINDS = ("blocks", "diagonal", "autoencoder")
"""The decoder of the figure, and its two trained controls."""
_VAES = ("blocks", "diagonal")


@dataclass(frozen=True, eq=False)
class Matrices:
    r"""What is seen at some test points, in float64.

    Attributes:
        gram: $J_g^\top J_g$ at the posterior's mean.
        precision: $\Sigma^{-1}_{z\mid x}$; None for a model without a posterior.
    """

    gram: Float[np.ndarray, "N d d"]
    precision: Float[np.ndarray, "N d d"] | None

    def implied(self, beta: float) -> Float[np.ndarray, "N d d"]:
        r"""$Q=I+\tfrac1\beta J_g^\top J_g$, what (11) asks of the precision."""
        return np.eye(self.gram.shape[-1]) + self.gram / beta


@torch.no_grad()
def matrices(model: Autoencoder, data: Tensor, batch_size: int = 100) -> Matrices:
    """Both matrices of every sample, in eval mode.

    Example:
        >>> from curvae.posteriors import BlockDiagonal
        >>> model = Autoencoder(torch.nn.Linear(3, 2), torch.nn.Linear(2, 3), latents=2, structure=BlockDiagonal(2))
        >>> found = matrices(model, torch.rand(5, 3))
        >>> found.gram.shape, found.precision.shape
        ((5, 2, 2), (5, 2, 2))
    """
    grams, precisions = [], []
    with deployed(model):
        for x in batches(model, data, batch_size):
            grams.append(gauss_newton(model.decode, model.encode(x), x, Gaussian()).double().cpu())
            if model.structure is not None:
                precisions.append(in_double(model.posterior(x)).precision().cpu())
    precision = torch.cat(precisions).numpy() if precisions else None
    return Matrices(torch.cat(grams).numpy(), precision)


def runs(config: HeatMaps) -> Iterator[tuple[Setting, int, str, RunConfig]]:
    """Every model of the figure: setting, seed, kind and configuration."""
    training = config.training
    for setting in config.settings:
        for seed in training.seeds:
            yield setting, seed, "blocks", training.beta_vae(seed, setting.beta, setting.latents, setting.block)
            yield setting, seed, "diagonal", training.beta_vae(seed, setting.beta, setting.latents, 1)
            yield setting, seed, "autoencoder", training.autoencoder(seed, setting.latents)


def along(run: Run, data: Tensor, device: torch.device) -> dict[int, Matrices]:
    """Both matrices by step."""
    return {step: matrices(model.to(device), data) for step, model in along_training(run).items()}


@dataclass(frozen=True)
class HeatMapPanel:
    """One setting.

    Attributes:
        setting: of the models.
        images: the first of the test points.
        found: by kind of model, the matrices of each seed's, by step.
    """

    setting: Setting
    images: Shaped[np.ndarray, "n *S"]
    found: Mapping[str, Sequence[Mapping[int, Matrices]]]

    def at(self, step: int, kind: str) -> list[Matrices]:
        """Of each seed."""
        return [steps[step] for steps in self.found[kind]]

    @property
    def steps(self) -> list[int]:
        """At which β-VAEs are measured; the last is their end."""
        return sorted(self.found["blocks"][0])


def summarise(panel: HeatMapPanel, config: HeatMaps, generator: np.random.Generator) -> dict[str, Any]:
    """The statistics of a setting, fit for JSON."""
    setting = panel.setting

    def interval(values: Values) -> Interval:
        return bootstrap(mean, values, generator, config.resamples)

    found = {kind: panel.at(panel.steps[-1], kind) for kind in KINDS}
    shares = {kind: _shares(found[kind], setting.block) for kind in KINDS}
    in_cosines = {kind: _shares(found[kind], setting.block, cosines) for kind in KINDS}
    controls = [kind for kind in KINDS if kind != "blocks"]
    return {
        **vars(setting),
        "alignment": alignment(found["blocks"], setting, config, generator),
        "alignment_of_diagonal": alignment(found["diagonal"], replace(setting, block=1), config, generator),
        "share": {kind: interval(value) for kind, value in shares.items()},
        "share_by_chance": chance(setting.latents, setting.block),
        "share_of_cosines": {kind: interval(value) for kind, value in in_cosines.items()},
        "share_above": {kind: interval(shares["blocks"] - shares[kind]) for kind in controls},
        "share_of_cosines_above": {kind: interval(in_cosines["blocks"] - in_cosines[kind]) for kind in controls},
        "permuted": {
            kind: [permuted(m.gram, setting.block, generator, config.permutations) for m in found[kind]]
            for kind in KINDS
        },
        "along_training": [
            {
                "step": step,
                "share": {kind: interval(_shares(panel.at(step, kind), setting.block)) for kind in _VAES},
                "distance_in_structure": {
                    kind: interval(_distances_in_structure(panel.at(step, kind), replace(setting, block=block)))
                    for kind, block in zip(_VAES, (setting.block, 1), strict=True)
                },
            }
            for step in panel.steps
        ],
    }


def _shares(models: Sequence[Matrices], size: int, scaled: Callable[[np.ndarray], np.ndarray] = np.asarray) -> Values:
    """``[seeds, points]``."""
    return np.stack([share_inside(scaled(m.gram), size) for m in models])


def alignment(
    models: Sequence[Matrices], setting: Setting, config: HeatMaps, generator: np.random.Generator
) -> dict[str, Interval]:
    r"""How near Σ⁻¹ is to $Q=I+\tfrac1\beta J_g^\top J_g$ (11), and to what of $Q$ its structure can hold.

    Returns:
        ``distance`` ‖Σ⁻¹ − Q‖/‖Q‖, ``distance_in_structure`` the same with Q's blocks for Q, ``correlation`` of the
        entries off the diagonal, ``correlation_in_blocks`` of those inside blocks; each with its interval.
    """
    mask = inside(setting.latents, setting.block)
    distances, moments, inner = [], [], []
    for model in models:
        assert model.precision is not None
        precision = torch.from_numpy(model.precision)
        implied = torch.from_numpy(model.implied(setting.beta))
        distances.append(relative_distance(precision, implied).numpy())
        moments.append(off_diagonal_moments(precision, implied).numpy())
        inner.append(_moments(model.precision[:, mask], implied.numpy()[:, mask]))

    def interval(statistic: Callable[[Values], float | None], parts: list[np.ndarray]) -> Interval:
        return bootstrap(statistic, np.stack(parts), generator, config.resamples)

    return {
        "distance": interval(mean, distances),
        "distance_in_structure": interval(mean, list(_distances_in_structure(models, setting))),
        "correlation": interval(_correlation, moments),
        "correlation_in_blocks": interval(_correlation, inner),
    }


def _distances_in_structure(models: Sequence[Matrices], setting: Setting) -> Values:
    """``[seeds, points]``."""
    kept = inside(setting.latents, setting.block) | np.eye(setting.latents, dtype=bool)
    found = []
    for model in models:
        assert model.precision is not None
        implied = torch.from_numpy(model.implied(setting.beta) * kept)
        found.append(relative_distance(torch.from_numpy(model.precision), implied).numpy())
    return np.stack(found)


def _moments(p: Values, q: Values) -> Values:
    """As :func:`curvae.metrics.off_diagonal_moments`, of chosen entries ``[N, K]``."""
    return np.stack([np.ones_like(p), p, q, p * p, q * q, p * q], axis=-1).sum(1)


def _correlation(moments: Values) -> float | None:
    return correlation(torch.from_numpy(moments.reshape(-1, moments.shape[-1])))
