"""Loss curves by term, from the lines that training wrote."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from curvae.errors import InputError
from curvae.report.charts import Axis, Line, chart, common_axis, smoothed
from curvae.report.pictures import Picture
from curvae.report.subjects import ShownRun
from curvae.runs import Run
from curvae.runs.lines import HELD_OUT, by_term

# a term keeps its colour in every run, whatever else the objective has
TERM_COLOURS = {
    "total": "#808488",
    "nll": "#3b82c4",
    "kl": "#e07b39",
    "penalty": "#2f9e6e",
    "curvature": "#c2557a",
    "prior": "#8a6fc9",
}
TERM_NAMES = {
    "total": "objective (the sum)",
    "nll": "reconstruction",
    "kl": "β × KL divergence",
    "penalty": "decoder's penalty, β/2 log|I + M/β|",
    "curvature": "curvature, ½ tr(MΣ)",
    "prior": "size of the codes, β/2 ‖h‖²",
}
_OTHER = "#a38b1e"


@dataclass(frozen=True)
class Series:
    """One term over training: means over a batch, and means over held-out data."""

    steps: Float[np.ndarray, " N"]
    values: Float[np.ndarray, " N"]
    held_out_steps: Float[np.ndarray, " M"]
    held_out: Float[np.ndarray, " M"]

    @property
    def window(self) -> int:
        """How many neighbours the thick line averages, about a fortieth of the training; 1 where it averages none."""
        return max(1, len(self.values) // 40)

    @property
    def smooth(self) -> Float[np.ndarray, " N"]:
        """The training values, averaged over :attr:`window` neighbours."""
        return smoothed(self.values, self.window)


def term_series(run: Run) -> dict[str, Series]:
    """The objective and its named parts over training, ``"total"`` first; none if nothing was logged.

    Raises:
        InputError: a line has no total or no parts.
    """
    records = run.metrics
    try:
        terms = by_term(records) if records else {}
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"{run.path / 'metrics.jsonl'} has no number for {error}; restore the file or train again"
        ) from error
    return {
        name: Series(*(np.array(column, dtype=np.float64) for column in (*batches, *held_out)))
        for name, (batches, held_out) in terms.items()
    }


def loss_charts(subjects: list[ShownRun]) -> tuple[list[tuple[ShownRun, Picture, str]], Picture | None, list[str]]:
    """A chart for each run on the same axes, one that compares reconstruction over the runs, and the terms shown.

    Beside each run's chart, what its lines and dots are.
    """
    series = {subject.name: term_series(subject.run) for subject in subjects}
    logged = [subject for subject in subjects if series[subject.name]]
    if not logged:
        return [], None, []
    everything = [one for terms in series.values() for one in terms.values()]
    y = common_axis([values for one in everything for values in (one.smooth, one.held_out)], "per sample")
    # a little more than the last step, so that its held-out dot is whole
    x = Axis("step", (0.0, 1.02 * max(float(one.steps.max()) for one in everything)), whole=True)
    charts = [
        (subject, _by_term(subject, series[subject.name], x, y), described(subject.run, series[subject.name]["total"]))
        for subject in logged
    ]
    terms = list(dict.fromkeys(name for subject in logged for name in series[subject.name]))
    compared = _compared(logged, series, x) if len(logged) > 1 else None
    return charts, compared, terms


def described(run: Run, one: Series) -> str:
    """What the lines and dots of a run's charts are, in words."""
    lines = (
        "line: single batches"
        if one.window == 1
        else f"thin: single batches; thick: their mean over {one.window} logged steps"
    )
    if not len(one.held_out):
        return lines
    return f"{lines}; dots: the first {min(HELD_OUT, int(run.data.get('test', HELD_OUT))):,} held-out samples"


def term_colour(name: str) -> str:
    """The colour of a term's line."""
    return TERM_COLOURS.get(name, _OTHER)


def _by_term(subject: ShownRun, series: dict[str, Series], x: Axis, y: Axis) -> Picture:
    lines = [line for name, one in series.items() for line in _drawn(one, term_colour(name), name == "total")]
    return chart(lines, f"loss curves of {subject.name} by term: {', '.join(series)}", x, y)


def _compared(subjects: list[ShownRun], series: dict[str, dict[str, Series]], x: Axis) -> Picture:
    chosen = [(subject, series[subject.name]["nll"]) for subject in subjects if "nll" in series[subject.name]]
    y = common_axis(
        [values for _, one in chosen for values in (one.smooth, one.held_out)], "reconstruction, per sample"
    )
    lines = [line for subject, one in chosen for line in _drawn(one, subject.colour, thick=False)]
    return chart(lines, "the reconstruction term of every run", x, y)


def _drawn(one: Series, colour: str, thick: bool) -> list[Line]:
    # a line through one point would be invisible
    width = 0.0 if len(one.steps) == 1 else 2.4 if thick else 1.5
    thin = [Line(colour, one.steps, one.values, width=0.5, opacity=0.3)] if one.window > 1 else []
    return [
        *thin,
        Line(colour, one.steps, one.smooth, width=width),
        Line(colour, one.held_out_steps, one.held_out, width=0.0),
    ]
