"""Under what a figure was made: scale, changes, data, training, seeds, devices, versions, commit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from curvae.report.results import Result
from curvae.report.tables import commit_name, versions

_SCALES = {
    "smoke": "a few steps of a tiny network, which shows that it runs; the numbers mean nothing",
    "quick": "a narrower network and fewer steps than the paper's; shows a trend",
    "overnight": "the paper's steps or as many as fit into a night, and networks an eighth as wide",
}


def caution(summary: Mapping[str, Any]) -> str:
    """What the scale does not allow to conclude; empty at the paper's scale, unchanged."""
    scale, changes = summary["scale"], summary["changes"]
    if scale == "paper" and not changes:
        return ""
    meaning = "" if scale == "paper" else f": {_SCALES[scale]}"
    return f"Scale {scale}{meaning}{'; ' * bool(changes)}{_changed(changes)}."


def conditions(result: Result) -> tuple[tuple[str, str], ...]:
    """Labels and texts."""
    summary = result.summary
    training, trained, measured = summary["config"]["training"], summary["trained_under"], summary["measured_under"]
    everywhere = [*trained, measured]
    return (
        ("scale", f"{summary['scale']} ({_changed(summary['changes']) or 'nothing changed'})"),
        ("data", f"{training['data']}; {summary['test_points']:,} held-out data measured"),
        ("network", f"{training['network']}, width × {training['width']:g}"),
        ("training", f"{training['steps']:,} steps of {training['batch_size']}, learning rate {training['lr']:g}"),
        ("precision", f"{training['precision']}{'-bit' * training['precision'].isdigit()}"),
        ("seeds", ", ".join(map(str, training["seeds"]))),
        ("models", str(summary["runs"])),
        ("trained on", _each(trained, lambda place: str(place["device"]))),
        ("measured on", str(measured["device"])),
        ("versions", _each(everywhere, versions)),
        ("commit", _each(everywhere, lambda place: commit_name(place["commit"]))),
        ("date", str(summary["date"])),
        ("folder", str(result.path)),
    )


def _each(places: Iterable[Mapping[str, Any]], text: Callable[[Mapping[str, Any]], str]) -> str:
    """The different texts, in order of first appearance."""
    return "; ".join(dict.fromkeys(text(place) for place in places))


def _changed(changes: Mapping[str, str]) -> str:
    pairs = ", ".join(f"{key} = {value}" for key, value in changes.items())
    return f"changed from it: {pairs}" if pairs else ""
