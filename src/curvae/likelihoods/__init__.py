"""Observation models $p(x; g(z))$."""

from curvae.likelihoods.base import ElementwiseLikelihood, Likelihood
from curvae.likelihoods.bernoulli import Bernoulli, BernoulliLogits
from curvae.likelihoods.counts import Categorical, Poisson
from curvae.likelihoods.gaussian import Gaussian

__all__ = [
    "Bernoulli",
    "BernoulliLogits",
    "Categorical",
    "ElementwiseLikelihood",
    "Gaussian",
    "Likelihood",
    "Poisson",
]
