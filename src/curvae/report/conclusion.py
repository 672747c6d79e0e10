"""What the runs on a page show, in a box on top: differences of their objectives on the same held-out samples."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from curvae._typing import Float, Tensor
from curvae.data import Batch
from curvae.metrics.objectives import objective_values
from curvae.metrics.result import Estimate
from curvae.report.subjects import RunGroup, ShownRun
from curvae.report.view import View
from curvae.runs.lines import HELD_OUT

# the page says "(13)" of the closed form with a full Σ, as its tables do
_NAMES = {"beta_vae": "(2)", "taylor": "(7)", "grae_full": "(13)"}
_DRAWS = 8
# the objectives need each sample's d × d matrix
_MOST_LATENTS = 64
_TWO_SIDED = 1.96


@dataclass(frozen=True)
class Difference:
    """One objective of one run, less that of the first run on the page, paired by sample."""

    objective: str
    words: str  # lower, higher, or that these samples show neither
    size: str  # the absolute difference and its 95 % interval


@dataclass(frozen=True)
class Conclusion:
    """What one run's objectives (2), (7) and (13) are beside the first run's, on the same held-out samples."""

    subject: ShownRun
    reference: ShownRun
    samples: int
    differences: tuple[Difference, ...]


def conclusions(group: RunGroup) -> list[Conclusion]:
    """One for each run after the first, of those that can be compared: the same β and observation model."""
    comparable = [pair for pair in group.trained if _noise(pair[1]) == _noise(group.trained[0][1])]
    if len(comparable) < 2 or any(view.model.latents > _MOST_LATENTS for _, view in comparable):
        return []
    found = group.subjects[0].run.dataset().half(test=True)[:HELD_OUT]
    x, c = (found.x, found.c) if isinstance(found, Batch) else (found, None)
    if len(x) < 2:  # whose differences have no known error
        return []
    (reference, first), *others = [(subject, view.at(c)) for subject, view in comparable]
    base = _values(first, x)
    return [
        Conclusion(subject, reference, len(x), tuple(_difference(name, _values(view, x), base) for name in _NAMES))
        for subject, view in others
    ]


def _noise(view: View) -> tuple[float, str]:
    return view.beta, repr(view.likelihood)


@torch.no_grad()
def _values(view: View, x: Tensor) -> dict[str, Float[Tensor, " N"]]:
    draws = torch.Generator().manual_seed(0)
    given = (view.beta, view.likelihood, view.structure)
    parts = [
        objective_values(at, view.own(part), *given, generator=draws, samples=_DRAWS, paired=True).values
        for at, part in view.pieces(x)
    ]
    return {name: torch.cat([part[name] for part in parts]) for name in _NAMES}


def _difference(name: str, own: dict[str, Tensor], base: dict[str, Tensor]) -> Difference:
    found = Estimate.of(own[name] - base[name])
    assert found.se is not None
    low, high = found.mean - _TWO_SIDED * found.se, found.mean + _TWO_SIDED * found.se
    words = "lower" if high < 0 else "higher" if low > 0 else "neither lower nor higher, as far as these samples show"
    if low <= 0 <= high:
        return Difference(_NAMES[name], words, f"difference {low:+.2g} to {high:+.2g}")
    near, far = sorted((abs(low), abs(high)))
    return Difference(_NAMES[name], words, f"by {abs(found.mean):.2g}, {near:.2g} to {far:.2g}")
