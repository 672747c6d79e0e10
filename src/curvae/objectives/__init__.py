"""What is minimised: the paper's objectives as named terms for each sample."""

from curvae.objectives.elbo import BetaVAE
from curvae.objectives.first_order import RAE
from curvae.objectives.loss import Loss
from curvae.objectives.marginal import GRAE
from curvae.objectives.penalties import orthogonality, sampled_orthogonality
from curvae.objectives.taylor import Taylor
from curvae.objectives.terms import Terms

__all__ = ["GRAE", "RAE", "BetaVAE", "Loss", "Taylor", "Terms", "orthogonality", "sampled_orthogonality"]
