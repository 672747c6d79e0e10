"""What a decoder does to small movements of its latents: Jacobian columns, Gauss–Newton curvature, estimators."""

from curvae.curvature.estimators import Columns, Estimator, Exact
from curvae.curvature.gauss_newton import gauss_newton
from curvae.curvature.hessian import Curvature, check_curvature, hessian
from curvae.curvature.pushforward import columns, jacobian, pushforward
from curvae.curvature.statistics import FixedStatistics

__all__ = [
    "Columns",
    "Curvature",
    "Estimator",
    "Exact",
    "FixedStatistics",
    "check_curvature",
    "columns",
    "gauss_newton",
    "hessian",
    "jacobian",
    "pushforward",
]
