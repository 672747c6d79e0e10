"""What is said of figure 3: a short table, and the page's section with its findings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from curvae.report.figures import Kind
from curvae.report.grids import Cell, Content, Grid, GridRow, Summary, in_line, interval, number, sign
from curvae.reproduce.summary import table_of, text


def table(summary: Summary) -> str:
    """The gaps at the end of training, by block size and β, and their slopes."""
    head = ("b", "β", "(2) − (7)", "(7) − (13)", "by the formula", "(7) − family", "(4) − (7), exact Hessian")
    rows = []
    for block, found in summary["blocks"].items():
        gaps, formula = found["gaps"][-1], found["objectives"][-1]["gap"]
        for k, beta in enumerate(summary["betas"]):
            exact = found["exact_hessian"]["(4) − (7)"][k]
            parts = (gaps["(2) − (7)"][k], gaps["(7) − (13)"][k], formula[k], gaps["(7) − family"][k], exact)
            rows.append((block, f"{beta:g}", *map(text, parts)))
        slopes = found["slopes"]
        names = ("(2) − (7)", "(7) − (13)", "(7) − family")
        two, thirteen, family = (text(slopes[name]) for name in names)
        rows.append((block, "slope", two, thirteen, "", family, ""))
    return table_of(head, rows)


def content(summary: Summary) -> Content:
    """The findings and the tables with intervals."""
    betas, blocks = summary["betas"], summary["blocks"]
    titles = ("(2) − (7)", "(7) − (13)", "(7) − family", "family − (13)")
    gaps = tuple(
        Grid(
            f"b = {block}: differences at the end of training",
            titles,
            (
                *(
                    GridRow(f"β = {beta:g}", tuple(interval(found["gaps"][-1][title][k]) for title in titles))
                    for k, beta in enumerate(betas)
                ),
                GridRow("power of β", tuple(interval(found["slopes"][title]) for title in titles)),
            ),
        )
        for block, found in blocks.items()
    )
    exact = tuple(_exact(block, found["exact_hessian"], betas) for block, found in blocks.items())
    steps = [f"{step:,}" for step in summary["steps"]]
    moments = f"steps {', '.join(steps[:-1])} and at the end, {steps[-1]}" if steps[1:] else f"step {steps[0]}"
    findings = _curve_findings(summary)
    return Content(findings, tuple(one for pair in zip(gaps, exact, strict=True) for one in pair), {"moments": moments})


def _exact(block: str, found: Summary, betas: Sequence[float]) -> Grid:
    titles = ("(2) − (4)", "(2) − (7)", "(4) − (7)")
    rows = []
    for k, beta in enumerate(betas):
        closed = found["(4) − (10)"][k]
        error = "" if closed["se"] is None else f"± {number(closed['se'])}"
        missing = Cell(f"{100 * found['share_without_(10)'][k]:.0f} %")
        cells = (*(interval(found[title][k]) for title in titles), Cell(number(closed["value"]), error), missing)
        rows.append(GridRow(f"β = {beta:g}", cells))
    return Grid(f"b = {block}: with the exact second derivative", (*titles, "(4) − (10)", "without (10)"), tuple(rows))


def _curve_findings(summary: Summary) -> tuple[str, ...]:
    betas = summary["betas"]
    found = []
    for block, one in summary["blocks"].items():
        slopes, shares = one["slopes"], [_relative(one, k) for k in range(len(betas))]
        small, large = min(range(len(betas)), key=betas.__getitem__), max(range(len(betas)), key=betas.__getitem__)
        found.append(
            f"b = {block}: (7) − (13) is {shares[small]} of (7) at β = {betas[small]:g} and {shares[large]} at "
            f"β = {betas[large]:g}; it grows like β to the power {in_line(slopes['(7) − (13)'])}, "
            f"|(2) − (7)| like β to the power {in_line(slopes['(2) − (7)'])}{_unclear(one, betas)}. "
            f"{_by_the_exact(one['exact_hessian'], large, betas)}"
        )
    error = number(100 * summary["formula_error"])
    return (
        *found,
        f"The measured (7) − (13) and its closed formula differ by no more than {error} % of (7), on any image.",
    )


def _unclear(one: Summary, betas: Sequence[float]) -> str:
    """A power of what may be 0 says little: at which β that is so."""
    gaps = one["gaps"][-1]["(2) − (7)"]
    names = ", ".join(f"{beta:g}" for beta, gap in zip(betas, gaps, strict=True) if sign(gap) == 0)
    return f", of which little can be said: at β = {names} it is 0 within its interval" if names else ""


def _by_the_exact(found: Summary, k: int, betas: Sequence[float]) -> str:
    """How much of (2) − (7) is due to JᵀJ as second derivative."""
    exact, ours = (in_line(found[title][k]) for title in ("(2) − (4)", "(2) − (7)"))
    return (
        f"With the exact second derivative, at β = {betas[k]:g}, {exact} is left of (2) minus the expansion, "
        f"and with JᵀJ {ours}, on the same images."
    )


def _relative(one: Summary, k: int) -> str:
    gap, taylor = one["gaps"][-1]["(7) − (13)"][k]["value"], one["objectives"][-1]["taylor"][k]["value"]
    return f"{number(100 * gap / abs(taylor))} %" if taylor else "–"


SECTIONS: Mapping[str, Kind] = {
    "fig3": Kind(
        "Figure 3",
        "are the three objectives one?",
        {"fig3.png": "the three objectives, their differences, and these along training"},
        content,
    )
}
