"""What is said of table 1: a short table, and the page's section with its finding."""

from __future__ import annotations

from collections.abc import Mapping

from curvae.report.figures import Kind
from curvae.report.grids import Cell, Content, Grid, GridRow, Summary, number
from curvae.reproduce.summary import span, table_of
from curvae.reproduce.sweep.faces import CHALLENGER as GRAE
from curvae.reproduce.sweep.faces import REFERENCE as VAE


def table(summary: Summary) -> str:
    """One row a β: what each pictured model reconstructs, and how sharp its samples are."""
    head = ["β", f"squared error: {VAE}", GRAE, f"sharpness: {VAE}", GRAE]
    rows = [
        [
            f"{one['beta']:g}",
            *(f"{one['models'][name][key]:.3g}" for key in ("mse", "sharpness") for name in (VAE, GRAE)),
        ]
        for one in summary["settings"]
    ]
    return table_of(head, rows)


def content(summary: Summary) -> Content:
    """The finding and the table."""
    heads = (f"squared error, {VAE}", GRAE, f"sharpness of samples, {VAE}", GRAE)
    rows = tuple(
        GridRow(
            f"β = {one['beta']:g}",
            tuple(Cell(number(one["models"][name][key])) for key in ("mse", "sharpness") for name in (VAE, GRAE)),
        )
        for one in summary["settings"]
    )
    ratios = [one["models"][GRAE]["mse"] / one["models"][VAE]["mse"] for one in summary["settings"]]
    found = (
        f"Against the {VAE} of the same β, {GRAE} reconstructs held-out images with {span(ratios)} times the squared "
        "error; whether its samples are as good is for the eye here, and for figure 4 in numbers.",
    )
    return Content(found, (Grid("The pictured models", heads, rows),), {"rows": summary["rows"]})


SECTIONS: Mapping[str, Kind] = {
    "table1": Kind(
        "Table 1",
        "are samples as good without the noise?",
        {"table1.png": "samples of β-VAE and GRAE≈ side by side, one band for each β"},
        content,
    )
}
