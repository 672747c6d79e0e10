"""What is said of approximation (6) on the report's page."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from curvae.report.figures import Kind
from curvae.report.grids import Cell, Content, Found, Grid, GridRow, Summary, in_line, number
from curvae.report.tables import commit_name, versions
from curvae.reproduce.intervals import paired

Row = Mapping[str, Any]
Group = list[Row]
_ROUNDING = 1e-9
"""What is smaller than this share of the Hessian is rounding."""


def groups(summary: Summary, trained: bool) -> dict[tuple[str, str], Group]:
    """The rows of each observation model and network, one a seed."""
    found: dict[tuple[str, str], Group] = {}
    for row in summary["rows"]:
        if row["trained"] == trained:
            found.setdefault((row["observation"], row["network"]), []).append(row)
    return found


def _percent(group: Group, share: Callable[[Row], float]) -> Found:
    """Mean over seeds in per cent, with Student's interval."""
    return paired(100 * np.array([share(row) for row in group]))


def _dropped(group: Group) -> Found:
    return _percent(group, lambda row: float(row["error"]["mean"]))


def _change(group: Group, name: str) -> Found | None:
    """How much (7) or (12) differs from (4) or (10), as a share of the latter; None where there is no (10)."""
    if any(row[f"{name}_exact"] is None for row in group):
        return None
    return _percent(group, lambda row: row[f"{name}_difference"]["mean"] / row[f"{name}_exact"]["mean"])


def _cell(found: Found | None) -> Cell:
    if found is None:
        return Cell("–")
    value, low, high = (None if found[key] is None else _number(found[key]) for key in ("value", "low", "high"))
    return Cell(f"{value} %", "" if low is None else f"[{low}, {high}]")


def _number(percent: float) -> str:
    """What is rounding is 0."""
    return number(0.0 if abs(percent) < 100 * _ROUNDING else percent)


def content(summary: Summary) -> Content:
    """The findings and a table of the decoders before and after training."""
    trained = groups(summary, trained=True)
    heads = ("dropped part of the Hessian", "the same before training", "(7) − (4)", "(12) − (10)", "no (10)")
    before = groups(summary, trained=False)
    rows = tuple(
        GridRow(
            f"{observation} · {network}",
            (
                _cell(_dropped(group)),
                _cell(_dropped(before[observation, network])),
                _cell(_change(group, "taylor")),
                _cell(_change(group, "closed")),
                Cell(f"{number(100 * float(np.mean([row['missing'] for row in group])))} %"),
            ),
        )
        for (observation, network), group in trained.items()
    )
    return Content(
        _findings(trained), (Grid("Trained decoders", heads, rows),), {"seeds": len(summary["config"]["seeds"])}
    )


def _findings(trained: Mapping[tuple[str, str], Group]) -> tuple[str, ...]:
    exact = [name for name, group in trained.items() if all(row["error"]["mean"] < _ROUNDING for row in group)]
    others = {name: _dropped(group) for name, group in trained.items() if name not in exact}
    found = []
    if exact:
        names = "; ".join(" · ".join(name) for name in exact)
        found.append(f"Nothing is dropped, up to rounding, in {len(exact)} of {len(trained)} decoders: {names}.")
    if others:
        least, most = (pick(others, key=lambda name: others[name]["value"]) for pick in (min, max))
        found.append(
            f"In the other {len(others)} the dropped part is {in_line(others[least])} % ({' · '.join(least)}) to "
            f"{in_line(others[most])} % ({' · '.join(most)}) of the exact Hessian."
        )
        changes = {name: change for name in others if (change := _change(trained[name], "taylor")) is not None}
        worst = max(changes, key=lambda name: abs(changes[name]["value"]))
        found.append(
            f"The objective feels less of it: (7) differs from (4) by at most {in_line(changes[worst])} % "
            f"({' · '.join(worst)})."
        )
    missing = {name: float(np.mean([row["missing"] for row in group])) for name, group in trained.items()}
    none = max(missing, key=missing.__getitem__)
    if missing[none] > 0:
        found.append(
            f"(10) does not exist for {number(100 * missing[none])} % of the images with {' · '.join(none)}, the "
            "largest share: there the exact Hessian has the wrong sign, and only its first part gives an objective."
        )
    return tuple(found)


def conditions(summary: Summary) -> tuple[tuple[str, str], ...]:
    """Under what the models were trained and measured."""
    config, made = summary["config"], summary["environment"]
    wide = "" if config["paper_width"] is None else f", the paper's networks × {config['paper_width']:g}"
    return (
        ("scale", config["scale"]),
        ("data", f"{config['data']}; {config['points']:,} held-out samples measured"),
        (
            "networks",
            f"perceptrons with layers of {' and '.join(map(str, config['hidden']))}{wide}; d = {config['latents']}",
        ),
        ("training", f"β-VAE, diagonal Σ, {config['steps']:,} steps of {config['batch_size']}, learning rate 0.001"),
        ("seeds", ", ".join(map(str, config["seeds"]))),
        ("made on", str(made["device"])),
        ("versions", versions(made)),
        ("commit", commit_name(made["commit"])),
        ("date", str(summary["date"])),
    )


SECTIONS: Mapping[str, Kind] = {
    "approximation": Kind(
        "Approximation (6)",
        "what is lost with the decoder's second derivatives?",
        {"approximation.png": "error of approximation (6) and its effect on the objectives, for every decoder"},
        content,
        conditions=conditions,
    )
}
