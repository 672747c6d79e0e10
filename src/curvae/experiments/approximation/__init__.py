"""How good approximation (6) is, which the paper does not measure: the exact Hessian against Gauss–Newton.

Small β-VAEs are trained with every combination of activation and observation model. At the posterior's means of
held-out data, before and after training, the exact Hessian (5) is compared with its first term, and so is what each
of the two makes of the objectives: (4) against (7) and (10) against (12).
"""

from curvae.experiments.approximation.config import Config, Observation
from curvae.experiments.approximation.figure import plot, reproduce
from curvae.experiments.approximation.run import Result, Row, run

__all__ = ["Config", "Observation", "Result", "Row", "plot", "reproduce", "run"]
