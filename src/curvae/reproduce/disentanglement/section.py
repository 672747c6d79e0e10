"""What is said of disentanglement: a table, and the page's section."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from curvae.report.figures import Kind
from curvae.report.grids import Content
from curvae.reproduce.disentanglement.config import AUTOENCODER
from curvae.reproduce.disentanglement.scores import SCORES
from curvae.reproduce.summary import table_of
from curvae.reproduce.summary import text as interval


def _text(found: Mapping[str, Any]) -> str:
    """With its interval, where several seeds give one."""
    return f"{found['value']:.3g}" if found["low"] is None and found["value"] is not None else interval(found)


def table(summary: Mapping[str, Any]) -> str:
    """One row a model and β, then the answers."""
    keys = summary["measures"]
    rows = [
        [f"{name}, β = {beta:g}", *(_text(model[key][at]) for key in keys)]
        for name, model in summary["models"].items()
        for at, beta in enumerate(summary["betas"])
    ]
    rows.append([AUTOENCODER, *(_text(summary[AUTOENCODER][key]) for key in keys)])
    answers = [
        [title, *(_text(found[key]) for key in SCORES)]
        for title, found in (
            *((f"diagonal less full Σ, {kind}", part) for kind, part in summary["diagonal_less_full"].items()),
            *((f"data less control, {name}", part) for name, part in summary["data_less_control"].items()),
            ("rank correlation with mean absolute cosine", summary["orthogonality"]),
        )
    ]
    heads = [summary["measures"][key] for key in SCORES]
    return "\n\n".join([table_of(["model", *keys.values()], rows), table_of(["mean over β [95 %]", *heads], answers)])


def content(summary: Mapping[str, Any]) -> Content:
    """One finding for each kind of model: what a diagonal Σ changes against a full one."""
    found = []
    for kind, scores in summary["diagonal_less_full"].items():
        for key, one in scores.items():
            name = f"{summary['measures'][key]}, {'β-VAE' if kind == 'vae' else 'GRAE'}, diagonal less full Σ"
            found.append(f"{name}: {_verdict(one)}.")
    return Content(tuple(found), (), {"one_seed": len(summary[AUTOENCODER]["mig"]["values"]) == 1})


def _verdict(one: Mapping[str, Any]) -> str:
    if one["low"] is None:
        return f"{one['value']:+.2g} with one seed, so that nothing is concluded"
    if one["low"] <= 0 <= one["high"]:
        return f"no difference that exceeds the spread of the seeds ({one['low']:+.2g} to {one['high']:+.2g})"
    return f"{'higher' if one['value'] > 0 else 'lower'}, {one['low']:+.2g} to {one['high']:+.2g}"


SECTIONS: Mapping[str, Kind] = {
    "disentanglement": Kind(
        "Disentanglement",
        "Do latents stand for the factors of known data, and is it the diagonal Σ that does it?",
        {"disentanglement.png": "scores of disentanglement against β by structure, with controls"},
        content,
    )
}
