r"""What every estimator of a penalty $\log|I+M/\beta|$ is, takes and returns."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch

from curvae._checks import positive
from curvae._part import Part
from curvae._repr import OneLine
from curvae._typing import Float, Int, Tensor
from curvae.curvature.linearised import Linearised
from curvae.errors import InputError
from curvae.posteriors import Structure


@dataclass(frozen=True, repr=False)
class SampledColumns(OneLine):
    """Whitened Jacobian columns that an estimator has pushed anyway, for others to use.

    Args:
        columns: $T_{:c}$ for each sampled latent, or all d of them.
        indices: which latents; ``None`` means all, in order.
        probabilities: of drawing each latent; ``None`` where nothing was drawn.
        subsample: where only some samples were pushed, which of how many; ``None`` means all.

    Example:
        >>> SampledColumns(torch.eye(2)[None]).spread(torch.tensor([1.5]))  # of all samples: as it is
        tensor([1.5000])
    """

    columns: Float[Tensor, "m *D K"]
    indices: Int[Tensor, "m K"] | None = None
    probabilities: Float[Tensor, " d"] | None = None
    subsample: Subsample | None = None

    def spread(self, values: Float[Tensor, " m"]) -> Float[Tensor, " B"]:
        """One value for each sample of the batch from one for each sample that was pushed."""
        return values if self.subsample is None else self.subsample.spread(values)


@dataclass(frozen=True, repr=False)
class Subsample(OneLine):
    """A random part of a batch that stands for all of it."""

    chosen: Int[Tensor, " m"]  # which samples
    size: int  # B, of all samples
    weight: float | None = None  # of each value; default B/m
    part: Part | None = None  # the chosen ones among those of all processes, where the batch is a part of a larger one

    def spread(self, values: Float[Tensor, " m"]) -> Float[Tensor, " B"]:
        """B/m times the values where they are, 0 elsewhere: the same sum in expectation.

        Example:
            >>> Subsample(torch.tensor([2]), 4).spread(torch.tensor([1.5]))
            tensor([0., 0., 6., 0.])
        """
        weighted = values * (self.size / max(1, len(self.chosen)) if self.weight is None else self.weight)
        return values.new_zeros(self.size).index_copy(0, self.chosen, weighted)


@dataclass(frozen=True, repr=False)
class PenaltyEstimate(OneLine):
    """What an estimator returns.

    Args:
        eta: the decoder's output.
        value: the penalty of each sample, or its estimate; differentiable.
        standard_error: of ``value`` under the estimator's own randomness, from the spread of its probes: zeros if
            it draws none, ``None`` if it drew a single one. A bias is not part of it. Carries no gradient.
        sampled: the columns that were pushed, if the estimator pushes columns.

    Example:
        >>> from curvae.curvature import Exact
        >>> from curvae.likelihoods import Gaussian
        >>> from curvae.posteriors import Full
        >>> z = torch.zeros(1, 2)
        >>> found = Exact().estimate(Linearised(lambda z: z, z, z, Gaussian()), Full(), beta=1.0)
        >>> found.value.exp(), found.standard_error
        (tensor([4.]), tensor([0.]))
    """

    eta: Float[Tensor, "B *D"]
    value: Float[Tensor, " B"]
    standard_error: Float[Tensor, " B"] | None = None
    sampled: SampledColumns | None = None


def check_estimator(estimator: object) -> None:
    """Refuse what is no estimator, such as the name of one.

    Raises:
        InputError: it is none.
    """
    if not isinstance(estimator, Estimator):
        raise InputError(f"estimator is {estimator!r}; expected one of curvae.curvature, such as Columns(1)")


class Estimator(ABC):
    """One way to get a structure's penalty.

    Example:
        >>> from curvae.curvature import Columns
        >>> from curvae.posteriors import Full
        >>> Columns(1).check(Full())
        Traceback (most recent call last):
        curvae.errors.InputError: Columns estimates the penalty of Diagonal(), BlockDiagonal(b) and Along(…) only; ...
    """

    @property
    def forward_passes_only(self) -> bool:
        """Whether the decoder is only called, so that it may be compiled, scripted or without forward mode."""
        return False

    @abstractmethod
    def check(self, structure: Structure) -> None:
        """Raise an ``InputError`` if this estimator cannot serve ``structure``."""

    @abstractmethod
    def estimate(
        self, at: Linearised, structure: Structure, beta: float, generator: torch.Generator | None = None
    ) -> PenaltyEstimate:
        """The penalty of each sample with its standard error, and the decoder's output, from one pass.

        Args:
            at: the decoder at the codes of a batch.
            structure: whose penalty.
            beta: β, > 0.
            generator: draws what is drawn.

        Raises:
            InputError: if this estimator cannot serve ``structure`` or ``beta`` is not > 0.
        """

    def penalty(
        self, at: Linearised, structure: Structure, beta: float, generator: torch.Generator | None = None
    ) -> tuple[Float[Tensor, "B *D"], Float[Tensor, " B"]]:
        r"""The decoder's output $\eta$ and the value alone, which is all that training needs."""
        estimate = self.estimate(at, structure, beta, generator)
        return estimate.eta, estimate.value


@dataclass(frozen=True)
class ProbePlan:
    """What to push through the decoder, and how output and whitened tangents are reduced to the estimate."""

    tangents: Float[Tensor, "m d K"]
    reduce: Callable[[Float[Tensor, "B *D"], Float[Tensor, "m *E K"]], PenaltyEstimate]
    chunk_size: int | None = None  # tangents to push at a time, None for all
    chosen: Int[Tensor, " m"] | None = None  # which samples have tangents; None where all have them


class ProbeEstimator(Estimator):
    """An estimator that looks at the decoder along directions chosen beforehand, once."""

    @abstractmethod
    def plan(
        self, z: Float[Tensor, "B d"], structure: Structure, beta: float, generator: torch.Generator | None = None
    ) -> ProbePlan:
        """Choose the directions for the codes ``z``, with ``generator`` where they are drawn."""

    @abstractmethod
    def push(self, at: Linearised, plan: ProbePlan) -> tuple[Float[Tensor, "B *D"], Float[Tensor, "m *E K"]]:
        """The decoder's output, and what becomes of the directions, whitened."""

    def estimate(
        self, at: Linearised, structure: Structure, beta: float, generator: torch.Generator | None = None
    ) -> PenaltyEstimate:
        """One pass with what was planned."""
        self.check(structure)
        plan = self.plan(at.latents, structure, positive("beta", beta), generator)
        return plan.reduce(*self.push(at, plan))


class ForwardModeEstimator(ProbeEstimator):
    """One that pushes them as tangents, by forward mode."""

    def push(self, at: Linearised, plan: ProbePlan) -> tuple[Float[Tensor, "B *D"], Float[Tensor, "m *E K"]]:
        """One forward-mode pass."""
        return at.push(plan.tangents, plan.chunk_size, plan.chosen)


def spread(terms: Float[Tensor, "B K"]) -> Float[Tensor, " B"] | None:
    """The standard error of the mean of K independent terms, ``None`` for a single one, or where there are no data."""
    count = terms.shape[-1]
    return None if count == 1 or not len(terms) else terms.detach().std(-1) / count**0.5
