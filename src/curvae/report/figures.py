"""The page's sections about reproduced figures. What they explain is in the templates, one for each kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from curvae.errors import InputError
from curvae.report.conditions import caution, conditions
from curvae.report.contents import comparison, curves, heat_maps
from curvae.report.faces import quality, samples
from curvae.report.grids import Content
from curvae.report.pictures import Picture
from curvae.report.results import Result


@dataclass(frozen=True)
class Kind:
    """What all results of one figure have in common.

    Attributes:
        template: of the explanation.
        title: as the paper names it.
        question: that it answers.
        pictures: file names, and what each shows in words.
        content: what of the summary is shown.
        optional: more pictures, after the others: the key of the summary without which there is none, the file, and
            what it shows.
    """

    template: str
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


def _heat_maps(number: int) -> Kind:
    return Kind(
        "heatmaps",
        f"Figure {number}",
        "does the shape of the noise show in the decoder?",
        {
            f"fig{number}.png": "heat maps: precision of the posterior beside the decoder's Gram matrix",
            f"fig{number}-shares.png": "share of off-diagonal energy inside blocks, with controls",
        },
        heat_maps,
    )


KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        "fig2": _heat_maps(2),
        "fig7": _heat_maps(7),
        "fig3": Kind(
            "curves",
            "Figure 3",
            "are the three objectives one?",
            {"fig3.png": "the three objectives, their differences, and these along training"},
            curves,
        ),
        "comparison": Kind(
            "comparison",
            "Comparison of training objectives",
            "what is lost and gained by dropping the noise?",
            {"comparison.png": "measures of every model and seed"},
            comparison,
        ),
        "table1": Kind(
            "samples",
            "Table 1",
            "are samples as good without the noise?",
            {"table1.png": "samples of β-VAE and GRAE≈ side by side, one band for each β"},
            samples,
        ),
        "fig4": Kind(
            "quality",
            "Figure 4",
            "how good are samples, at every β?",
            {"fig4.png": "Fréchet distance, sharpness, reconstruction error and objective against β, for both models"},
            quality,
            (("ablation", "fig4-ablation.png", "models that differ from GRAE≈ in one thing"),),
        ),
    }
)
"""What a page can show, by the name that ``curvae reproduce`` takes."""


def sections(results: Sequence[Result]) -> list[Section]:
    """A section for each result, in the order given.

    Raises:
        InputError: a figure without a page, or a result that is damaged.
    """
    return [_section(result, place) for place, result in enumerate(results, 1)]


def _section(result: Result, place: int) -> Section:
    kind = KINDS.get(result.figure)
    if kind is None:
        expected = ", ".join(KINDS)
        raise InputError(f"{result.path} holds {result.figure}, which has no page; expected results of {expected}")
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
