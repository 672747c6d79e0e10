"""The paper's figures and tables, made again: one folder each, and one line below.

A figure's folder holds its configuration for each scale, its numbers, its picture, its table and its section of the
report's page. Its package has ``reproduce(figure, scale, out)`` and ``SECTIONS``, what a page shows of the outcome.
What several figures share stands beside them: ``sweep`` (training many runs once), ``intervals``, ``summary`` (numbers
and tables on disk), ``drawing`` and ``descent``. A figure imports from these and never from another figure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import TYPE_CHECKING

from curvae._extras import require

require("curvae.reproduce needs", "lightning", "matplotlib", "rich", "PIL", "filelock")

if TYPE_CHECKING:
    from curvae.report.figures import Kind

SCALES = ("smoke", "quick", "overnight", "paper")

SWEEPS: Mapping[str, str] = {
    "fig2": "curvae.reproduce.fig2",
    "fig3": "curvae.reproduce.fig3",
    "fig7": "curvae.reproduce.fig2",
    "comparison": "curvae.reproduce.comparison",
    "table1": "curvae.reproduce.table1",
    "fig4": "curvae.reproduce.fig4",
    "disentanglement": "curvae.reproduce.disentanglement",
}
"""The package that makes each figure of runs that all figures share."""

FIGURES: Mapping[str, str] = {
    "fig1": "curvae.reproduce.uniqueness",
    "fig5": "curvae.reproduce.uniqueness",
    "fig6": "curvae.reproduce.uniqueness",
    **SWEEPS,
    "approximation": "curvae.reproduce.approximation",
}
"""The package that makes each figure, table or measurement, by the name that ``curvae reproduce`` takes."""


def sections() -> Mapping[str, Kind]:
    """The section of the report's page for every figure; :func:`curvae.report.write_report` takes it."""
    return _Sections()


class _Sections(Mapping[str, "Kind"]):
    """Imported when asked for: the page of one figure needs no package that only another figure needs."""

    def __getitem__(self, figure: str) -> Kind:
        kind: Kind = import_module(FIGURES[figure]).SECTIONS[figure]
        return kind

    def __iter__(self) -> Iterator[str]:
        return iter(FIGURES)

    def __len__(self) -> int:
        return len(FIGURES)
