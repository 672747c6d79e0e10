"""The sections that look at trained models: what is computed, drawn and said for runs that share their data."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float

from curvae._typing import Tensor
from curvae.data import Batch, Dataset, as_float
from curvae.report.drawing import Amounts, Captioned, Drawing
from curvae.report.images import STEPS, ImageDrawing, image_amounts
from curvae.report.lines import LINE_AMOUNTS, LineDrawing, code_cloud
from curvae.report.pictures import Picture, heat_map, is_image
from curvae.report.subjects import RunGroup, ShownRun
from curvae.report.view import Precisions, View, prior_noise

_SEED = 0
_EFFECT_DATA = 32
_MATRICES = 4
_VALUES = [-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0]


@dataclass(frozen=True)
class Pair:
    """A held-out sample's two matrices, in the same colours from −limit to limit."""

    sample: Picture | None  # None for a vector
    posterior: Picture  # the precision of the posterior, or of the best one
    implied: Picture  # the precision that the decoder implies
    limit: str  # the largest absolute entry of the two
    distance: str  # of the first from the second, relative


@dataclass(frozen=True)
class MatrixPairs:
    """The pairs of one run, and what its matrices are."""

    subject: ShownRun
    own: bool
    structure: str
    unit_gaussian: bool
    pairs: tuple[Pair, ...]


@dataclass(frozen=True)
class Traversal:
    """What one latent does: its number (from 1), the size of its effect, the picture."""

    latent: int
    effect: str
    picture: Picture


@dataclass(frozen=True)
class Traversals:
    """The latents of one run with the largest effect, of ``latents`` in all."""

    subject: ShownRun
    latents: int
    rows: tuple[Traversal, ...]


@dataclass(frozen=True)
class Way:
    """From one held-out image to another: along the straight line, along the geodesic, and how much that saves."""

    straight: Picture
    geodesic: Picture
    saved: str


@dataclass(frozen=True)
class Ways:
    """The ways of one run."""

    subject: ShownRun
    pairs: tuple[Way, ...]


@dataclass(frozen=True)
class Looks:
    """All sections of one group of runs, of most of them something for each run."""

    title: str  # the data's
    images: bool  # whether the data are shown as images; else as lines
    reconstructions: list[Captioned]  # the originals first, for images; else a chart for each sample
    samples: list[Captioned]
    codes: list[Captioned]  # for vectors only
    traversals: list[Traversals]
    values: list[float]  # of the traversed latents
    ways: list[Ways]  # for images only
    matrices: list[MatrixPairs]


def look(group: RunGroup, runs: int) -> Looks | None:
    """Compute and draw the sections of a group, one of ``runs`` on the page; None while none of its runs is trained.

    Raises:
        InputError: the data is gone or has changed.
    """
    if not group.trained:
        return None
    dataset = group.trained[0][0].run.dataset()
    images = is_image(dataset.shape)
    amounts = image_amounts(dataset.shape, runs) if images else LINE_AMOUNTS
    shown = held_out(dataset, amounts.examples)
    drawing = ImageDrawing(value_limits(dataset, shown), amounts.side) if images else LineDrawing(dataset.columns or ())
    noise = prior_noise(amounts.samples, max(view.model.latents for _, view in group.trained), _SEED)
    beside, drawn = conditions(dataset, amounts.examples), conditions(dataset, amounts.samples, repeat=True)
    rebuilt = [(subject, view.at(beside).reconstruct(shown)) for subject, view in group.trained]
    sampled = [(subject, view.at(drawn).decode(noise[:, : view.model.latents])) for subject, view in group.trained]
    return Looks(
        title=group.title,
        images=images,
        reconstructions=drawing.rebuilt(shown.numpy(), rebuilt),
        samples=drawing.sampled(sampled, held_out(dataset, amounts.samples).numpy()),
        codes=[] if images else _codes(group, dataset),
        traversals=[_traversals(*one, dataset, drawing, amounts) for one in group.trained],
        values=_VALUES,
        ways=[_ways(*one, shown, beside, drawing, amounts.pairs) for one in group.trained] if images else [],
        matrices=[
            _matrices(
                subject, view.at(conditions(dataset, amounts.examples, first=_MATRICES)), shown[:_MATRICES], drawing
            )
            for subject, view in group.trained
        ],
    )


def held_out(dataset: Dataset, count: int) -> Float[Tensor, "B *D"]:
    """``count`` held-out data (or all, if there are fewer), evenly spaced over the test set; the same for every run."""
    count = min(count, len(dataset.test))
    return as_float(dataset.test[torch.arange(count) * len(dataset.test) // count]).float()


def conditions(dataset: Dataset, count: int, first: int | None = None, repeat: bool = False) -> Tensor | None:
    """The conditions of what :func:`held_out` gives, or of the ``first`` of these; None where the data have none.

    ``repeat``: where there are fewer held-out data, their conditions in turn.
    """
    if not dataset.conditional:
        return None
    many = min(count, len(dataset.test))
    found = dataset.half(test=True)[torch.arange(many) * len(dataset.test) // many]
    assert isinstance(found, Batch)
    places = torch.arange(count if repeat else many) % many
    return found.c[places][:first]


def strongest(effects: Float[np.ndarray, " d"], count: int) -> list[int]:
    """The latents with the largest effect, largest first.

    Example:
        >>> strongest(np.array([0.1, 3.0, 2.0]), 2)
        [1, 2]
    """
    return [int(i) for i in np.argsort(-effects, kind="stable")[:count]]


def value_limits(dataset: Dataset, shown: Float[Tensor, "B *D"]) -> tuple[float, float]:
    """Which values are black and white: 0 and 1 for pixels and whatever lies within, else the range of the data."""
    low, high = float(shown.min()), float(shown.max())
    return (0.0, 1.0) if dataset.test.dtype == torch.uint8 or (low >= 0 and high <= 1) else (low, high)


def _traversals(subject: ShownRun, view: View, dataset: Dataset, drawing: Drawing, amounts: Amounts) -> Traversals:
    data, c = held_out(dataset, _EFFECT_DATA), conditions(dataset, _EFFECT_DATA)
    effects = view.at(c).effects(data)
    latents = strongest(effects, amounts.latents)
    start = view.at(None if c is None else c[:1])
    decoded = start.traverse(start.codes(data[:1])[0], latents, _VALUES)
    rows = tuple(
        Traversal(
            latent + 1, f"{effects[latent]:.3g}", drawing.traversed(row, f"latent {latent + 1} of {subject.name}")
        )
        for latent, row in zip(latents, decoded, strict=True)
    )
    return Traversals(subject, view.model.latents, rows)


def _ways(
    subject: ShownRun, view: View, shown: Float[Tensor, "B *D"], c: Tensor | None, drawing: Drawing, count: int
) -> Ways:
    """Between neighbours among the held-out images; of a conditional model at the condition of the first."""
    count = min(count, len(shown) // 2)
    if count == 0:
        return Ways(subject, ())
    codes = view.at(None if c is None else c[: 2 * count]).codes(shown[: 2 * count])
    found = view.at(None if c is None else c[: 2 * count : 2]).interpolate(codes[::2], codes[1::2], STEPS)
    names = [f"path {i + 1} of {subject.name}" for i in range(count)]
    return Ways(
        subject,
        tuple(
            Way(
                drawing.traversed(found.straight[i], f"{name}, straight line"),
                drawing.traversed(found.geodesic[i], f"{name}, geodesic"),
                f"{100 * found.saved[i]:.1f}",
            )
            for i, name in enumerate(names)
        ),
    )


def _matrices(subject: ShownRun, view: View, x: Float[Tensor, "B *D"], drawing: Drawing) -> MatrixPairs:
    found = view.precisions(x)
    pairs = tuple(_pair(found, i, sample, subject.name) for i, sample in enumerate(drawing.thumbnails(x.numpy())))
    unit = subject.run.config.likelihood in ("gaussian", "gaussian:1", "gaussian:1.0")
    return MatrixPairs(subject, found.own, subject.run.config.structure, unit, pairs)


def _pair(found: Precisions, i: int, sample: Picture | None, name: str) -> Pair:
    posterior, implied = found.posterior[i], found.implied[i]
    limit = float(max(np.abs(posterior).max(), np.abs(implied).max()))
    return Pair(
        sample,
        heat_map(posterior, limit, f"posterior precision of held-out sample {i + 1} in {name}"),
        heat_map(implied, limit, f"precision implied by the decoder at held-out sample {i + 1} in {name}"),
        f"{limit:.3g}",
        f"{found.distance[i]:.2f}",
    )


def _codes(group: RunGroup, dataset: Dataset) -> list[Captioned]:
    data, of_data = held_out(dataset, 1000), conditions(dataset, 1000)
    few, of_few = held_out(dataset, _EFFECT_DATA), conditions(dataset, _EFFECT_DATA)
    figures = []
    for subject, view in group.trained:
        if view.model.latents >= 2:
            first, second = strongest(view.at(of_few).effects(few), 2)
            figures.append(code_cloud(subject, view.at(of_data).codes(data), (first, second)))
    return figures
