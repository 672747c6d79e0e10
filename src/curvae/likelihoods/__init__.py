"""Observation models $p(x; g(z))$."""

from curvae.likelihoods.base import ElementwiseLikelihood, Likelihood
from curvae.likelihoods.bernoulli import Bernoulli, BernoulliLogits
from curvae.likelihoods.continuous import ContinuousBernoulli, Laplace, LearnedGaussian, StudentT
from curvae.likelihoods.counts import Categorical, NegativeBinomial, Poisson
from curvae.likelihoods.gaussian import Gaussian

__all__ = [
    "Bernoulli",
    "BernoulliLogits",
    "Categorical",
    "ContinuousBernoulli",
    "ElementwiseLikelihood",
    "Gaussian",
    "Laplace",
    "LearnedGaussian",
    "Likelihood",
    "NegativeBinomial",
    "Poisson",
    "StudentT",
]
