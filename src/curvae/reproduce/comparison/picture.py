"""The comparison as a picture: one panel a measure, one row a model, one mark a seed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

from curvae.reproduce.drawing import models_in_rows, plain

# of which those are drawn that were measured
_SHOWN = ("beta_vae", "taylor", "grae_full", "nll", "mse", "active", "frechet", "frechet_lite0")
_COLUMNS = 4


def plot(summary: Mapping[str, Any]) -> Figure:
    """Marks are seeds, a bar their mean; the dotted line is the β-VAE with diagonal Σ."""
    models = summary["models"]
    shown = [key for key in _SHOWN if key in summary["measures"]]
    rows = -(-len(shown) // _COLUMNS)
    figure = Figure(figsize=(12, rows * (0.3 * len(models) + 0.9)), dpi=90, layout="constrained")
    axes = figure.subplots(rows, _COLUMNS, sharey=True, squeeze=False)
    for at in axes.ravel()[len(shown) :]:
        at.set_axis_off()
    for at, key in zip(axes.ravel(), shown, strict=False):
        plain(at).set_title(summary["measures"][key].replace(" (", "\n("), fontsize=8)
        models_in_rows(at, models, key, summary["reference"])
    figure.suptitle(f"dots: seeds; bars: means over seeds; dotted: {summary['reference']}", fontsize=9)
    return figure
