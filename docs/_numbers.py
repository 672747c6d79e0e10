"""Numbers of ``results/`` as text: none that stands in a file is typed by hand."""

from __future__ import annotations

import json
import math
import re
from copy import deepcopy
from fractions import Fraction
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any

from curvae._extras import listed

RESULTS = Path(__file__).parent.parent / "results"
OTHER = "the conclusion is no longer what was measured: write another"
"""What an assertion says under a sentence that results have to bear out."""


@cache
def read(name: str) -> Any:
    """One file of results."""
    return json.loads((RESULTS / name).read_text(encoding="utf-8"))


def num(value: float, digits: int = 2) -> str:
    """A number with so many digits after the point, and a true minus sign."""
    text = f"{value:.{digits}f}"
    return text.lstrip("-") if float(text) == 0 else text.replace("-", "−")


def significant(value: float, digits: int = 2) -> int:
    """How many digits after the point show so many significant ones."""
    return max(0, digits - 1 - math.floor(math.log10(abs(value)))) if value else digits


def percent(value: float, digits: int = 1) -> str:
    """A share as a percentage."""
    return f"{num(100 * value, digits)} %"


def interval(part: dict[str, float], digits: int = 2, factor: float = 1) -> str:
    """``value (low to high)``. Where the interval excludes 0, none of the three is rounded to 0."""

    def shown(number: float) -> str:
        vanishes = side(part) and round(number, digits) == 0
        return num(number, significant(number, 1) if vanishes else digits)

    value, low, high = (shown(factor * part[key]) for key in ("value", "low", "high"))
    return f"{value} ({low} to {high})"


def mean_sd(found: dict[str, Any], digits: int) -> str:
    """``mean ± standard deviation``, over seeds."""
    return f"{num(found['mean'], digits)} ± {num(found['sd'], digits)}"


def side(part: dict[str, float]) -> int:
    """On which side of 0 an interval lies: −1 below, 1 above, 0 where it holds 0."""
    return (part["low"] > 0) - (part["high"] < 0)


def bold(text: str, part: dict[str, Any] | None) -> str:
    """A text, bold where an interval excludes 0; there may be none."""
    return f"**{text}**" if part and part["low"] is not None and side(part) else text


def counted(count: int, what: str) -> str:
    """``1 seed``, ``5 seeds``."""
    return f"{count} {what}{'s' * (count != 1)}"


def thousands(count: int) -> str:
    """``6000``, ``20,000``."""
    return f"{count:,}" if count >= 10_000 else str(count)


def span(values: list[float], digits: int = 2) -> str:
    """The smallest and the largest of several numbers."""
    low, high = num(min(values), digits), num(max(values), digits)
    return low if low == high else f"{low} to {high}"


def table(head: list[str], rows: list[list[str]]) -> str:
    """A table in Markdown."""
    lines = ["| " + " | ".join(cells) + " |" for cells in (head, *rows)]
    return "\n".join(line.replace("|  |", "| |") for line in [lines[0], "|---" * len(head) + "|", *lines[1:]])


def width(factor: float) -> str:
    """A factor on the networks' widths, as people write it."""
    return str(Fraction(factor))


def wider(summary: dict[str, Any], own: dict[str, Any]) -> str:
    """The width of models that differ in it alone, and in how many seeds there are."""
    one, other = ({**each["config"]["training"], "width": 0, "seeds": ()} for each in (summary, own))
    assert one == other, "they differ in more than their width: say so"
    return width(summary["config"]["training"]["width"])


def made_by(summary: dict[str, Any]) -> str:
    """Seeds, number of samples and commits of a summary."""
    seeds, commits = summary["config"]["training"]["seeds"], {made["commit"] for made in summary["trained_under"]}
    assert not any(commit.endswith("-dirty") for commit in commits)
    shown = f"seed{'s' * (len(seeds) != 1)} {listed([str(seed) for seed in seeds])}"
    return f"{shown}, {summary['test_points']} digits, {', '.join(f'`{commit[:7]}`' for commit in sorted(commits))}"


def setting(name: str) -> str:
    """A setting of the long runs, as people write it."""
    name = name.replace("mnist", "MNIST", 1)
    name = re.sub(r"\d+(?= steps)", lambda found: thousands(int(found[0])), name)
    return re.sub(r"(?<=networks × )[\d.]+", lambda found: width(float(found[0])), name)


def by_seed(figure: str) -> list[dict[str, Any]]:
    """Summaries of calls that differ in their seeds alone; the first has the seeds and commits of all."""
    more = sorted(str(path.relative_to(RESULTS)) for path in (RESULTS / figure).glob("seed*/summary.json"))
    calls = [deepcopy(read(name)) for name in (f"{figure}/summary.json", *more)]  # read keeps what it has read
    assert all(same_but(calls[0], call, "seeds") for call in calls)
    seeds = [call["config"]["training"]["seeds"] for call in calls]
    calls[0]["config"]["training"]["seeds"] = list(chain(*seeds))
    calls[0]["trained_under"] = list(chain(*(call["trained_under"] for call in calls)))
    return calls


def same_but(one: dict[str, Any], other: dict[str, Any], *fields: str) -> bool:
    """Do the configurations of two summaries agree in all but these fields, of the figure or of its training?"""
    return _but(fields, one["config"]) == _but(fields, other["config"])


def _but(fields: tuple[str, ...], config: dict[str, Any]) -> dict[str, Any]:
    return {
        name: _but(fields, value) if isinstance(value, dict) else value
        for name, value in config.items()
        if name not in fields
    }
