"""Figure 3 (§3, App. F): are the three objectives (2), (7) and (13) one, for trained β-VAEs?

β-VAEs are trained at several β and sizes of blocks; all three objectives, and the gaps between them, are measured along
training and at its end.
"""

from __future__ import annotations

import numpy as np

from curvae.reproduce.fig3 import numbers
from curvae.reproduce.fig3.config import CONFIGS, Curves
from curvae.reproduce.fig3.picture import plot
from curvae.reproduce.fig3.section import SECTIONS, table
from curvae.reproduce.sweep import Context, FigureResult, Sweep
from curvae.reproduce.sweep.mnist import milestones

__all__ = ["CONFIGS", "SECTIONS", "reproduce"]


def make(figure: str, config: Curves, context: Context) -> FigureResult:
    """Train, measure and draw."""
    points = numbers.runs(config)
    runs = context.runs(points.values())
    data = context.dataset.test[: config.points]
    measured = context.measure(runs, lambda run: numbers.measure(run, data, config, context.device))
    found = numbers.summarise({point: measured[run] for point, run in points.items()}, config, np.random.default_rng(0))
    summary = {"test_points": len(data), "betas": list(config.betas), **found}
    return FigureResult(summary, table(summary), {f"{figure}.png": plot(summary, config)}, tuple(runs.values()))


reproduce = Sweep(CONFIGS, make, milestones)
