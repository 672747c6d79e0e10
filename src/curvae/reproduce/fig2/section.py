"""What is said of figures 2 and 7: a short table, and the page's section with its findings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from curvae.report.figures import Kind
from curvae.report.grids import Cell, Content, Grid, GridRow, Summary, difference, interval, number, sign
from curvae.reproduce.fig2.config import setting_name
from curvae.reproduce.summary import span, table_of, text

_ABOVE = ("more than diagonal Σ", "more than autoenc.")
_CONTROLS = {"diagonal": "decoders trained with a diagonal Σ", "autoencoder": "ordinary autoencoders"}


def table(summary: Summary) -> str:
    """Alignment, and the share inside blocks with its controls."""
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
                setting_name(found),
                text(found["alignment"]["distance"]),
                text(found["alignment"]["correlation_in_blocks"]),
                *(text(share[kind]) for kind in ("blocks", "diagonal", "autoencoder")),
                f"{found['share_by_chance']:.3f}",
                f"{worst:.2g}",
            )
        )
    return table_of(head, rows)


def content(summary: Summary) -> Content:
    """The findings and the tables with intervals."""
    settings = summary["settings"]
    names = [setting_name(one) for one in settings]
    blocks = sorted({str(one["block"]) for one in settings})
    alignment = ("distance", "distance_in_structure", "correlation", "correlation_in_blocks")
    return Content(
        findings=_heat_map_findings(settings),
        grids=(
            Grid(
                "Share of JᵀJ's squared off-diagonal entries inside the blocks",
                ("blocks in Σ", "chance", "diagonal Σ", "autoencoder", *_ABOVE, "p"),
                tuple(GridRow(name, _share_cells(one)) for name, one in zip(names, settings, strict=True)),
            ),
            Grid(
                "Σ⁻¹ against Q",
                ("relative distance", "within blocks", "correlation", "within blocks"),
                tuple(
                    GridRow(name, tuple(interval(one["alignment"][key]) for key in alignment))
                    for name, one in zip(names, settings, strict=True)
                ),
            ),
        ),
        words={"blocks": " or ".join(blocks)},
    )


def _share_cells(one: Summary) -> tuple[Cell, ...]:
    share, above = one["share"], one["share_above"]
    return (
        interval(share["blocks"]),
        Cell(number(one["share_by_chance"])),
        *(interval(share[kind]) for kind in _CONTROLS),
        *(difference(above[kind]) for kind in _CONTROLS),
        Cell(number(_p_value(one))),
    )


def _p_value(one: Summary) -> float:
    return float(max(trial["p_value"] for trial in one["permuted"]["blocks"]))


def _heat_map_findings(settings: Sequence[Summary]) -> tuple[str, ...]:
    count = len(settings)
    by_chance = sum(one["share"]["blocks"]["low"] > one["share_by_chance"] for one in settings)
    above = {kind: sum(sign(one["share_above"][kind]) > 0 for one in settings) for kind in _CONTROLS}
    ordered = sum(_p_value(one) <= 0.05 for one in settings)
    controls = " and ".join(f"in {above[kind]} above the {text}" for kind, text in _CONTROLS.items())
    distances = [one["alignment"]["distance"]["value"] for one in settings]
    inner = [one["alignment"]["distance_in_structure"]["value"] for one in settings]
    return (
        f"Of {count} setting{'s' * (count > 1)}, the share inside the blocks lies above chance in {by_chance}, "
        f"{controls} (the whole 95 % interval does).",
        f"In {ordered} of {count} it is larger than in 95 % of random orders of the latents, with every seed.",
        f"Σ⁻¹ is at a relative distance of {span(distances)} from what (11) asks, {span(inner)} within its blocks.",
    )


def _kind(number: int) -> Kind:
    return Kind(
        f"Figure {number}",
        "does the shape of the noise show in the decoder?",
        {
            f"fig{number}.png": "heat maps: precision of the posterior beside the one that the decoder implies",
            f"fig{number}-shares.png": "share of the squared off-diagonal entries inside blocks, with controls",
        },
        content,
        lambda summary: _along_training(number, summary),
    )


def _along_training(number: int, summary: Summary) -> Mapping[str, str]:
    """Results of curvae 0.1 have none."""
    alt = "share inside blocks, and relative distance of the precision from (11), against steps"
    return {f"fig{number}-training.png": alt} if "along_training" in summary["settings"][0] else {}


SECTIONS: Mapping[str, Kind] = {"fig2": _kind(2), "fig7": _kind(7)}
