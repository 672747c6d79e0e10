"""The figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from curvae.reproduce.approximation.config import PAPER_NETWORK, ApproximationConfig, cases
from curvae.reproduce.approximation.numbers import Row
from curvae.reproduce.drawing import plain

_COLOURS: Mapping[str, str] = {"elu": "#4063d8", "relu": "#cb3c33", "leaky relu": "#e69f00", PAPER_NETWORK: "#389826"}


def plot(config: ApproximationConfig, rows: Sequence[Row]) -> Figure:
    """Three panels over the same models: the error of (6), and what it does to (4) and to (10).

    Hollow: at initialisation. Filled: trained. One mark a seed; bars are two standard errors over the held-out data.
    """
    labels = [(observation.name, network) for network, observation in cases(config)]
    labels.sort(key=lambda label: [o.name for _, o in cases(config)].index(label[0]))
    figure = Figure(figsize=(11, 0.34 * len(labels) + 1.3), dpi=110, layout="constrained")
    panels = list(figure.subplots(1, 3, sharey=True))
    for row in rows:
        _draw(panels, row, -float(labels.index((row["observation"], row["network"]))))
    panels[0].set_yticks([-i for i in range(len(labels))], [" · ".join(label) for label in labels], fontsize=8)
    panels[0].set_ylim(0.5 - len(labels), 0.5)
    _dress(panels)
    stages = [Line2D([], [], marker="o", linestyle="", color="grey", mfc=c) for c in ("none", "grey")]
    stages.append(Line2D([], [], marker="|", color="grey"))
    words = ["at initialisation", "trained", "± 2 standard errors over data; one mark a seed"]
    figure.legend(stages, words, loc="outside lower center", ncols=3, fontsize=8)
    return figure


def _draw(panels: Sequence[Axes], row: Row, height: float) -> None:
    colour = _COLOURS[row["network"]]
    y = height - 0.14 if row["trained"] else height + 0.14
    marks = (row["error"], row["taylor_difference"], {"mean": 100 * row["missing"], "se": 0.0})
    for axes, mark in zip(panels, marks, strict=True):
        filled = colour if row["trained"] else "none"
        xerr = 2 * (mark["se"] or 0) or None
        axes.errorbar(mark["mean"], y, xerr=xerr, marker="o", markersize=5, color=colour, mfc=filled, capsize=2)


def _dress(panels: Sequence[Axes]) -> None:
    panels[0].set_xscale("symlog", linthresh=0.01)
    panels[0].set_title("‖H − (−M)‖ / ‖H‖, mean over data", fontsize=9)
    panels[1].set_xscale("symlog", linthresh=0.01)
    panels[1].set_title("(7) − (4), minimised, per sample", fontsize=9)
    panels[2].set_title("data at which (10) does not exist, %", fontsize=9)
    panels[0].set_xlim(-0.001, max(1.5, panels[0].get_xlim()[1]))
    for axes in panels:
        plain(axes).margins(x=0.08)  # so that no mark is cut in half
