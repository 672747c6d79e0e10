"""Many runs for one figure: trained once, shared, continued, spread over machines, measured, and summed up.

What the MNIST and the face experiments have in common: configurations that a person can change, a cache of runs that
all figures share, launchers, a table of progress, intervals, Fréchet distances, and the way to a results folder.
"""

from curvae.experiments.sweeps.training import Training
from curvae.experiments.sweeps.workshop import Call, Made, Workshop, answer

__all__ = ["Call", "Made", "Training", "Workshop", "answer"]
