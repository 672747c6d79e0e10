"""Figures 2 and 7 (§3.2, App. E): does the structure of Σ show up in the decoder, and is Σ the cause?

β-VAEs whose Σ has blocks are trained beside two controls; figure 7 has three settings more. On held-out images Σ⁻¹ is
drawn beside JᵀJ, and the share of JᵀJ's squared off-diagonal entries inside the blocks is measured against chance and
the controls.
"""

from __future__ import annotations

import numpy as np

from curvae.reproduce.fig2 import numbers, picture
from curvae.reproduce.fig2.config import CONFIGS, HeatMaps
from curvae.reproduce.fig2.section import SECTIONS, table
from curvae.reproduce.sweep import Context, FigureResult, Sweep
from curvae.reproduce.sweep.mnist import milestones

__all__ = ["CONFIGS", "SECTIONS", "reproduce"]


def make(figure: str, config: HeatMaps, context: Context) -> FigureResult:
    """Train, measure and draw."""
    wanted = list(numbers.runs(config))
    runs = context.runs(run for *_, run in wanted)
    data = context.dataset.test[: config.points]
    seen = context.measure(runs, lambda run: numbers.along(run, data, context.device))
    images = data[: config.shown].movedim(1, -1).numpy()
    panels = [
        numbers.HeatMapPanel(
            setting,
            images,
            {kind: [seen[run] for s, _, k, run in wanted if (s, k) == (setting, kind)] for kind in numbers.KINDS},
        )
        for setting in config.settings
    ]
    generator = np.random.default_rng(0)
    settings = [numbers.summarise(panel, config, generator) for panel in panels]
    summary = {"test_points": len(data), "settings": settings}
    drawings = {
        f"{figure}.png": picture.heat_maps(panels, len(images)),
        f"{figure}-shares.png": picture.shares(settings),
        f"{figure}-training.png": picture.along_training(settings),
    }
    return FigureResult(summary, table(summary), drawings, tuple(runs.values()))


reproduce = Sweep(CONFIGS, make, milestones)
