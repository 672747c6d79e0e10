"""The figure and the numbers beside it."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from rich.progress import Progress

from curvae.errors import InputError
from curvae.experiments.approximation.config import PAPER_NETWORK, Config, cases
from curvae.experiments.approximation.run import Result, Row, run
from curvae.experiments.approximation.store import Store, provenance
from curvae.files import write_atomic
from curvae.metrics import Estimate
from curvae.terminal import console

_COLOURS: Mapping[str, str] = MappingProxyType(
    {"elu": "#4063d8", "relu": "#cb3c33", "leaky relu": "#e69f00", PAPER_NETWORK: "#389826"}
)
Scale = Callable[[], Config]
_SCALES: Mapping[str, Scale] = MappingProxyType({"smoke": Config.smoke, "quick": Config.quick, "paper": Config.paper})


def reproduce(figure: str, scale: str, out: Path) -> None:
    """Run at ``scale`` and write ``approximation.json`` and ``approximation.png`` into ``out``.

    The rows are written after every model; a run that was interrupted goes on where it stopped.

    Args:
        figure: ``"approximation"``; there is no other here.
        scale: ``"smoke"``, ``"quick"`` or ``"paper"``.
        out: folder, made if it is missing.

    Raises:
        InputError: an unknown figure or scale, data that cannot be loaded, or a folder with other rows.
    """
    if figure != "approximation" or scale not in _SCALES:
        raise InputError(f"got figure {figure!r}, scale {scale!r}; expected approximation at {', '.join(_SCALES)}")
    config = _SCALES[scale]()
    store = Store(out / "approximation.json", config)
    # what runs is what is there now, whatever happens to the checkout meanwhile
    done, made_under = store.load(), provenance()
    with Progress(*Progress.get_default_columns(), console=console()) as progress:
        total = 2 * len(config.seeds) * len(list(cases(config)))
        task = progress.add_task("approximation", total=total, completed=len(done))

        def keep(rows: tuple[Row, ...]) -> None:
            store.save(rows, made_under)
            progress.update(task, completed=len(rows))

        result = run(config, done, keep)
    drawing = plot(result)
    buffer = io.BytesIO()
    FigureCanvasAgg(drawing).print_png(buffer, metadata={"Software": None}, pil_kwargs={"optimize": True})
    write_atomic(out / "approximation.png", lambda path: path.write_bytes(buffer.getvalue()))


def plot(result: Result) -> Figure:
    """Three panels over the same models: the error of (6), and what it does to (4) and to (10).

    Hollow: at initialisation. Filled: trained. One mark a seed; bars are two standard errors over the held-out data.
    """
    labels = [(observation.name, network) for network, observation in cases(result.config)]
    labels.sort(key=lambda label: [o.name for _, o in cases(result.config)].index(label[0]))
    figure = Figure(figsize=(11, 0.34 * len(labels) + 1.3), dpi=110, layout="constrained")
    panels = list(figure.subplots(1, 3, sharey=True))
    for row in result.rows:
        _draw(panels, row, -float(labels.index((row.observation, row.network))))
    panels[0].set_yticks([-i for i in range(len(labels))], [" · ".join(label) for label in labels], fontsize=8)
    panels[0].set_ylim(0.5 - len(labels), 0.5)
    _dress(panels)
    stages = [Line2D([], [], marker="o", linestyle="", color="grey", mfc=c) for c in ("none", "grey")]
    stages.append(Line2D([], [], marker="|", color="grey"))
    words = ["at initialisation", "trained", "± 2 standard errors over data; one mark a seed"]
    figure.legend(stages, words, loc="outside lower center", ncols=3, fontsize=8)
    return figure


def _draw(panels: Sequence[Axes], row: Row, height: float) -> None:
    colour = _COLOURS[row.network]
    y = height - 0.14 if row.trained else height + 0.14
    marks = (row.error, row.taylor_difference, Estimate(100 * row.missing, 0.0))
    for axes, mark in zip(panels, marks, strict=True):
        axes.errorbar(
            mark.mean,
            y,
            xerr=2 * mark.se if mark.se else None,
            marker="o",
            markersize=5,
            color=colour,
            mfc=colour if row.trained else "none",
            capsize=2,
        )


def _dress(panels: Sequence[Axes]) -> None:
    panels[0].set_xscale("symlog", linthresh=0.01)
    panels[0].set_title("‖H − (−M)‖ / ‖H‖, mean over data", fontsize=9)
    panels[1].set_xscale("symlog", linthresh=0.01)
    panels[1].set_title("(7) − (4), minimised, per sample", fontsize=9)
    panels[2].set_title("data at which (10) does not exist, %", fontsize=9)
    panels[0].set_xlim(-0.001, max(1.5, panels[0].get_xlim()[1]))
    for axes in panels:
        axes.margins(x=0.08)  # so that no mark is cut in half
        axes.grid(visible=True, alpha=0.25, linewidth=0.5)
        axes.tick_params(labelsize=8, length=2)
        for spine in ("top", "right"):
            axes.spines[spine].set_visible(False)
