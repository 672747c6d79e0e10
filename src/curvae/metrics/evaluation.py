"""The paper's three objectives and what they rest on, measured on held-out data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import torch

from curvae._checks import positive, positive_int
from curvae._typing import Float, Tensor
from curvae.autoencoder import Model
from curvae.curvature import Columns, Linearised
from curvae.errors import InputError
from curvae.likelihoods import Likelihood
from curvae.likelihoods.base import check_likelihood
from curvae.likelihoods.masked import takes_missing
from curvae.metrics.alignment import correlation, off_diagonal_moments, relative_distance
from curvae.metrics.codes import conditioned_batches, deployed, has_posterior
from curvae.metrics.objectives import objective_values
from curvae.metrics.result import Estimate, Evaluation, Examples
from curvae.posteriors import Diagonal, Structure
from curvae.posteriors.own import check_structure


@torch.no_grad()
def evaluate(
    model: Model,
    data: Any,
    beta: float,
    likelihood: Likelihood,
    structure: Structure,
    *,
    generator: torch.Generator,
    samples: int = 8,
    columns: int = 1,
    batch_size: int = 100,
    examples: int = 4,
    progress: Callable[[int], object] | None = None,
) -> Evaluation:
    r"""Measure a model on held-out data, in eval mode.

    A model with a posterior is measured with it; a deterministic one with the covariance that is optimal for it in
    ``structure`` (11), which is what its objective has optimised away.

    Args:
        model: on any device; the mode of each of its modules is given back as it was.
        data: arrays ``[N, *D]`` or batches, as :func:`curvae.metrics.codes` takes them.
        beta: β, > 0.
        likelihood: observation model.
        structure: covariance structure of the closed forms (and of the model's posterior if it has one).
        generator: of the noise in (2) and of the sampled columns, on the model's device.
        samples: draws for each sample in (2), ≥ 1.
        columns: sampled columns for each sample, ≥ 1.
        batch_size: samples at a time.
        examples: how many samples to keep matrices of, ≥ 0.
        progress: called with the number of samples done so far.

    Raises:
        InputError: an argument out of range, no data, or an objective that is not a finite number.

    Example:
        >>> from curvae.likelihoods import Gaussian
        >>> from curvae import Autoencoder
        >>> from curvae.posteriors import Full
        >>> model = Autoencoder(torch.nn.Linear(3, 2), torch.nn.Linear(2, 3), latents=2)
        >>> found = evaluate(model, torch.rand(9, 3), 0.2, Gaussian(), Full(), generator=torch.Generator())
        >>> found.data, bool(abs(found.taylor.mean - found.grae.mean) < 1e-5)   # Σ is optimal: no gap
        (9, True)
    """
    positive("beta", beta)
    check_likelihood(likelihood)
    check_structure(structure)
    positive_int("samples", samples)
    measure = _Measure(beta, likelihood, structure, generator, samples, Columns(columns))
    found: list[dict[str, Tensor]] = []
    shown: list[dict[str, Tensor]] = []
    done = 0
    with deployed(model):
        for at, x in conditioned_batches(model, data, batch_size):
            values, matrices = measure(at, x)
            found.append(values)
            if done < examples:
                shown.append({"x": x, **matrices})
            done += len(x)
            if progress is not None:
                progress(done)
    pictures = {name: array[:examples].cpu().numpy() for name, array in _joined(shown).items()} if shown else {}
    return _summary(
        _joined(found), Examples(**pictures) if shown else None, beta, structure, own_posterior=has_posterior(model)
    )


@dataclass(frozen=True)
class _Measure:
    """All per-sample values of a batch, and its matrices."""

    beta: float
    likelihood: Likelihood
    structure: Structure
    generator: torch.Generator
    samples: int
    estimator: Columns

    def __call__(self, model: Model, x: Float[Tensor, "B *D"]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        found = objective_values(
            model, x, self.beta, self.likelihood, self.structure, generator=self.generator, samples=self.samples
        )
        precision, implied = found.posterior.precision(), found.implied
        values = {
            **found.values,
            "mse": self._squared_error(found.eta, x),
            **self._penalties(model, found.posterior.mean.to(x.dtype), x, found.curvature),
            "alignment": relative_distance(precision, implied),
            "alignment_structure": relative_distance(precision, found.optimum.precision()),
            "moments": off_diagonal_moments(precision, implied),
        }
        return values, {"precision": precision, "implied": implied}

    def _squared_error(self, eta: Tensor, x: Tensor) -> Float[Tensor, " N"]:
        error = self.likelihood.squared_error(eta, x).double().flatten(1)
        if not takes_missing(self.likelihood):
            return error.mean(1)
        # a sample of which nothing was observed has no error
        return error[~error.isnan().all(1)].nanmean(1)

    def _penalties(
        self, model: Model, h: Float[Tensor, "B *L"], x: Tensor, curvature: Float[Tensor, "B d d"]
    ) -> dict[str, Float[Tensor, " B"]]:
        diagonal = Diagonal()
        exact = diagonal.penalty(curvature, self.beta)
        at = Linearised(model.decode, h, x, self.likelihood)
        _, sampled = self.estimator.penalty(at, diagonal, self.beta, self.generator)
        return {"penalty_exact": 0.5 * self.beta * exact, "penalty_sampled": 0.5 * self.beta * sampled.double()}


def _joined(batches: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.cat([batch[name] for batch in batches]) for name in batches[0]}


def _summary(
    values: dict[str, Tensor], examples: Examples | None, beta: float, structure: Structure, own_posterior: bool
) -> Evaluation:
    if not all(bool(value.isfinite().all()) for value in values.values()):
        bad = [name for name, value in values.items() if not bool(value.isfinite().all())]
        raise InputError(f"the model's values of {', '.join(bad)} on these data are not finite numbers")
    if not len(values["mse"]):
        raise InputError("all of these data are missing (NaN); expected samples with something to compare with")
    names = [f.name for f in fields(Evaluation) if f.type == "Estimate" and f.name != "penalty_difference"]
    estimates = {name: Estimate.of(values[name]) for name in names}
    measured = values["taylor"] - values["grae_full"]
    size = values["taylor"].abs().clamp(min=1.0)
    exact, sampled = values["penalty_exact"], values["penalty_sampled"]
    return Evaluation(
        data=len(measured),
        beta=beta,
        structure=repr(structure),
        own_posterior=own_posterior,
        **estimates,
        penalty_difference=Estimate.of(sampled - exact),
        penalty_relative_difference=float((sampled.mean() - exact.mean()) / exact.mean().clamp(min=1e-300)),
        alignment_correlation=correlation(values["moments"]),
        gap_error=float(((measured - values["gap"]).abs() / size).max()),
        examples=examples,
    )
