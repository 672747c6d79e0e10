"""What a decoder does to small movements of its latents: Jacobian columns, Gauss–Newton curvature, estimators."""

from curvae.curvature.estimator import Estimator, PenaltyEstimate, SampledColumns
from curvae.curvature.estimators import Columns, Exact
from curvae.curvature.fraction import Fraction
from curvae.curvature.gauss_newton import gauss_newton
from curvae.curvature.hessian import Curvature, check_curvature, hessian
from curvae.curvature.lanczos import Lanczos
from curvae.curvature.linearised import Linearised
from curvae.curvature.measuring import LogDeterminant, log_determinant
from curvae.curvature.operator import Operator
from curvae.curvature.probes import Coordinates, Probes, Signs, Sphere, principal_basis
from curvae.curvature.secants import Secants
from curvae.curvature.trace import Trace
from curvae.forward import FixedStatistics, columns, jacobian, pushforward, unchecked

__all__ = [
    "Columns",
    "Coordinates",
    "Curvature",
    "Estimator",
    "Exact",
    "FixedStatistics",
    "Fraction",
    "Lanczos",
    "Linearised",
    "LogDeterminant",
    "Operator",
    "PenaltyEstimate",
    "Probes",
    "SampledColumns",
    "Secants",
    "Signs",
    "Sphere",
    "Trace",
    "check_curvature",
    "columns",
    "gauss_newton",
    "hessian",
    "jacobian",
    "log_determinant",
    "principal_basis",
    "pushforward",
    "unchecked",
]
