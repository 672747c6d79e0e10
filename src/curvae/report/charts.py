"""Line charts and scatter plots, with no global state of the plotting library."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator
from PIL import Image

from curvae.report.pictures import Picture, png

# readable on a light and on a dark page; the chart itself is see-through
INK = "#808488"
_DPI = 200


@dataclass(frozen=True)
class Line:
    """A line of a chart."""

    colour: str  # #rrggbb
    x: Float[np.ndarray, " N"]
    y: Float[np.ndarray, " N"]
    width: float = 1.5  # in points; 0 draws points only
    opacity: float = 1.0


@dataclass(frozen=True)
class Axis:
    """How an axis is drawn: label, limits (None: from the data), scale, whether only whole numbers are marked, and what
    the numbers from 1 on are called there."""

    label: str = ""
    limits: tuple[float, float] | None = None
    log: bool = False
    whole: bool = False
    names: tuple[str, ...] = ()


def chart(
    lines: Sequence[Line], alt: str, x: Axis, y: Axis, size: tuple[float, float] = (3.6, 2.4), square: bool = False
) -> Picture:
    """Lines and points on one pair of axes; ``size`` is in inches of 100 pixels on the page.

    ``square``: one unit is as long on both axes.
    """
    figure = Figure(figsize=size, dpi=_DPI, layout="constrained")
    axes = figure.add_subplot()
    for line in lines:
        style = {"linewidth": line.width} if line.width else {"linestyle": "none", "marker": "o", "markersize": 3.5}
        axes.plot(line.x, line.y, color=line.colour, alpha=line.opacity, markeredgewidth=0, **style)
    _dress(axes, x, y)
    if square:
        axes.set_aspect("equal", adjustable="datalim")
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    # a chart has few colours: a palette makes the file several times smaller
    image = Image.fromarray(np.asarray(canvas.buffer_rgba())).quantize(128, Image.Quantize.FASTOCTREE)
    return png(image, alt, shrink=_DPI // 100)


def _dress(axes: Axes, x: Axis, y: Axis) -> None:
    axes.figure.patch.set_alpha(0)
    axes.patch.set_alpha(0)
    axes.set_xlabel(x.label, color=INK, fontsize=8)
    axes.set_ylabel(y.label, color=INK, fontsize=8)
    if x.names:
        axes.set_xticks(range(1, len(x.names) + 1), x.names, rotation=45, ha="right", rotation_mode="anchor")
    else:  # the library's own choice lets labels such as −1.75 touch
        least = 1 if x.whole else 2  # of one step or latent there is one whole number to mark
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=x.whole, steps=[1, 2, 2.5, 5, 10], min_n_ticks=least))
    if x.limits is not None:
        axes.set_xlim(*x.limits)
    if y.log:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    if y.limits is not None:
        axes.set_ylim(*y.limits)
    axes.tick_params(colors=INK, labelsize=7.5, which="both", length=2)
    axes.grid(visible=True, color=INK, alpha=0.25, linewidth=0.5)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(INK)


def smoothed(y: Float[np.ndarray, " N"], window: int) -> Float[np.ndarray, " N"]:
    """Mean over ``window`` neighbours, fewer at the ends.

    Example:
        >>> smoothed(np.array([0.0, 3.0, 6.0, 0.0]), 3)
        array([1.5, 3. , 3. , 3. ])
    """
    if window <= 1 or len(y) < 2:
        return y
    kernel = np.ones(min(window, len(y)))
    return np.convolve(y, kernel, "same") / np.convolve(np.ones(len(y)), kernel, "same")


def common_axis(values: Sequence[Float[np.ndarray, "..."]], label: str) -> Axis:
    """One vertical axis for several charts: logarithmic where all values are > 0 and span more than a factor of 5.

    Example:
        >>> common_axis([np.array([1.0, 100.0])], "y").log, common_axis([np.array([-1.0, 100.0])], "y").log
        (True, False)
    """
    joined = np.concatenate([np.asarray(value, dtype=float) for value in values])
    joined = joined[np.isfinite(joined)]
    if not len(joined):
        return Axis(label)
    low, high = float(joined.min()), float(joined.max())
    if low > 0 and high > 5 * low:
        margin = math.exp(0.05 * math.log(high / low))
        return Axis(label, (low / margin, high * margin), log=True)
    margin = 0.05 * (high - low) or 0.5
    return Axis(label, (low - margin, high + margin))
