"""The page's sections about reproduced figures. What a section explains and shows, its figure's folder says."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from curvae.errors import InputError
from curvae.report.grids import Content, Summary
from curvae.report.pictures import Picture
from curvae.report.results import Result
from curvae.report.tables import commit_name, versions

SCALES: Mapping[str, str] = {
    "smoke": "a few steps of a tiny network, which shows that it runs; the numbers mean nothing",
    "quick": "a narrower network and fewer steps than the paper's; shows a trend",
    "overnight": "the paper's steps or as many as fit into a night, and networks an eighth as wide",
}
"""What a scale means for figures of networks; one that is missing is the paper's own."""


def sweep_conditions(summary: Summary) -> Sequence[tuple[str, str]]:
    """Under what the models of a sweep were trained and measured, as label and text."""
    training, trained, measured = summary["config"]["training"], summary["trained_under"], summary["measured_under"]
    everywhere = [*trained, measured]
    return (
        ("scale", f"{summary['scale']} ({_changed(summary['changes']) or 'nothing changed'})"),
        ("data", f"{training['data']}; {summary['test_points']:,} held-out samples measured"),
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
    )


@dataclass(frozen=True)
class Kind:
    """What all results of one figure have in common.

    Attributes:
        title: as the paper names it.
        question: that it answers.
        pictures: file names, and what each shows in words.
        content: what of the summary is shown.
        more: pictures that only some summaries have, after the others; as ``pictures``.
        conditions: under what it was made, as label and text.
        scales: what each scale does not allow to conclude; none is missing but those that are the paper's.
        template: the explanation, a file, of which :class:`Section` is the ``section``; default ``section.html`` beside
            the module of ``content``.
    """

    title: str
    question: str
    pictures: Mapping[str, str]
    content: Callable[[Summary], Content]
    more: Callable[[Summary], Mapping[str, str]] = lambda _: {}
    conditions: Callable[[Summary], Sequence[tuple[str, str]]] = sweep_conditions
    scales: Mapping[str, str] = field(default_factory=lambda: SCALES)
    template: Path = Path()

    def __post_init__(self) -> None:
        if self.template == Path():
            beside = str(sys.modules[self.content.__module__].__file__)
            object.__setattr__(self, "template", Path(beside).with_name("section.html"))


@dataclass(frozen=True)
class Section:
    """One figure on the page."""

    kind: Kind
    name: str  # of its folder
    anchor: str  # of its element, unique on the page
    caution: str  # what its scale does not allow to conclude; may be empty
    pictures: tuple[Picture, ...]  # in the order of the kind's
    content: Content
    conditions: tuple[tuple[str, str], ...]  # under what it was made, as label and text


def section(result: Result, place: int, kinds: Mapping[str, Kind]) -> Section:
    """What the page shows of a result, in the given place on it.

    Raises:
        InputError: a figure without a page, or a result that is damaged.
    """
    kind = kinds.get(result.figure)
    if kind is None:
        expected = f"results of {', '.join(kinds)}" if kinds else "runs alone (curvae report takes results as well)"
        raise InputError(f"{result.path} holds {result.figure}, which has no page; expected {expected}")
    try:
        files = {**kind.pictures, **kind.more(result.summary)}
        content, warning = kind.content(result.summary), caution(result.summary, kind.scales)
        made_under = (*kind.conditions(result.summary), ("folder", str(result.path)))
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        what = f"{type(error).__name__}: {error}"
        raise InputError(
            f"{result.path / 'summary.json'} is damaged or was written by another version ({what}); {result.again}"
        ) from error
    pictures = tuple(result.picture(file, f"{alt}, {result.name}") for file, alt in files.items())
    return Section(kind, result.name, f"{result.figure}-{place}", warning, pictures, content, made_under)


def caution(summary: Summary, scales: Mapping[str, str] = SCALES) -> str:
    """What the scale does not allow to conclude; empty at the paper's scale, unchanged."""
    scale, changes = summary["scale"], summary.get("changes", {})
    if scale not in scales and not changes:
        return ""
    meaning = f": {scales[scale]}" if scale in scales else ""
    return f"Scale {scale}{meaning}{'; ' * bool(changes)}{_changed(changes)}."


def _each(places: Iterable[Mapping[str, Any]], text: Callable[[Mapping[str, Any]], str]) -> str:
    return "; ".join(dict.fromkeys(text(place) for place in places))


def _changed(changes: Mapping[str, str]) -> str:
    pairs = ", ".join(f"{key} = {value}" for key, value in changes.items())
    return f"changed from it: {pairs}" if pairs else ""
