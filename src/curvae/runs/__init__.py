"""Runs on disk: what was asked for, what was measured, and the model that came out."""

from curvae.runs.build import build_model, likelihood_of
from curvae.runs.config import RunConfig
from curvae.runs.export import load_model, save_model
from curvae.runs.objective import build_objective
from curvae.runs.parts import build_estimator, build_likelihood, build_structure
from curvae.runs.posteriors import Codes, Posteriors
from curvae.runs.run import Run
from curvae.runs.source import load_data
from curvae.runs.trained import Trained

__all__ = [
    "Codes",
    "Posteriors",
    "Run",
    "RunConfig",
    "Trained",
    "build_estimator",
    "build_likelihood",
    "build_model",
    "build_objective",
    "build_structure",
    "likelihood_of",
    "load_data",
    "load_model",
    "save_model",
]
