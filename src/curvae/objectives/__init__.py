"""What is minimised: the paper's objectives as named terms for each sample."""

from curvae.objectives.beta_vae import BetaVAE
from curvae.objectives.expansion import expansion, sampled_expansion
from curvae.objectives.grae import GRAE
from curvae.objectives.loss import Loss
from curvae.objectives.objective import Objective
from curvae.objectives.orthogonality import orthogonality, sampled_orthogonality
from curvae.objectives.rae import RAE
from curvae.objectives.regulariser import regulariser
from curvae.objectives.taylor import Taylor
from curvae.objectives.terms import Terms

__all__ = [
    "GRAE",
    "RAE",
    "BetaVAE",
    "Loss",
    "Objective",
    "Taylor",
    "Terms",
    "expansion",
    "orthogonality",
    "regulariser",
    "sampled_expansion",
    "sampled_orthogonality",
]
