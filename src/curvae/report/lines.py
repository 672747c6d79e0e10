"""Vectors, and any other data that are not images, drawn as lines over their entries."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.colors import LinearSegmentedColormap, to_hex

from curvae.metrics.active_units import ACTIVE
from curvae.report.charts import INK, Axis, Line, chart, common_axis
from curvae.report.drawing import Amounts, Captioned, Drawing, Outputs
from curvae.report.pictures import Picture
from curvae.report.subjects import ShownRun
from curvae.runs.checks import has_scaled_latents

LINE_AMOUNTS = Amounts(examples=6, samples=30, latents=4)
# names that fit below a chart, and letters of each
_MOST_NAMES, _LONGEST = 12, 16
_SHADES = LinearSegmentedColormap.from_list("shades", ["#3268c8", "#8f8f8f", "#d0453f"])


class LineDrawing(Drawing):
    """Each sample is a line: the entry's number across, or its name where there are few, and its value up."""

    def __init__(self, names: Sequence[str] = ()) -> None:
        short = tuple(name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…" for name in names)
        self._entries = Axis("entry of the sample", whole=True)
        if 0 < len(short) <= _MOST_NAMES:
            self._entries = Axis(names=short)

    def rebuilt(self, originals: Float[np.ndarray, "B *D"], outputs: Outputs) -> list[Captioned]:
        """A chart for each sample: the original as a broad grey line, the runs on top."""
        flat = [_flat(values) for values in (originals, *(values for _, values in outputs))]
        y = common_axis([values.ravel() for values in flat], "value")
        figures = []
        for i in range(len(originals)):
            lines = [_line(INK, flat[0][i], width=4.0, opacity=0.5)]
            lines += [_line(s.colour, values[i], width=1.2) for (s, _), values in zip(outputs, flat[1:], strict=True)]
            caption = f"held-out sample {i + 1}"
            figures.append(Captioned(caption, chart(lines, f"{caption} and its reconstructions", self._entries, y)))
        return figures

    def sampled(self, outputs: Outputs, originals: Float[np.ndarray, "N *D"]) -> list[Captioned]:
        """A chart of samples for each run over held-out data in grey; points where a sample is two numbers."""
        y = common_axis([values.ravel() for values in (originals, *(values for _, values in outputs))], "value")
        figures = []
        for subject, values in outputs:
            alt = f"samples from {subject.name} over held-out data"
            ours, theirs = _flat(values), _flat(originals)
            two = ours.shape[1] == 2
            picture = (
                _cloud(subject.colour, ours, theirs, self._entries.names, alt)
                if two
                else _bundle(subject.colour, ours, theirs, self._entries, y, alt)
            )
            figures.append(Captioned(subject.name, picture, subject))
        return figures

    def traversed(self, row: Float[np.ndarray, "V *D"], alt: str) -> Picture:
        """A line for each of one latent's values, from blue (lowest) to red (highest)."""
        shades = _SHADES(np.linspace(0, 1, len(row)))
        lines = [_line(to_hex(shade), values, width=1.2) for shade, values in zip(shades, _flat(row), strict=True)]
        return chart(lines, alt, self._entries, common_axis([row.ravel()], "value"))

    def thumbnails(self, data: Float[np.ndarray, "B *D"]) -> list[Picture | None]:
        """None: a vector has no small picture."""
        return [None] * len(data)


def code_cloud(subject: ShownRun, codes: Float[np.ndarray, "N d"], latents: tuple[int, int]) -> Captioned:
    """The codes of held-out data in two latents, with the prior's circles of 1 and 2 standard deviations."""
    turn = np.linspace(0, 2 * np.pi, 100)
    circles = [Line(INK, r * np.cos(turn), r * np.sin(turn), width=0.8) for r in (1, 2)]
    x, y = (Axis(f"latent {latent + 1}") for latent in latents)
    points = codes[:, list(latents)]
    lines = [Line(subject.colour, points[:, 0], points[:, 1], width=0.0, opacity=0.5), *circles]
    picture = chart(lines, f"codes of held-out data in {subject.name}", x, y, square=True)
    used = int((codes.var(0) > ACTIVE).sum())
    told = has_scaled_latents(subject.run.config) and len(codes) > 1
    return Captioned(f"{used} of {codes.shape[1]} latents in use" if told else "", picture, subject)


def _cloud(
    colour: str,
    values: Float[np.ndarray, "N 2"],
    originals: Float[np.ndarray, "M 2"],
    names: tuple[str, ...],
    alt: str,
) -> Picture:
    x, y = map(Axis, names or ("first number", "second number"))
    points = [
        Line(INK, originals[:, 0], originals[:, 1], width=0.0),
        Line(colour, values[:, 0], values[:, 1], width=0.0),
    ]
    return chart(points, alt, x, y, square=True)


def _bundle(
    colour: str, values: Float[np.ndarray, "N D"], originals: Float[np.ndarray, "M D"], x: Axis, y: Axis, alt: str
) -> Picture:
    lines = [_line(INK, one, width=2.0, opacity=0.35) for one in originals]
    return chart([*lines, *(_line(colour, one, width=0.8, opacity=0.6) for one in values)], alt, x, y)


def _line(colour: str, values: Float[np.ndarray, " N"], width: float, opacity: float = 1.0) -> Line:
    return Line(colour, np.arange(1.0, len(values) + 1), values, width, opacity)


def _flat(values: Float[np.ndarray, "N *D"]) -> Float[np.ndarray, "N E"]:
    return values.reshape(len(values), -1)
