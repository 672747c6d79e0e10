"""The curves of ``benchmarks.long``: values along training, and differences from the β-VAE of the same seed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from curvae.reproduce.drawing import plain

# seeds whose interval says something: that of two is three and a half times as wide as that of three
_FEWEST = 3


def plot(summary: Mapping[str, Any]) -> Figure:
    """For each setting a row of values and a row of differences from the β-VAE of the same seed, against steps."""
    shown = ("beta_vae", "taylor", "grae_full", "squared_error", "left_out")
    measures = summary["measures"]
    settings = {title: ways for title, ways in summary["settings"].items() if len(ways) > 1}
    more = summary["scale"]["finished"] > summary["scale"]["snapshot"]
    colours = {way: f"C{i}" for i, way in enumerate(dict.fromkeys(way for ways in settings.values() for way in ways))}
    figure = Figure(figsize=(15, 6 * len(settings)), dpi=76, layout="constrained")
    axes = figure.subplots(2 * len(settings), len(shown), squeeze=False)
    for row, (title, ways) in enumerate(settings.items()):
        for column, key in enumerate(shown):
            values, differences = plain(axes[2 * row, column]), plain(axes[2 * row + 1, column])
            drawn = []
            for way, steps in ways.items():
                along = {step: found.get("on_snapshots_samples", found) for step, found in steps.items()}
                # of ends that are known by their means alone, those are over more samples than the points before
                apart = {step for step, found in along.items() if more and found is steps[step] and "nll" in found}
                shown_values = {step: found[key] for step, found in along.items() if step not in apart}
                _curve(values, shown_values, way, colours[way])
                less = {
                    step: found["less_reference"][key] for step, found in along.items() if "less_reference" in found
                }
                _curve(differences, less, way, colours[way])
                drawn.append((less, colours[way]))
            # after all curves: an interval of three seeds can be wider than the axis
            for index, (less, colour) in enumerate(drawn):
                _intervals(differences, less, index, colour)
            values.set(title=measures[key], xscale="log", yscale="linear" if key == "left_out" else "log")
            differences.set(xscale="log", xlabel="steps", title=f"{measures[key]}, minus the β-VAE's")
            differences.axhline(0, color="0.5", linewidth=1)
            for each in (values.xaxis, differences.xaxis):  # of less than a decade the ticks between would be named
                each.set_minor_formatter(NullFormatter())
        axes[2 * row, 0].set_ylabel(title.replace(", batch", "\nbatch").replace(", cosine", "\ncosine"), fontsize=7)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    figure.suptitle(
        f"means over seeds; bars: 95 % over seeds, where there are {_FEWEST} or more; dashed: fewer seeds", fontsize=9
    )
    return figure


def _curve(axes: Axes, points: Mapping[str, Mapping[str, Any]], label: str, colour: str) -> None:
    steps, values = [int(step) for step in points], [point["value"] for point in points.values()]
    line = "-" if all(point["seeds"] >= _FEWEST for point in points.values()) else "--"
    axes.plot(steps, values, f"o{line}", color=colour, markersize=3, linewidth=1, label=label)


def _intervals(axes: Axes, points: Mapping[str, Mapping[str, Any]], index: int, colour: str) -> None:
    """Beside each other."""
    low, high = axes.get_ylim()
    for step, point in points.items():
        if point["seeds"] >= _FEWEST:
            axes.plot([int(step) * 1.03**index] * 2, [point["low"], point["high"]], color=colour, linewidth=1)
    axes.set_ylim(low, high)
