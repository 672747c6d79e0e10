"""The short table of each figure, in Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from curvae.experiments.sweeps.tables import table, text

Summary = Mapping[str, Any]


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
                text(found["alignment"]["distance"]),
                text(found["alignment"]["correlation_in_blocks"]),
                *(text(share[kind]) for kind in ("blocks", "diagonal", "autoencoder")),
                f"{found['share_by_chance']:.3f}",
                f"{worst:.2g}",
            )
        )
    return table(head, rows)


def curves(summary: Summary) -> str:
    """Figure 3: the gaps at the end of training, by block size and β, and their slopes."""
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
    return table(head, rows)


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
    return table(("model", *summary["measures"].values()), rows)
