"""What is said of figures 1, 5 and 6 on the report's page."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from curvae.report.figures import Kind
from curvae.report.grids import Cell, Content, Found, Grid, GridRow, Summary, number
from curvae.report.tables import commit_name, versions

_NAME = re.compile(
    r"(?P<nu>\w+)-(?P<family>diagonal|full)-(?P<columns>\w+)(?:-w(?P<draw>\d+))?-(un)?amortised(?:-guard-(?P<guard>\w+))?"
)
_TARGETS = {"to_true_latents": "true latents", "to_principal_axes": "principal axes", "to_elbo_optimum": "optimum"}
_MIXINGS = {"orthogonal": "W with orthogonal columns", "gaussian": "W with normal entries"}
_GUARDS = {"off": ", without the guard", "all": ", the guard for the decoder as well"}
_FAMILIES = ("diagonal", "full")


@dataclass(frozen=True)
class _Pair:
    """The panels of one ν, mixing and guard: what was found with diagonal and with full Σ."""

    nu: str
    columns: str
    draw: str | None
    guard: str | None
    found: Mapping[str, Summary]

    @property
    def title(self) -> str:
        """Of its rows."""
        return self.nu if self.draw is None else f"W {self.draw}"

    @property
    def group(self) -> tuple[str, str, bool]:
        """What stands in one table."""
        return self.columns, self.guard or "", self.draw is not None


def _pairs(summary: Summary) -> list[_Pair]:
    found: dict[tuple[str, str, str | None, str | None], dict[str, Summary]] = {}
    for name, panel in summary["panels"].items():
        match = _NAME.fullmatch(name)
        if match is None:
            raise ValueError(f"panel {name!r}")
        key = match["nu"], match["columns"], match["draw"], match["guard"]
        found.setdefault(key, {})[match["family"]] = panel
    return [_Pair(*key, panels) for key, panels in found.items()]


def content(summary: Summary) -> Content:
    """The findings and a table for each mixing and guard."""
    pairs = _pairs(summary)
    within = summary["within_degrees"]
    one_w = [pair for pair in pairs if pair.draw is not None]
    plain = [pair for pair in pairs if pair.draw is None and pair.guard is None]
    findings = [*(_funnel(one_w, within) if one_w else ()), *(_ends(pair, within) for pair in plain)]
    groups = dict.fromkeys(pair.group for pair in pairs)
    grids = tuple(_grid([pair for pair in pairs if pair.group == group], within) for group in groups)
    words = {
        "within": within,
        "one_w": bool(one_w),
        "each": bool(plain),
        "unamortised": any(name.endswith("unamortised") for name in summary["panels"]),
        "optimum": any("to_elbo_optimum" in panel for panel in summary["panels"].values()),
        "gaussian": any(pair.columns == "gaussian" for pair in pairs),
        "guards": any(pair.guard for pair in pairs),
    }
    return Content(tuple(findings), grids, words)


def closes(panel: Summary, within: float) -> bool:
    """Whether the runs with the highest ELBO are significantly nearer to the optimum than the worst, and near."""
    found = panel["to_elbo_optimum"]
    return bool(found["worst_minus_best"]["low"] > 0 and found["best_quarter"]["high"] < within)


def _funnel(pairs: list[_Pair], within: float) -> Iterator[str]:
    if any("best_quarter" not in pair.found[family]["to_elbo_optimum"] for pair in pairs for family in _FAMILIES):
        return
    closed = {family: sum(closes(pair.found[family], within) for pair in pairs) for family in _FAMILIES}
    highest, full = (
        _span([pair.found[family]["to_elbo_optimum"]["best_quarter"] for pair in pairs]) for family in _FAMILIES
    )
    lowest = _span([pair.found["diagonal"]["to_elbo_optimum"]["worst_quarter"] for pair in pairs])
    yield (
        f"Runs on the same data, diagonal Σ: the funnel closes in {closed['diagonal']} of {len(pairs)} panels. The "
        f"quarter of runs with the highest ELBO lies {highest} from the optimum on average, the quarter with the "
        f"lowest {lowest}. With full Σ it closes in {closed['full']} of {len(pairs)}: the highest quarter lies {full} "
        "away."
    )
    angles = [pair.found["diagonal"]["one_w"]["optimum_to_true_latents"] for pair in pairs]
    near = sum(abs(angle) < within for angle in angles)
    yield (
        f"The angle on which a funnel closes depends on W: {number(min(angles))}° to {number(max(angles))}° from the "
        f"true latents, within {within:g}° of them in {near} of {len(pairs)} panels."
    )


def _ends(pair: _Pair, within: float) -> str:
    """Where the long runs of both families end."""
    texts = []
    for target in _targets(pair):
        shares = [pair.found[family][target]["converged"]["within"] for family in _FAMILIES]
        cells = [f"{cell.text} {cell.detail}" for cell in map(_percent, shares)]
        more = " (significantly more)" if shares[0]["low"] > shares[1]["high"] else ""
        texts.append(f"of the {_TARGETS[target]}: {cells[0]} with diagonal{more}, {cells[1]} with full Σ")
    whose = f"{pair.nu}, {_MIXINGS[pair.columns]}, another one for each run"
    return f"{whose}. Shares of the long runs that end within {within:g}° {'; '.join(texts)}."


def _targets(pair: _Pair) -> list[str]:
    """What its angles are measured to; with orthogonal columns the true latents are the principal axes."""
    same = {"to_principal_axes"} if pair.columns == "orthogonal" else set()
    return [target for target in _TARGETS if target in pair.found["diagonal"] and target not in same]


def _grid(pairs: list[_Pair], within: float) -> Grid:
    first = pairs[0]
    targets = _targets(first)
    heads: list[str] = []
    if first.draw is not None:
        targets = ["to_elbo_optimum"]
        heads = ["W to the output axes", "optimum to the true latents", "posterior variances, ratio"]
    for target in targets:
        title = _TARGETS[target]
        heads += [f"{title}: median", f"within {within:g}°", "highest quarter", "lowest quarter"]
    rows = tuple(
        GridRow(f"{pair.title}, {family} Σ", (*_of_w(pair.found[family]), *_cells(pair.found[family], targets)))
        for pair in pairs
        for family in pair.found
    )
    whose = ", one W and data set for each pair of panels" if first.draw is not None else ""
    return Grid(f"{_MIXINGS[first.columns]}{_GUARDS.get(first.guard or '', '')}{whose}", tuple(heads), rows)


def _of_w(panel: Summary) -> tuple[Cell, ...]:
    found = panel.get("one_w")
    if found is None:
        return ()
    angles = (found["w_to_output_axes"], found["optimum_to_true_latents"])
    return (*(Cell(f"{number(angle)}°") for angle in angles), Cell(number(found["optimum_ratio_of_variances"])))


def _cells(panel: Summary, targets: list[str]) -> Iterator[Cell]:
    for target in targets:
        found = panel[target]
        yield _degrees(found["converged"]["median_abs"])
        yield _percent(found["converged"]["within"])
        yield _degrees(found.get("best_quarter"))
        yield _degrees(found.get("worst_quarter"))


def _degrees(found: Found | None) -> Cell:
    if found is None:
        return Cell("–")
    return Cell(f"{number(found['value'])}°", f"[{number(found['low'])}, {number(found['high'])}]")


def _percent(share: Found) -> Cell:
    value, low, high = (number(100 * share[key]) for key in ("value", "low", "high"))
    return Cell(f"{value} %", f"[{low}, {high}]")


def _span(found: list[Found]) -> str:
    """The least and the greatest of several estimates, with the widest that their intervals reach."""
    values = [one["value"] for one in found]
    low, high = min(one["low"] for one in found), max(one["high"] for one in found)
    return f"{number(min(values))}° to {number(max(values))}° [{number(low)}, {number(high)}]"


def conditions(summary: Summary) -> tuple[tuple[str, str], ...]:
    """Under what the trials were made."""
    made, norms = summary["environment"], " and ".join(f"{norm:g}" for norm in summary["norms"])
    trials = ", ".join(f"{count} with n = {n:,}" for n, count in summary["schedule"])
    return (
        ("scale", summary["scale"]),
        ("data", f"{summary['points']:,} points, noise σ = {summary['sigma']:g}, columns of W with norms {norms}"),
        ("runs a panel", f"{trials}; 5n iterations of Adam on all points, rate 0.1 divided by 10 every n"),
        ("seed", str(summary["seed"])),
        ("made on", f"{made['device']}, {made['threads']} at a time"),
        ("versions", f"{versions(made)}, numba {made['numba']}"),
        ("commit", commit_name(made["commit"])),
        ("date", str(summary["date"])),
    )


_SCALES = {
    "smoke": "four short runs a panel on 256 points, which show that it runs; the numbers mean nothing",
    "quick": "100 runs a panel with n up to 5000 where the paper has 420 with n up to 20,000; shows a trend",
}
_VARIANTS = {
    "gaussian-guard-paper": "The same with W of normal entries",
    "orthogonal-guard-off": "The same without the guard",
    "orthogonal-guard-all": "The same with the guard for the decoder as well",
}


def _kind(figure: str, question: str) -> Kind:
    def more(summary: Summary) -> Mapping[str, str]:
        """The variants that were run."""
        files = {f"{figure}-{variant}.png": alt for variant, alt in _VARIANTS.items()}
        return {file: alt for file, alt in files.items() if file in summary["figures"]}

    return Kind(
        f"Figure {figure.removeprefix('fig')}",
        question,
        {f"{figure}.png": "rotation angle of the inferred latents against the ELBO, a point for each run"},
        content,
        more,
        conditions,
        _SCALES,
    )


SECTIONS: Mapping[str, Kind] = {
    "fig1": _kind("fig1", "does a diagonal covariance make the latents unique?"),
    "fig5": _kind("fig5", "is it so for other decoders, and not the optimiser's doing?"),
    "fig6": _kind("fig6", "is it so without an encoder?"),
}
