"""The page's sections about reproduced figures. What a section explains and shows, its figure's folder says."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curvae.errors import InputError
from curvae.report.conditions import caution, conditions
from curvae.report.grids import Content
from curvae.report.pictures import Picture
from curvae.report.results import Result


@dataclass(frozen=True)
class Kind:
    """What all results of one figure have in common.

    Attributes:
        template: the explanation, a file; :class:`Section` is its ``section``.
        title: as the paper names it.
        question: that it answers.
        pictures: file names, and what each shows in words.
        content: what of the summary is shown.
        optional: more pictures, after the others: the key of the summary without which there is none, the file, and
            what it shows.
    """

    template: Path
    title: str
    question: str
    pictures: Mapping[str, str]
    content: Callable[[Mapping[str, Any]], Content]
    optional: tuple[tuple[str, str, str], ...] = ()


@dataclass(frozen=True)
class Section:
    """One figure on the page.

    Attributes:
        kind: what it is.
        name: of its folder.
        anchor: of its element, unique on the page.
        caution: what its scale does not allow to conclude; may be empty.
        pictures: in the order of the kind's.
        content: numbers and findings.
        conditions: under what it was made, as label and text.
    """

    kind: Kind
    name: str
    anchor: str
    caution: str
    pictures: tuple[Picture, ...]
    content: Content
    conditions: tuple[tuple[str, str], ...]


def sections(results: Sequence[Result], kinds: Mapping[str, Kind]) -> list[Section]:
    """A section for each result, in the order given.

    Args:
        results: what to show.
        kinds: of the figures that can be shown, by name.

    Raises:
        InputError: a figure without a page, or a result that is damaged.
    """
    return [_section(result, place, kinds) for place, result in enumerate(results, 1)]


def _section(result: Result, place: int, kinds: Mapping[str, Kind]) -> Section:
    kind = kinds.get(result.figure)
    if kind is None:
        expected = f"results of {', '.join(kinds)}" if kinds else "runs alone (curvae report takes results as well)"
        raise InputError(f"{result.path} holds {result.figure}, which has no page; expected {expected}")
    more = {file: alt for key, file, alt in kind.optional if result.summary.get(key)}
    files = {**kind.pictures, **more}
    pictures = tuple(result.picture(file, f"{alt}, {result.name}") for file, alt in files.items())
    try:
        content, made_under = kind.content(result.summary), conditions(result)
        warning = caution(result.summary)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        what = f"{type(error).__name__}: {error}"
        raise InputError(
            f"{result.path / 'summary.json'} is damaged or of another version ({what}); {result.again}"
        ) from error
    return Section(kind, result.name, f"{result.figure}-{place}", warning, pictures, content, made_under)
