"""Pictures on disk, and light axes."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from PIL import Image

from curvae.files import write_atomic

# of a picture that is kept beside its numbers
_LARGEST = 295_000


def save_png(drawing: Figure | Image.Image, path: Path) -> None:
    """Write a picture, whole or not at all, and small."""
    if isinstance(drawing, Figure):
        buffer = io.BytesIO()
        FigureCanvasAgg(drawing).print_png(buffer, metadata={"Software": None}, pil_kwargs={"optimize": True})
        data = buffer.getvalue()
    else:
        data = small_png(drawing)
    write_atomic(path, lambda temporary: temporary.write_bytes(data))


def small_png(image: Image.Image, largest: int = _LARGEST) -> bytes:
    """An RGB image as PNG of at most so many bytes: as it is, else in 256 colours, else smaller as well.

    Example:
        >>> len(small_png(Image.effect_noise((200, 200), 90).convert("RGB"), 20_000)) <= 20_000
        True
    """
    data = _png(image)
    scale = 1.0
    while len(data) > largest and scale > 0.05:
        size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        smaller = image if scale == 1.0 else image.resize(size, Image.Resampling.LANCZOS)
        data = _png(smaller.quantize(256, Image.Quantize.MEDIANCUT))
        scale *= 0.85
    return data


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def models_in_rows(axes: Axes, models: Mapping[str, Any], key: str, reference: str) -> None:
    """One row a model: dots are its seeds' values, a bar their mean, the dotted line the reference's mean."""
    for row, measured in enumerate(models.values()):
        values = [value for value in measured[key]["values"] if value is not None]
        axes.plot(values, [-row] * len(values), "o", color="#4063d8", markersize=4, alpha=0.7)
        if values:
            axes.plot([measured[key]["mean"]] * 2, [-row - 0.3, -row + 0.3], color="black", linewidth=1.5)
    if models[reference][key]["mean"] is not None:
        axes.axvline(models[reference][key]["mean"], color="0.5", linestyle=":", linewidth=1)
    axes.set_yticks([-row for row in range(len(models))], list(models), fontsize=8)
    axes.xaxis.set_major_locator(MaxNLocator(3))


def log_axis(axes: Axes, values: Sequence[float | int], **style: Any) -> None:
    """A logarithmic horizontal axis, marked at these values alone, in a style of text."""
    axes.set_xscale("log")
    axes.set_xticks(values, [f"{value:.10g}" for value in values], **style)
    axes.minorticks_off()


def plain(axes: Axes) -> Axes:
    """Light axes."""
    axes.grid(visible=True, alpha=0.25, linewidth=0.5)
    axes.tick_params(labelsize=8, length=2)
    for spine in ("top", "right"):
        axes.spines[spine].set_visible(False)
    return axes
