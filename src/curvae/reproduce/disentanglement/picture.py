"""The figure: scores against β, the control beside the data, and orthogonality against scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from curvae.reproduce.disentanglement.config import AUTOENCODER
from curvae.reproduce.drawing import log_axis, plain

_SHOWN = ("mig", "disentanglement", "sap", "factor_vae")
_COLOURS = {"diagonal": "#4063d8", "blocks of 2": "#389826", "full": "#d8591f"}


def plot(summary: Mapping[str, Any]) -> Figure:
    """Means over seeds with Student's 95 % intervals above; below the control, dashed, and one dot a model."""
    figure = Figure(figsize=(12, 6), dpi=90, layout="constrained")
    above, below = figure.subplots(2, len(_SHOWN))
    betas = summary["betas"]
    for at, key in zip(above, _SHOWN, strict=True):
        plain(at).set_title(summary["measures"][key], fontsize=9)
        for name, model in summary["models"].items():
            _line(at, betas, model[key], name)
        at.axhline(summary[AUTOENCODER][key]["value"], color="0.5", linestyle=":", label=AUTOENCODER)
    for at, key in zip(below[:2], _SHOWN[:2], strict=True):
        plain(at).set_title(f"{summary['measures'][key]}; dashed: the control", fontsize=9)
        for name, model in summary["control"].items():
            _line(at, betas, summary["models"][name][key], name)
            _line(at, betas, model[key], name, dashed=True)
    for at, key in zip(below[2:], _SHOWN[:2], strict=True):
        plain(at).set_title(f"{summary['measures'][key]} against mean |cos|", fontsize=9)
        at.set_xlabel("mean |cos| of the decoder's columns", fontsize=8)
        for name, model in summary["models"].items():
            x, y = (np.ravel(np.array([one["values"] for one in model[each]], float)) for each in ("cosine", key))
            at.plot(x, y, _mark(name), color=_colour(name), markersize=4, alpha=0.7)
    handles, labels = above[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), fontsize=8, frameon=False)
    return figure


def _line(
    at: Axes, betas: Sequence[float], found: Sequence[Mapping[str, Any]], name: str, dashed: bool = False
) -> None:
    values = np.array([one["value"] for one in found])
    # one seed has no interval
    known = [
        (0.0, 0.0) if one["low"] is None else (one["value"] - one["low"], one["high"] - one["value"]) for one in found
    ]
    style = "--" if dashed else "-"
    at.errorbar(
        betas, values, np.array(known).T, color=_colour(name), marker=_mark(name), linestyle=style,
        markersize=4, linewidth=1.2, capsize=2, label=None if dashed else name,
    )  # fmt: skip
    log_axis(at, betas, fontsize=8)
    at.set_xlabel("β", fontsize=9)


def _colour(name: str) -> str:
    return _COLOURS[name.partition(", ")[2]]


def _mark(name: str) -> str:
    return "o" if name.startswith("β-VAE") else "^"
