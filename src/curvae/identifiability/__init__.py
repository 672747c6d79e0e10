"""What the data cannot tell about the latents, and what the variational family can (§2, §3, Appendices A and B)."""

from curvae.identifiability.mixing import Mixing, plane_rotation, random_rotation
from curvae.identifiability.priors import Autoregressive, CorrelatedNormal, Factorised, Prior, gaussian_mixture
from curvae.identifiability.scores import normal_score, quantile

__all__ = [
    "Autoregressive",
    "CorrelatedNormal",
    "Factorised",
    "Mixing",
    "Prior",
    "gaussian_mixture",
    "normal_score",
    "plane_rotation",
    "quantile",
    "random_rotation",
]
