"""Figures 1, 5 and 6: a mean-field family makes the latents unique, a full one does not (§3, App. C).

``run`` trains the trials of an experiment and returns plain tables; ``plot`` draws them; ``reproduce`` does both and
writes the statistics beside the figure. The kernels need the extra ``uniqueness`` (Numba).
"""

from curvae._extras import require

require("the training of figures 1, 5 and 6 needs", "numba", extra="uniqueness")

from curvae.reproduce.uniqueness.config import Config, Figure, Panel
from curvae.reproduce.uniqueness.picture import plot
from curvae.reproduce.uniqueness.reproduction import reproduce
from curvae.reproduce.uniqueness.runner import Result, run

__all__ = ["Config", "Figure", "Panel", "Result", "plot", "reproduce", "run"]
