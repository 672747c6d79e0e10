"""Many runs for one figure: trained once, shared, continued, spread over machines, measured, and summed up.

What the figures on MNIST and on faces have in common: settings that a person can change, a cache of runs that all
figures share, launchers, a table of progress, Fréchet distances, and the way to a results folder.
"""

from curvae.reproduce.sweep.context import Context, FigureResult, Sweep
from curvae.reproduce.sweep.training import TrainingSettings

__all__ = ["Context", "FigureResult", "Sweep", "TrainingSettings"]
