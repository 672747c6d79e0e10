r"""How time and memory grow with latents d, outputs D, batch and columns: log-log slopes, and a plot.

Value and gradient of a penalty through a convolutional decoder, which is the paper's up to its number of channels and
the side of its first map, so that its work is proportional to D.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.axes import Axes

from benchmarks.measure import Row, Stopwatch, extra_megabytes, in_a_process, interleaved
from curvae import curvature, posteriors
from curvae.likelihoods import Gaussian
from curvae.nn.convolutions import decoding

BETA = 0.2
CHANNELS = (16, 32, 16, 8, 8)
IMAGES = {28: 1, 64: 3, 128: 3}


@dataclass(frozen=True)
class Case:
    """One size of everything."""

    estimator: str
    latents: int = 12
    side: int = 28
    batch: int = 16
    columns: int = 1

    def act(self) -> Callable[[], object]:
        """The penalty's mean and its gradient in all weights."""
        torch.manual_seed(0)
        colours = IMAGES.get(self.side, 1)
        decoder = decoding(self.latents, CHANNELS, self.side // 4, 4, (1, 1, 2, 2), colours, sigmoid=True)
        z, x = torch.randn(self.batch, self.latents), torch.rand(self.batch, colours, self.side, self.side)
        structure: posteriors.Structure = posteriors.Full()
        estimator: curvature.Estimator = curvature.Exact()
        if self.estimator == "columns":
            structure, estimator = posteriors.Diagonal(), curvature.Columns(self.columns)
        generator = torch.Generator().manual_seed(0)

        def run() -> None:
            at = curvature.Linearised(decoder, z, x, Gaussian())
            estimator.penalty(at, structure, BETA, generator)[1].mean().backward()

        return run

    def memory(self) -> float:
        """Megabytes at most, in a process of its own."""
        given = [str(value) for value in (self.estimator, self.latents, self.side, self.batch, self.columns)]
        return in_a_process("benchmarks.scaling", *given)["megabytes"]


EXACT, ONE = Case("exact"), Case("columns")
LATENTS, SIDES, BATCHES, COLUMNS = (8, 16, 32, 64, 128, 256, 512), tuple(IMAGES), (8, 16, 32, 64, 128), (1, 2, 4, 8, 16)
# what varies, and the cases in order
SERIES: Mapping[str, tuple[str, Sequence[Case]]] = {
    "log|I + M/β|, latents": ("d", [replace(EXACT, latents=d, batch=4) for d in LATENTS]),
    "one column, latents": ("d", [replace(ONE, latents=d) for d in LATENTS]),
    "one column, outputs": ("D", [replace(ONE, side=side) for side in SIDES]),
    "log|I + M/β|, outputs": ("D", [replace(EXACT, side=side, batch=4) for side in SIDES]),
    "one column, batch": ("B", [replace(ONE, batch=batch) for batch in BATCHES]),
    "k columns of every sample": ("k", [replace(ONE, columns=k, latents=16) for k in COLUMNS]),
}


def amount(letter: str, case: Case) -> int:
    """The value of what varies in a series."""
    outputs = IMAGES.get(case.side, 1) * case.side**2
    return {"d": case.latents, "D": outputs, "B": case.batch, "k": case.columns}[letter]


def exponent(amounts: Sequence[float], values: Sequence[float]) -> float:
    """Slope of the line through the larger half of the points in log-log coordinates.

    Where a fixed cost hides the growth of small sizes a line through all would lie.
    """
    half = len(amounts) // 2
    return float(np.polyfit(np.log(amounts[half:]), np.log(values[half:]), 1)[0])


def run(quick: bool, watch: Stopwatch) -> list[Row]:
    """A row for each case, against the first of its series."""
    rows = []
    for name, (letter, cases) in SERIES.items():
        some = list(cases[:4] if quick else cases)
        # the small ones again with each large one: that is what they are compared with
        times = interleaved({str(amount(letter, case)): case.act() for case in some}, 3 if quick else 5, watch)
        memory = [case.memory() for case in some]
        first = times[str(amount(letter, some[0]))]
        for case, megabytes in zip(some, memory, strict=True):
            value = amount(letter, case)
            size = f"{letter} = {value}, batch {case.batch}, {IMAGES[case.side]} × {case.side} × {case.side}"
            row = Row(name, size, times[str(value)], f"{letter} = {amount(letter, some[0])}", first)
            rows.append(replace(row, megabytes=megabytes, reference_megabytes=memory[0], amount=value, letter=letter))
        series = [row for row in rows if row.name == name]
        slopes = slopes_of(series)
        rows[-len(series) :] = [replace(row, exponents=slopes) for row in series]
    return rows


def slopes_of(series: Sequence[Row]) -> dict[str, float]:
    """Exponents of time and memory in what varies."""
    amounts = [float(row.amount or 0) for row in series]
    return {
        "time": exponent(amounts, [row.milliseconds for row in series]),
        "memory": exponent(amounts, [max(row.megabytes or 0.0, 0.1) for row in series]),
    }


def draw(rows: Sequence[Row], path: Path) -> None:
    """Time and memory of every series, with the fitted exponents."""
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    names = list(dict.fromkeys(row.name for row in rows))
    figure, axes = plt.subplots(2, len(names), figsize=(2.5 * len(names), 4.8), layout="constrained", squeeze=False)
    for column, name in enumerate(names):
        series = [row for row in rows if row.name == name]
        _panel(axes[0][column], "time", series, [row.milliseconds for row in series])
        _panel(axes[1][column], "memory", series, [row.megabytes or 0.1 for row in series])
    axes[0][0].set_ylabel("milliseconds")
    axes[1][0].set_ylabel("megabytes")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _panel(axis: Axes, kind: str, series: Sequence[Row], values: Sequence[float]) -> None:
    amounts = [row.amount or 1 for row in series]
    axis.loglog(amounts, values, "o-", ms=3, lw=1)
    axis.set_title(f"{series[0].name}\n{kind} ∝ {series[0].letter}^{(series[0].exponents or {})[kind]:.2f}", fontsize=8)
    axis.minorticks_off()
    axis.set_xticks(amounts, [str(amount) for amount in amounts], fontsize=6)
    axis.set_xlabel(series[0].letter or "", fontsize=8)
    # whole decades, or noise would fill a panel
    axis.set_ylim(10 ** np.floor(np.log10(min(values))), 10 ** np.ceil(np.log10(max(values) * 1.01)))
    axis.tick_params(axis="y", labelsize=7)


def _main(estimator: str, *sizes: str) -> None:
    case = Case(estimator, *(int(size) for size in sizes))
    small = replace(case, latents=2, side=28, batch=1, columns=1)
    print(json.dumps({"megabytes": extra_megabytes(small.act(), case.act())}))


if __name__ == "__main__":
    _main(*sys.argv[1:])
