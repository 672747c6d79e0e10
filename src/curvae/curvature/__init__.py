"""What a decoder does to small movements of its latents: Jacobian columns, Gauss–Newton curvature, estimators."""

from curvae.curvature.estimators import Columns, Estimator, Exact
from curvae.curvature.gauss_newton import gauss_newton
from curvae.curvature.pushforward import columns, jacobian, pushforward
from curvae.curvature.statistics import FixedStatistics

__all__ = ["Columns", "Estimator", "Exact", "FixedStatistics", "columns", "gauss_newton", "jacobian", "pushforward"]
