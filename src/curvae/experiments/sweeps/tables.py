"""Tables in Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from curvae.experiments.sweeps.intervals import Interval


def text(found: Mapping[str, Any]) -> str:
    """An estimate with its interval, as a summary has it."""
    return str(Interval(found["value"], found["low"], found["high"]))


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown; the first column is text, the others are numbers.

    Example:
        >>> print(table(("a", "b"), [("x", "1")]))
        | a | b |
        |---|---:|
        | x | 1 |
    """
    rule = "|---|" + "---:|" * (len(head) - 1)
    return "\n".join([f"| {' | '.join(head)} |", rule, *(f"| {' | '.join(row)} |" for row in rows)])
