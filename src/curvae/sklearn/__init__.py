"""Estimators for scikit-learn: tables in, codes with their uncertainty out."""

from curvae._extras import require

require("curvae.sklearn needs", "sklearn", "lightning", extra="sklearn")

from curvae.sklearn.base import Posterior
from curvae.sklearn.estimators import GRAE, BetaVAE

__all__ = ["GRAE", "BetaVAE", "Posterior"]
