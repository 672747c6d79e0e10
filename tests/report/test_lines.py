"""Lines over a table's columns carry the columns' names where there are few, and numbers where there are many."""

from typing import Any

import numpy as np
import pytest

from curvae.report import lines
from curvae.report.lines import LineDrawing
from curvae.report.pictures import Picture


@pytest.fixture
def axes(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    found: list[Any] = []

    def chart(_: Any, alt: str, x: Any, y: Any, **options: Any) -> Picture:
        found.append((x, y))
        return real(_, alt, x, y, **options)

    real = vars(lines)["chart"]
    monkeypatch.setattr(lines, "chart", chart)
    return found


@pytest.mark.parametrize("names", [(), ("age", "a name of more than sixteen letters", "ill"), tuple("abcdefghijklm")])
def test_names_stand_below_where_there_are_few(names: tuple[str, ...], axes: list[Any]) -> None:
    count = max(len(names), 3)
    LineDrawing(names).traversed(np.random.default_rng(0).normal(size=(2, count)), "traversal")
    ((x, _),) = axes
    if len(names) == 3:
        assert (x.names, x.label) == (("age", "a name of more …", "ill"), "")
    else:
        assert (x.names, x.label) == ((), "entry of the sample")


def test_two_columns_are_axes(axes: list[Any]) -> None:
    subject: Any = type("Subject", (), {"name": "a run", "colour": "#3268c8"})
    x = np.random.default_rng(0).normal(size=(4, 2))
    for names, told in ((("age", "ill"), ["age", "ill"]), ((), ["first number", "second number"])):
        axes.clear()
        LineDrawing(names).sampled([(subject, x)], x)
        assert [axis.label for axis in axes[0]] == told
