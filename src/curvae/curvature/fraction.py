r"""A penalty on a random part of the batch that stands for all of it."""

from __future__ import annotations

from dataclasses import replace

import torch

from curvae._checks import positive
from curvae._part import Part, own_part, part_of
from curvae._random import stream
from curvae._typing import Float, Int, Tensor
from curvae.curvature.estimator import Estimator, PenaltyEstimate, ProbeEstimator, ProbePlan, Subsample
from curvae.curvature.linearised import Linearised
from curvae.curvature.trace import Trace
from curvae.errors import InputError
from curvae.posteriors import Shared, Structure


def on_all(estimator: Estimator) -> Estimator:
    """What a :class:`Fraction` takes on a part of the batch; any other estimator itself."""
    return estimator.estimator if isinstance(estimator, Fraction) else estimator


class Fraction(ProbeEstimator):
    r"""Another estimator on a fraction of each batch, drawn anew every time.

    With $m$ samples drawn without replacement ($fB$, rounded, at least one), the penalty of a sample is $\tfrac Bm$
    times that of the inner estimator if it was drawn and 0 if not: unbiased for each sample, and so for the batch's
    mean, value and gradient. All samples are decoded together and in order, so the batch statistics are those of the
    whole batch, and a decoder may hold something of each sample. With K tangents the decoder costs $1+fK$ of its own
    time instead of $1+K$, as long as it consists of common layers (:class:`~curvae.forward.rows.Rows`); with others
    the result is the same and nothing is saved.

    The penalty of :class:`~curvae.posteriors.Shared` is not a mean over samples and has no such estimate;
    its first order, ``Trace``, has.

    Args:
        estimator: ``Columns(k)``, ``Exact()``, ``Secants(k)`` or ``Trace(…)``.
        fraction: f, 0 < f ≤ 1.

    Raises:
        InputError: for a fraction out of range, an estimator that does not push tangents once (``Lanczos``), or (when
            used) a ``Shared`` structure.

    Example:
        >>> from curvae.curvature import Exact, Linearised
        >>> from curvae.likelihoods import Gaussian
        >>> from curvae.posteriors import Full
        >>> z = torch.zeros(4, 2)
        >>> Fraction(Exact(), 0.5).penalty(Linearised(lambda z: z, z, z, Gaussian()), Full(), beta=1.0)[1].mean().exp()
        tensor(4.)
    """

    def __init__(self, estimator: Estimator, fraction: float) -> None:
        if not isinstance(estimator, ProbeEstimator) or isinstance(estimator, Fraction):
            raise InputError(f"a fraction of the batch is for Columns, Exact, Secants and Trace; got {estimator}")
        self.estimator = estimator
        self.fraction = positive("fraction", fraction)
        if fraction > 1:
            raise InputError(f"fraction is {fraction:g}; expected 0 < fraction <= 1")

    @property
    def forward_passes_only(self) -> bool:
        """As the inner estimator."""
        return self.estimator.forward_passes_only

    def check(self, structure: Structure) -> None:
        """What the inner estimator serves, as long as it is a mean over data."""
        self.estimator.check(structure)
        if isinstance(structure, Shared) and not isinstance(self.estimator, Trace):
            raise InputError(
                f"the penalty of {structure} is that of the batch's mean curvature, not a mean over its samples, so a "
                f"fraction of them cannot stand for it; use {self.estimator} without Fraction"
            )

    def plan(
        self, z: Float[Tensor, "B d"], structure: Structure, beta: float, generator: torch.Generator | None = None
    ) -> ProbePlan:
        """Draw the data, then what the inner estimator draws. No standard error: a sample has at most one value."""
        subsample = self.subsample(z, generator)
        chosen = subsample.chosen
        with part_of(subsample.part):
            inner = self.estimator.plan(z.index_select(0, chosen), structure, beta, generator)

        def reduce(eta: Float[Tensor, "B *D"], pushed: Float[Tensor, "m *E K"]) -> PenaltyEstimate:
            part = inner.reduce(eta.index_select(0, chosen), pushed)
            sampled = None if part.sampled is None else replace(part.sampled, subsample=subsample)
            return PenaltyEstimate(eta, subsample.spread(part.value), None, sampled)

        return replace(inner, reduce=reduce, chosen=chosen)

    def push(self, at: Linearised, plan: ProbePlan) -> tuple[Float[Tensor, "B *D"], Float[Tensor, "m *E K"]]:
        """As the inner estimator."""
        return self.estimator.push(at, plan)

    def subsample(self, z: Float[Tensor, "B d"], generator: torch.Generator | None = None) -> Subsample:
        """Draw the samples."""
        part = own_part()
        size = len(z) if part is None else part.size
        order = torch.randperm(size, generator=stream(generator), device=z.device)
        chosen = order[: max(1, round(self.fraction * size))].sort().values
        return Subsample(chosen, size) if part is None else _of_part(chosen, part)

    def __repr__(self) -> str:
        return f"Fraction({self.estimator}, {self.fraction:g})"


def _of_part(chosen: Int[Tensor, " m"], part: Part) -> Subsample:
    """What of a draw from the whole batch is in a part of it; one sample of no weight where nothing is."""
    place = torch.tensor([part.first, part.first + part.count], device=chosen.device)
    first, end = torch.searchsorted(chosen, place).tolist()
    inner = replace(part, size=len(chosen), first=min(first, len(chosen) - 1), count=max(1, end - first))
    if first == end:
        return Subsample(chosen.new_zeros(1), part.count, 0.0, inner)
    return Subsample(chosen[first:end] - part.first, part.count, part.size / len(chosen), inner)
