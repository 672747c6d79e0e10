"""The short table of each figure, in Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from curvae.experiments.mnist.intervals import Interval

Summary = Mapping[str, Any]


def _text(found: Mapping[str, Any]) -> str:
    return str(Interval(found["value"], found["low"], found["high"]))


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown; the first column is text, the others are numbers.

    Example:
        >>> print(_table(("a", "b"), [("x", "1")]))
        | a | b |
        |---|---:|
        | x | 1 |
    """
    rule = "|---|" + "---:|" * (len(head) - 1)
    return "\n".join([f"| {' | '.join(head)} |", rule, *(f"| {' | '.join(row)} |" for row in rows)])


def heat_maps(summary: Summary) -> str:
    """Figures 2 and 7: alignment, and the share of energy inside blocks with its controls."""
    head = (
        "setting", "‖Σ⁻¹ − Q‖/‖Q‖", "correlation in blocks", "share inside blocks", "diagonal Σ", "autoencoder",
        "chance", "p (permuted)",
    )  # fmt: skip
    rows = []
    for found in summary["settings"]:
        share = found["share"]
        worst = max(one["p_value"] for one in found["permuted"]["blocks"])
        rows.append(
            (
                f"β = {found['beta']:g}, d = {found['latents']}, b = {found['block']}",
                _text(found["alignment"]["distance"]),
                _text(found["alignment"]["correlation_in_blocks"]),
                *(_text(share[kind]) for kind in ("blocks", "diagonal", "autoencoder")),
                f"{found['share_by_chance']:.3f}",
                f"{worst:.2g}",
            )
        )
    return _table(head, rows)


def curves(summary: Summary) -> str:
    """Figure 3: the gaps at the end of training, by block size and β, and their slopes."""
    head = ("b", "β", "(2) − (7)", "(7) − (13)", "by the formula", "(7) − family", "(4) − (7), exact Hessian")
    rows = []
    for block, found in summary["blocks"].items():
        gaps, formula = found["gaps"][-1], found["objectives"][-1]["gap"]
        for k, beta in enumerate(summary["betas"]):
            exact = found["exact_hessian"]["(4) − (7)"][k]
            parts = (gaps["(2) − (7)"][k], gaps["(7) − (13)"][k], formula[k], gaps["(7) − family"][k], exact)
            rows.append((block, f"{beta:g}", *map(_text, parts)))
        slopes = found["slopes"]
        names = ("(2) − (7)", "(7) − (13)", "(7) − family")
        two, thirteen, family = (_text(slopes[name]) for name in names)
        rows.append((block, "slope", two, thirteen, "", family, ""))
    return _table(head, rows)


def comparison(summary: Summary) -> str:
    """Means over seeds; in brackets how much more than the β-VAE with diagonal Σ."""
    rows = []
    for name, measured in summary["models"].items():
        cells = []
        for key in summary["measures"]:
            found = measured[key]
            if found["mean"] is None:
                cells.append("–")
            elif name == summary["reference"]:
                cells.append(f"{found['mean']:.4g}")
            else:
                cells.append(f"{found['mean']:.4g} ({found['difference']['value']:+.2g})")
        rows.append((name, *cells))
    return _table(("model", *summary["measures"].values()), rows)
