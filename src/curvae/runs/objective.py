"""The objective of a run, and which of its settings go together."""

from __future__ import annotations

import dataclasses

import torch

from curvae.curvature import Columns, Coordinates, Estimator, Exact, Secants, Trace, check_curvature
from curvae.curvature.fraction import on_all
from curvae.errors import InputError
from curvae.likelihoods import Likelihood
from curvae.objectives import GRAE, RAE, BetaVAE, Objective, Taylor
from curvae.objectives.grae import gives_pairs
from curvae.posteriors import Structure
from curvae.runs.config import RunConfig
from curvae.runs.fields import PYTHON
from curvae.runs.parts import build_estimator, build_likelihood, build_structure

# the objectives that have a use for a setting; with another one it would be without effect
_USED_BY = {
    "samples": ("beta-vae",),
    "antithetic": ("beta-vae",),
    "curvature": ("taylor", "grae"),
    "estimator": ("taylor", "grae", "rae"),
    "encoder_weight": ("grae", "rae"),
    "decoder_weight": ("grae", "rae"),
    "orthogonality": ("grae",),
    "beta_warmup": ("beta-vae", "taylor", "grae"),
}


def build_objective(config: RunConfig, likelihood: Likelihood | None = None) -> Objective:
    """The objective of a run.

    Args:
        config: the run's.
        likelihood: the observation model, where it learns (:func:`curvae.runs.likelihood_of`); default a new one.

    Raises:
        InputError: a setting that the objective has no use for, or that does not go with another.

    Example:
        >>> objective = build_objective(RunConfig(data="mnist", objective="grae", estimator="columns:1", beta=0.4))
        >>> objective.beta, objective.structure, objective.estimator
        (0.4, Diagonal(), Columns(1))
    """
    if config.objective == PYTHON:
        raise InputError("the run's objective was handed to curvae.fit as an object; hand it over again: objective=…")
    _check_used(config)
    likelihood = build_likelihood(config.likelihood) if likelihood is None else likelihood
    if config.curvature == "hessian" and not likelihood.smooth:
        raise InputError(
            f"curvature is hessian but likelihood is {config.likelihood}, which has a kink and no second derivative; "
            "use gauss-newton, which takes its Fisher information"
        )
    match config.objective:
        case "beta-vae":
            return BetaVAE(config.beta, likelihood, config.samples, config.antithetic)
        case "taylor":
            return Taylor(config.beta, likelihood, check_curvature(config.curvature), estimator=_secants(config))
        case "rae":
            encoder = config.beta if config.encoder_weight is None else config.encoder_weight
            decoder = 1.0 if config.decoder_weight is None else config.decoder_weight
            return RAE(encoder, decoder, likelihood, _trace(config))
        case _:
            return _grae(config, likelihood)


def _check_used(config: RunConfig) -> None:
    for field in dataclasses.fields(config):
        users, value = _USED_BY.get(field.name), getattr(config, field.name)
        if users and config.objective not in users and value != field.default:
            raise InputError(
                f"{field.name} is {value} but objective {config.objective} does not use it, only "
                f"{' and '.join(users)}; leave it out"
            )


def _grae(config: RunConfig, likelihood: Likelihood) -> GRAE:
    structure, estimator = build_structure(config.structure), build_estimator(config.estimator)
    try:
        estimator.check(structure)
    except InputError:
        raise InputError(
            f"estimator is {config.estimator} but structure is {config.structure}; columns:K goes with diagonal and "
            "block:B, secants:K with diagonal, lanczos with full, exact and trace with any; a batch fraction with what "
            "they go with, except that a shared structure takes it with trace alone, because its penalty is not a "
            "mean over samples"
        ) from None
    if config.curvature == "hessian" and not isinstance(estimator, Exact):
        raise InputError(f"curvature is hessian, which needs estimator exact; got estimator {config.estimator}")
    if config.orthogonality > 0:
        _check_pairs(config, structure, estimator)
    return GRAE(
        config.beta,
        likelihood,
        structure,
        estimator,
        config.encoder_weight,
        config.decoder_weight,
        check_curvature(config.curvature),
        config.orthogonality,
    )


def _check_pairs(config: RunConfig, structure: Structure, estimator: Estimator) -> None:
    """The orthogonality penalty needs pairs of columns, and a structure that sets some pair to zero."""
    ones = torch.ones(1, config.latents, config.latents)
    if bool(structure.restrict(ones).all()):
        raise InputError(
            f"orthogonality is {config.orthogonality:g} but structure {config.structure} of {config.latents} latents "
            "leaves no pair of them to make orthogonal; use another structure or leave it out"
        )
    if not gives_pairs(estimator) or config.curvature == "hessian":
        raise InputError(
            f"orthogonality is {config.orthogonality:g} but estimator is {config.estimator} and curvature "
            f"{config.curvature}; it needs pairs of columns: exact or columns:K with K >= 2, and gauss-newton"
        )


def _secants(config: RunConfig) -> Estimator | None:
    """Of the Taylor objective, whose trace is exact without."""
    estimator = build_estimator(config.estimator)
    if isinstance(estimator, Exact):
        return None
    if not isinstance(on_all(estimator), Secants) or config.curvature == "hessian":
        raise InputError(
            f"estimator is {config.estimator} and curvature {config.curvature} but objective taylor takes exact, or "
            "secants:K with curvature gauss-newton"
        )
    return estimator


def _trace(config: RunConfig) -> Trace:
    """Of a first-order objective: exact, by random signs or by columns."""
    match build_estimator(config.estimator):
        case Trace() as trace:
            return trace
        case Exact():
            return Trace()
        case Columns(count=count):
            return Trace(Coordinates(count))
    raise InputError(
        f"estimator is {config.estimator} but objective rae has a trace only; use exact, trace:K or columns:K"
    )
