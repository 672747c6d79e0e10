"""Observation models $p(x; g(z))$."""

from curvae.likelihoods.base import ElementwiseLikelihood, Likelihood
from curvae.likelihoods.bernoulli import Bernoulli, BernoulliLogits
from curvae.likelihoods.continuous import ContinuousBernoulli, Laplace, StudentT
from curvae.likelihoods.counts import Categorical, LearnedNegativeBinomial, NegativeBinomial, Poisson
from curvae.likelihoods.gaussian import Gaussian
from curvae.likelihoods.learned_gaussian import LearnedGaussian
from curvae.likelihoods.masked import Masked
from curvae.likelihoods.mixed import Mixed
from curvae.likelihoods.size_factors import SizeFactors

__all__ = [
    "Bernoulli",
    "BernoulliLogits",
    "Categorical",
    "ContinuousBernoulli",
    "ElementwiseLikelihood",
    "Gaussian",
    "Laplace",
    "LearnedGaussian",
    "LearnedNegativeBinomial",
    "Likelihood",
    "Masked",
    "Mixed",
    "NegativeBinomial",
    "Poisson",
    "SizeFactors",
    "StudentT",
]
