"""What the page says of each figure's summary: tables with intervals, and the findings in sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from curvae.report.grids import Cell, Content, Grid, Line, in_line, interval, number, sign

Summary = Mapping[str, Any]

_CONTROLS = {"diagonal": "decoders trained with a diagonal Σ", "autoencoder": "ordinary autoencoders"}


def heat_maps(summary: Summary) -> Content:
    """Figures 2 and 7."""
    settings = summary["settings"]
    names = [f"β = {one['beta']:g}, d = {one['latents']}, b = {one['block']}" for one in settings]
    blocks = sorted({str(one["block"]) for one in settings})
    alignment = ("distance", "distance_in_structure", "correlation", "correlation_in_blocks")
    return Content(
        findings=_heat_map_findings(settings),
        grids=(
            Grid(
                "Share of JᵀJ's off-diagonal energy inside the blocks",
                (
                    "blocks in Σ",
                    "chance",
                    "diagonal Σ",
                    "autoencoder",
                    "more than diagonal Σ",
                    "more than autoenc.",
                    "p",
                ),
                tuple(Line(name, _share_cells(one)) for name, one in zip(names, settings, strict=True)),
            ),
            Grid(
                "Σ⁻¹ against Q",
                ("relative distance", "within blocks", "correlation", "within blocks"),
                tuple(
                    Line(name, tuple(interval(one["alignment"][key]) for key in alignment))
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
        *(_difference(above[kind]) for kind in _CONTROLS),
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
        f"Σ⁻¹ is at a relative distance of {_range(distances)} from what (11) asks, {_range(inner)} within its blocks.",
    )


def curves(summary: Summary) -> Content:
    """Figure 3."""
    betas, blocks = summary["betas"], summary["blocks"]
    titles = ("(2) − (7)", "(7) − (13)", "(7) − family", "family − (13)")
    gaps = tuple(
        Grid(
            f"b = {block}: differences at the end of training",
            titles,
            (
                *(
                    Line(f"β = {beta:g}", tuple(interval(found["gaps"][-1][title][k]) for title in titles))
                    for k, beta in enumerate(betas)
                ),
                Line("power of β", tuple(interval(found["slopes"][title]) for title in titles)),
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
        rows.append(Line(f"β = {beta:g}", cells))
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
        f"With the exact second derivative, at β = {betas[k]:g}, {exact} is left of (2) less the expansion, "
        f"and with JᵀJ {ours}, on the same images."
    )


def _relative(one: Summary, k: int) -> str:
    gap, taylor = one["gaps"][-1]["(7) − (13)"][k]["value"], one["objectives"][-1]["taylor"][k]["value"]
    return f"{number(100 * gap / abs(taylor))} %" if taylor else "–"


def comparison(summary: Summary) -> Content:
    """Training with GRAE against the β-VAE."""
    models, measures, reference = summary["models"], summary["measures"], summary["reference"]
    grid = Grid(
        f"β = {summary['beta']:g}, d = {summary['latents']}",
        tuple(measures.values()),
        tuple(
            Line(name, tuple(_compared(found[key], name == reference) for key in measures))
            for name, found in models.items()
        ),
    )
    seeds = {len(found[key]["values"]) for found in models.values() for key in measures}
    words = {
        "rows": len(models),
        "one_seed": seeds == {1},
        "distances": tuple(_distance(key, one) for key, one in summary["frechet_distances"].items()),
    }
    return Content(_comparison_findings(summary, seeds == {1}), (grid,), words)


def _compared(found: Summary, reference: bool) -> Cell:
    if found["mean"] is None or reference or found["difference"] is None:
        return Cell(number(found["mean"]))
    difference = _difference(found["difference"])
    return Cell(number(found["mean"]), f"{difference.text} {difference.detail}".rstrip(), difference.strong)


def _comparison_findings(summary: Summary, one_seed: bool) -> tuple[str, ...]:
    if one_seed:
        return ("There is one seed: what differs here need not differ again, so that nothing is concluded.",)
    found = []
    for key, title in summary["measures"].items():
        if key == "seconds":
            continue
        signs = {name: sign(model[key]["difference"]) for name, model in summary["models"].items()}
        parts = [
            f"{word} with {'; '.join(name for name, own in signs.items() if own == direction)}"
            for word, direction in (("lower", -1), ("higher", 1))
            if direction in signs.values()
        ]
        text = " – ".join(parts) if parts else "no difference from the β-VAE that exceeds the spread of the seeds"
        found.append(f"{title}: {text}.")
    return tuple(found)


def _distance(key: str, about: Summary) -> str:
    if "left_out" in about:
        return f"A Fréchet distance is left out: {about['left_out']}."
    features = "digit" if key == "frechet" else about["extractor"]
    accuracy = (
        f", which names {100 * about['accuracy']:.1f} % of held-out digits rightly" if "accuracy" in about else ""
    )
    return (
        f"Fréchet distance ({features} features): {about['extractor']}{accuracy}; {about['features']} features; "
        f"{about['images']:,} images in each set; rounding {about['rounding']}; resize {about['resize']}; reference "
        f"{about['reference']}; training images score {number(about['of_training_images'])}."
    )


def _difference(found: Summary) -> Cell:
    """Signed, and strong where it is not 0 within its interval."""
    cell = interval(found, signed=True)
    return Cell(cell.text, cell.detail, sign(found) != 0)


def _range(values: Sequence[float]) -> str:
    low, high = number(min(values)), number(max(values))
    return low if low == high else f"{low} to {high}"
