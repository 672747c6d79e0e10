"""The Riemannian geometry that a decoder, or a posterior, gives to latent space (§5.2)."""

from curvae.geometry.curves import energy, length, metric_energy, metric_length
from curvae.geometry.geodesic import Geodesic, geodesic
from curvae.geometry.metric import (
    Metric,
    from_covariance,
    from_precision,
    log_magnification,
    log_magnification_of,
    pullback,
)
from curvae.geometry.riemann import christoffel, riemann, sectional_curvature
from curvae.geometry.scores import affine_flatness, flatness, hadamard_gap, mean_cosine

__all__ = [
    "Geodesic",
    "Metric",
    "affine_flatness",
    "christoffel",
    "energy",
    "flatness",
    "from_covariance",
    "from_precision",
    "geodesic",
    "hadamard_gap",
    "length",
    "log_magnification",
    "log_magnification_of",
    "mean_cosine",
    "metric_energy",
    "metric_length",
    "pullback",
    "riemann",
    "sectional_curvature",
]
