"""What is said of the comparison: a short table, and the page's section with its findings."""

from __future__ import annotations

from collections.abc import Mapping

from curvae.report.figures import Kind
from curvae.report.grids import Content, Grid, GridRow, Summary, compared, number, sign
from curvae.reproduce.summary import table_of


def table(summary: Summary) -> str:
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
    return table_of(("model", *summary["measures"].values()), rows)


def content(summary: Summary) -> Content:
    """Training with GRAE against the β-VAE."""
    models, measures, reference = summary["models"], summary["measures"], summary["reference"]
    grid = Grid(
        f"β = {summary['beta']:g}, d = {summary['latents']}",
        tuple(measures.values()),
        tuple(
            GridRow(name, tuple(compared(found[key], name == reference) for key in measures))
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


SECTIONS: Mapping[str, Kind] = {
    "comparison": Kind(
        "Comparison of training objectives",
        "what is lost and gained by dropping the noise?",
        {"comparison.png": "measures of every model and seed"},
        content,
    )
}
