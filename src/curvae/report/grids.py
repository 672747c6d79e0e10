"""Tables of numbers with their intervals, as text, for the figures' sections."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Summary = Mapping[str, Any]
"""What ``curvae reproduce`` wrote."""
Found = Mapping[str, Any]
"""A number as a summary has it: ``value`` with its ``low`` and ``high``, which are None where they are not defined."""


@dataclass(frozen=True)
class Cell:
    """A number, a smaller line below it, and whether it stands out."""

    text: str
    detail: str = ""
    strong: bool = False


@dataclass(frozen=True)
class GridRow:
    """A row of a grid."""

    label: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Grid:
    """A table with a caption."""

    caption: str
    heads: tuple[str, ...]
    rows: tuple[GridRow, ...]


@dataclass(frozen=True)
class Content:
    """What a section shows of a summary.

    Attributes:
        findings: in sentences.
        grids: the tables.
        words: what the explanation needs to know, by name.
    """

    findings: tuple[str, ...]
    grids: tuple[Grid, ...]
    words: Mapping[str, Any] = field(default_factory=dict)


def number(value: float | None, signed: bool = False) -> str:
    """Three significant digits; a dash where there is no value.

    Example:
        >>> number(-0.012345), number(2.0, signed=True), number(1234.5), number(None)
        ('−0.0123', '+2', '1234', '–')
    """
    if value is None:
        return "–"
    digits = 4 if abs(value) >= 100 else 3
    return f"{value:{'+' if signed else ''}.{digits}g}".replace("-", "−")


def interval(found: Found, signed: bool = False) -> Cell:
    """A number with its interval below.

    Example:
        >>> interval({"value": 0.5, "low": 0.4, "high": 0.61}).detail
        '[0.4, 0.61]'
    """
    if found["low"] is None or found["high"] is None:
        return Cell(number(found["value"], signed))
    return Cell(number(found["value"], signed), f"[{number(found['low'], signed)}, {number(found['high'], signed)}]")


def difference(found: Found) -> Cell:
    """A signed number with its interval, strong where it is not 0 within it.

    Example:
        >>> difference({"value": 0.5, "low": 0.4, "high": 0.61})
        Cell(text='+0.5', detail='[+0.4, +0.61]', strong=True)
    """
    cell = interval(found, signed=True)
    return Cell(cell.text, cell.detail, sign(found) != 0)


def compared(found: Found, reference: bool) -> Cell:
    """A mean with its difference from a reference's below, which has none; strong where that is not 0.

    Example:
        >>> compared({"mean": 2.0, "difference": {"value": 0.5, "low": None, "high": None}}, reference=False)
        Cell(text='2', detail='+0.5', strong=False)
    """
    if reference or found["difference"] is None:
        return Cell(number(found["mean"]))
    change = difference(found["difference"])
    return Cell(number(found["mean"]), f"{change.text} {change.detail}".rstrip(), change.strong)


def in_line(found: Found) -> str:
    """A number with its interval, in a sentence.

    Example:
        >>> in_line({"value": 0.5, "low": 0.4, "high": 0.61})
        '0.5 [0.4, 0.61]'
    """
    cell = interval(found)
    return f"{cell.text} {cell.detail}".rstrip()


def sign(found: Found | None) -> int:
    """1 where the whole interval lies above 0, −1 where it lies below, else 0.

    Example:
        >>> [sign({"low": low, "high": low + 2}) for low in (1, -1, -4)], sign(None)
        ([1, 0, -1], 0)
    """
    if found is None or found["low"] is None or found["high"] is None:
        return 0
    return (found["low"] > 0) - (found["high"] < 0)
