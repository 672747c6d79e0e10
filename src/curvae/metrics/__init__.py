"""What a trained model is worth: objectives on held-out data, alignment of posterior and decoder."""

from curvae.metrics.alignment import correlation, gap, off_diagonal_moments, relative_distance
from curvae.metrics.evaluation import evaluate
from curvae.metrics.result import Estimate, Evaluation, Examples

__all__ = [
    "Estimate",
    "Evaluation",
    "Examples",
    "correlation",
    "evaluate",
    "gap",
    "off_diagonal_moments",
    "relative_distance",
]
