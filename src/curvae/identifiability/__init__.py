"""What the data cannot tell about the latents, and what the variational family can (§2, §3, Appendices A and B)."""

from curvae.identifiability.mixing import Mixing, plane_rotation, random_rotation
from curvae.identifiability.priors import Autoregressive, CorrelatedNormal, Factorised, Prior, gaussian_mixture
from curvae.identifiability.scores import normal_score, quantile
from curvae.identifiability.uniqueness import (
    Pushforward,
    Transform,
    best_objective,
    both_sides,
    integrand,
    log_volume,
    posterior_precision,
    rotation_drop,
    stays_mean_field,
)

__all__ = [
    "Autoregressive",
    "CorrelatedNormal",
    "Factorised",
    "Mixing",
    "Prior",
    "Pushforward",
    "Transform",
    "best_objective",
    "both_sides",
    "gaussian_mixture",
    "integrand",
    "log_volume",
    "normal_score",
    "plane_rotation",
    "posterior_precision",
    "quantile",
    "random_rotation",
    "rotation_drop",
    "stays_mean_field",
]
