"""Figure 3 and App. F: (2), (7) and (13) against β, along training and at its end, and the gaps between them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from curvae._typing import Float, Tensor
from curvae.autoencoder import Autoencoder
from curvae.curvature import hessian
from curvae.likelihoods import Likelihood
from curvae.metrics.codes import batches, deployed, in_double
from curvae.metrics.objectives import objective_values
from curvae.posteriors import Structure
from curvae.reproduce.fig3.config import Curves
from curvae.reproduce.intervals import Interval, Values, bootstrap, mean, slope
from curvae.reproduce.sweep.mnist import along_training
from curvae.runs import Run, RunConfig, build_likelihood, build_structure


@dataclass(frozen=True)
class Measure:
    """What to measure with.

    Attributes:
        beta: β.
        likelihood: observation model.
        structure: of the closed form that is matched to the family.
        draws: of the noise in (2), even.
    """

    beta: float
    likelihood: Likelihood
    structure: Structure
    draws: int

    @torch.no_grad()
    def __call__(
        self, model: Autoencoder, data: Tensor, generator: torch.Generator, batch_size: int = 100
    ) -> Mapping[str, Float[Tensor, " N"]]:
        r"""All values of every sample, minimised, in eval mode; the curvature and all that follows in float64.

        Returns:
            ``beta_vae`` (2), its expectation by pairs of draws ±ε, in which the first order in ε drops out; ``taylor``
            (7); ``grae`` (13); ``grae_family``, the closed form of the model's own family; ``gap``, (7) less (13) by
            the closed formula.

        Example:
            >>> from curvae.likelihoods import Gaussian
            >>> from curvae.posteriors import Full
            >>> model = Autoencoder(torch.nn.Linear(3, 2), torch.nn.Linear(2, 3), latents=2, structure=Full())
            >>> measure = Measure(0.2, Gaussian(), Full(), draws=2)
            >>> found = measure(model, torch.rand(5, 3), torch.Generator())
            >>> torch.allclose(found["taylor"] - found["grae"], found["gap"], atol=1e-4)
            True
        """
        names = {"beta_vae": "beta_vae", "taylor": "taylor", "grae": "grae_full", "grae_family": "grae", "gap": "gap"}
        noise: Any = {"generator": generator, "samples": self.draws, "paired": True}
        with deployed(model):
            found = [
                objective_values(model, x, self.beta, self.likelihood, self.structure, **noise).values
                for x in batches(model, data, batch_size)
            ]
        return {name: torch.cat([part[measured] for part in found]).cpu() for name, measured in names.items()}

    @torch.no_grad()
    def exact(self, model: Autoencoder, data: Tensor, batch_size: int = 20) -> Mapping[str, Float[Tensor, " N"]]:
        r"""The same with the exact Hessian (5) in place of Gauss–Newton (6).

        Returns:
            ``taylor`` (4); ``grae`` (10), NaN where it does not exist: $I-\tfrac1\beta H$ is not positive definite.
        """
        with deployed(model):
            found = [self._exact_batch(model, x) for x in batches(model, data, batch_size)]
        return {name: torch.cat([part[name] for part in found]).cpu() for name in found[0]}

    def _exact_batch(self, model: Autoencoder, x: Float[Tensor, "B *D"]) -> dict[str, Tensor]:
        posterior = model.posterior(x)
        q, h = in_double(posterior), posterior.mean
        minus_hessian = -hessian(model.decode, h, x, self.likelihood).double()
        nll = self.likelihood.nll(model.decode(h), x).double()
        eigenvalues = torch.linalg.eigvalsh(minus_hessian) / self.beta
        exists = eigenvalues[:, 0] > -1
        log_det = torch.where(exists, eigenvalues.clamp(min=-1).log1p().sum(-1), math.nan)
        trace = (minus_hessian * q.covariance()).sum((-1, -2))
        return {
            "taylor": nll + 0.5 * trace + self.beta * q.kl(),
            "grae": nll + 0.5 * self.beta * (h.double().square().sum(-1) + log_det),
        }


GAPS: Mapping[str, tuple[str, str]] = {"(2) − (7)": ("beta_vae", "taylor"), "(7) − (13)": ("taylor", "grae")}
"""What is plotted against β: the first value less the second."""


Point = tuple[int, float, int]
"""The place of a model in the figure: block size, β and seed."""


def runs(config: Curves) -> dict[Point, RunConfig]:
    """Every model of the figure."""
    return {
        (block, beta, seed): config.training.beta_vae(seed, beta, config.latents, block)
        for block in config.blocks
        for beta in config.betas
        for seed in config.training.seeds
    }


@dataclass(frozen=True)
class MeasuredRun:
    """One trained model.

    Attributes:
        steps: of the snapshots, and of the finished model at the end.
        values: at each of these steps, by name, one value a test point.
        exact: of the finished model at the first few test points, with the exact Hessian.
    """

    steps: tuple[int, ...]
    values: tuple[Mapping[str, Values], ...]
    exact: Mapping[str, Values]


def measure(run: Run, data: Tensor, config: Curves, device: torch.device) -> MeasuredRun:
    """Measure a run's snapshots and its finished model."""
    likelihood = build_likelihood(run.config.likelihood)
    tool = Measure(run.config.beta, likelihood, build_structure(run.config.structure), config.draws)
    models = along_training(run)

    def values(model: Autoencoder) -> Mapping[str, Values]:
        # the same noise for every model, so that they differ by their weights
        generator = torch.Generator(device).manual_seed(0)
        return _arrays(tool(model.to(device), data, generator))

    found, last = tuple(values(model) for model in models.values()), models[run.config.steps]
    return MeasuredRun(tuple(models), found, _arrays(tool.exact(last, data[: config.hessian_points])))


def _arrays(values: Mapping[str, Tensor]) -> Mapping[str, Values]:
    return {name: value.numpy() for name, value in values.items()}


Table = Mapping[Point, MeasuredRun]


def summarise(table: Table, config: Curves, generator: np.random.Generator) -> dict[str, Any]:
    """All curves, gaps and slopes with their intervals, fit for JSON."""
    return {
        "steps": list(next(iter(table.values())).steps),
        "blocks": {str(block): _block(table, config, block, generator) for block in config.blocks},
        # in units of the objective, whose own rounding in float32 is some 1e-6 of it
        "formula_error": max(formula_error(one) for one in table.values()),
    }


def formula_error(measured: MeasuredRun) -> float:
    """The largest difference, over data and steps, of the measured gap (7) − (13) from the closed formula, over (7)."""
    errors = [
        np.abs(v["taylor"] - v["grae"] - v["gap"]) / np.maximum(np.abs(v["taylor"]), 1.0) for v in measured.values
    ]
    return float(max(error.max() for error in errors))


def _block(table: Table, config: Curves, block: int, generator: np.random.Generator) -> dict[str, Any]:
    interval = partial(bootstrap, generator=generator, resamples=config.resamples)
    count = len(next(iter(table.values())).steps)

    def values(name: str, step: int, less: str | None = None) -> Values:
        first = _stacked(table, config, block, lambda m: m.values[step][name])
        return first if less is None else first - _stacked(table, config, block, lambda m: m.values[step][less])

    def across(stacked: Values) -> list[Interval]:
        return [interval(mean, stacked[..., k]) for k in range(len(config.betas))]

    names = ("beta_vae", "taylor", "grae", "grae_family", "gap")
    gaps = {**GAPS, "(7) − family": ("taylor", "grae_family"), "family − (13)": ("grae_family", "grae")}
    betas = np.array(config.betas)
    return {
        "objectives": [{name: across(values(name, step)) for name in names} for step in range(count)],
        "gaps": [{title: across(values(a, step, b)) for title, (a, b) in gaps.items()} for step in range(count)],
        "slopes": {title: interval(partial(slope, betas), values(a, count - 1, b)) for title, (a, b) in gaps.items()},
        "exact_hessian": _exact(table, config, block, across),
    }


def _stacked(table: Table, config: Curves, block: int, of: Callable[[MeasuredRun], Values]) -> Values:
    """``[seeds, points, betas]``."""
    by_seed = [
        np.stack([of(table[block, beta, seed]) for beta in config.betas], axis=-1) for seed in config.training.seeds
    ]
    return np.stack(by_seed)


def _exact(table: Table, config: Curves, block: int, across: Callable[[Values], list[Interval]]) -> dict[str, Any]:
    """What the exact Hessian changes, at the data where it was computed."""

    def values(of: Callable[[MeasuredRun], Values]) -> Values:
        return _stacked(table, config, block, of)

    few = config.hessian_points
    taylor, closed = values(lambda m: m.exact["taylor"]), values(lambda m: m.exact["grae"])
    sampled = values(lambda m: m.values[-1]["beta_vae"][:few])
    gauss_newton = values(lambda m: m.values[-1]["taylor"][:few])
    missing = np.isnan(closed)
    return {
        "(2) − (4)": across(sampled - taylor),
        "(2) − (7)": across(sampled - gauss_newton),
        "(4) − (7)": across(taylor - gauss_newton),
        "(4) − (10)": _where(~missing, taylor - closed),
        "(7) − (13)": _where(~missing, gauss_newton - values(lambda m: m.values[-1]["grae"][:few])),
        "share_without_(10)": missing.mean((0, 1)).tolist(),
    }


def _where(exists: np.ndarray, values: Values) -> list[dict[str, Any]]:
    """Mean and standard error over the data where (10) exists, for each β; None where it does nowhere."""
    found: list[dict[str, Any]] = []
    for k in range(values.shape[-1]):
        kept = values[..., k][exists[..., k]]
        spread = float(kept.std(ddof=1) / np.sqrt(len(kept))) if len(kept) > 1 else None
        found.append({"value": float(kept.mean()) if len(kept) else None, "se": spread, "data": len(kept)})
    return found
