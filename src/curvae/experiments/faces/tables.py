"""The short tables of table 1 and figure 4."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from curvae.experiments.faces.models import CHALLENGER, REFERENCE
from curvae.experiments.sweeps.tables import table, text

Summary = Mapping[str, Any]
_YES = {True: "yes", False: "no", None: "–"}


def quality(summary: Summary) -> str:
    """One row a β: distances of both models, whether they differ by less than the seeds, sharpness, error."""
    titles = {"frechet_prior": "FD, prior", "frechet_mixture": "FD, mixture"}
    head = ["β"]
    for title in titles.values():
        head += [f"{title}: {REFERENCE}", CHALLENGER, "difference [95 %]", "within seeds"]
    head += [f"sharpness: {REFERENCE}", CHALLENGER, f"squared error: {REFERENCE}", CHALLENGER]
    rows = []
    for k, beta in enumerate(summary["betas"]):
        cells = [f"{beta:g}"]
        for key in titles:
            both = [_mean(summary["models"][name][key][k]) for name in (REFERENCE, CHALLENGER)]
            within = _YES[summary["within_spread"][key][k]["within"]]
            cells += [*both, text(summary["differences"][key][k]), within]
        for key in ("sharpness_prior", "mse"):
            cells += [_mean(summary["models"][name][key][k]) for name in (REFERENCE, CHALLENGER)]
        rows.append(cells)
    parts = [table(head, rows), _real(summary)]
    return "\n\n".join([*parts, _ablation(summary["ablation"])] if summary["ablation"] else parts)


def _real(summary: Summary) -> str:
    about = summary["frechet"]
    return (
        f"Training images in place of samples: FD {about['of_training_images']:.4g}, sharpness of held-out images "
        f"{summary['sharpness_of_real_images']:.3g}. FD: Fréchet distance on {about['extractor']} features, "
        f"{about['images']} images in each set, reference {about['reference']}, rounded {about['rounding']}, resized: "
        f"{about['resize']}. Means over seeds ± their standard deviation."
    )


def _ablation(found: Summary) -> str:
    keys = {
        "frechet_prior": "FD, prior",
        "frechet_mixture": "FD, mixture",
        "sharpness_prior": "sharpness",
        "mse": "error",
    }
    rows = [
        [name, *(_mean(measured[key]) for key in keys), text(measured["frechet_prior"]["difference"])]
        for name, measured in found["models"].items()
    ]
    head = (f"β = {found['beta']:g}", *keys.values(), f"FD, prior, less {found['reference']} [95 %]")
    return table(head, rows)


def _mean(found: Summary) -> str:
    return f"{found['mean']:.4g}" if found["sd"] is None else f"{found['mean']:.4g} ± {found['sd']:.2g}"


def samples(summary: Summary) -> str:
    """One row a β: what each pictured model reconstructs, and how sharp its samples are."""
    head = ["β", f"squared error: {REFERENCE}", CHALLENGER, f"sharpness: {REFERENCE}", CHALLENGER]
    rows = [
        [
            f"{one['beta']:g}",
            *(f"{one['models'][name][key]:.3g}" for key in ("mse", "sharpness") for name in (REFERENCE, CHALLENGER)),
        ]
        for one in summary["settings"]
    ]
    return table(head, rows)
