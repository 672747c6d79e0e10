"""What a trained model is worth: objectives and likelihood on held-out data, use of the latents, alignment."""

from curvae.metrics.active_units import ActiveUnits, active_units, unit_divergence
from curvae.metrics.alignment import correlation, gap, off_diagonal_moments, relative_distance
from curvae.metrics.codes import codes
from curvae.metrics.evaluation import evaluate
from curvae.metrics.ex_post import Mixture, fit_mixture
from curvae.metrics.implied import Implied
from curvae.metrics.likelihood import Likelihoods, at_unit_beta, importance_weighted_nll
from curvae.metrics.result import Estimate, Evaluation, Examples

__all__ = [
    "ActiveUnits",
    "Estimate",
    "Evaluation",
    "Examples",
    "Implied",
    "Likelihoods",
    "Mixture",
    "active_units",
    "at_unit_beta",
    "codes",
    "correlation",
    "evaluate",
    "fit_mixture",
    "gap",
    "importance_weighted_nll",
    "off_diagonal_moments",
    "relative_distance",
    "unit_divergence",
]
