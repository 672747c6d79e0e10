"""Small helpers of all figures here."""

from __future__ import annotations

import io
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from curvae.files import write_atomic


def save_png(figure: Figure, path: Path) -> None:
    """Write a figure, whole or not at all, and small."""
    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_png(buffer, metadata={"Software": None}, pil_kwargs={"optimize": True})
    write_atomic(path, lambda temporary: temporary.write_bytes(buffer.getvalue()))


def plain(axes: Axes) -> Axes:
    """Light axes."""
    axes.grid(visible=True, alpha=0.25, linewidth=0.5)
    axes.tick_params(labelsize=8, length=2)
    for spine in ("top", "right"):
        axes.spines[spine].set_visible(False)
    return axes
