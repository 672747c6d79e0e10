r"""What every estimator of a penalty $\log|I+M/\beta|$ is, takes and returns."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch

from curvae._checks import positive
from curvae._repr import OneLine
from curvae._typing import Float, Int, Tensor
from curvae.curvature.gauss_newton import whitened
from curvae.curvature.pushforward import Decoder, check_latents
from curvae.likelihoods import Likelihood
from curvae.posteriors import Structure


@dataclass(frozen=True, repr=False)
class SampledColumns(OneLine):
    """Whitened Jacobian columns that an estimator has pushed anyway, for others to use.

    Args:
        columns: $T_{:c}$ for each sampled latent, or all d of them.
        indices: which latents; ``None`` means all, in order.
        probabilities: of drawing each latent; ``None`` where nothing was drawn.
        share: where only some data were pushed, which of how many; ``None`` means all.
    """

    columns: Float[Tensor, "m *D K"]
    indices: Int[Tensor, "m K"] | None = None
    probabilities: Float[Tensor, " d"] | None = None
    share: Share | None = None


@dataclass(frozen=True, repr=False)
class Share(OneLine):
    """A random part of a batch that stands for all of it.

    Args:
        chosen: which data.
        size: B, of all data.
    """

    chosen: Int[Tensor, " m"]
    size: int

    def spread(self, values: Float[Tensor, " m"]) -> Float[Tensor, " B"]:
        """B/m times the values where they are, 0 elsewhere: the same sum in expectation.

        Example:
            >>> Share(torch.tensor([2]), 4).spread(torch.tensor([1.5]))
            tensor([0., 0., 6., 0.])
        """
        weighted = values * (self.size / len(self.chosen))
        return values.new_zeros(self.size).index_copy(0, self.chosen, weighted)


@dataclass(frozen=True, repr=False)
class Estimate(OneLine):
    """What an estimator returns.

    Args:
        eta: the decoder's output.
        value: the penalty of each datum, or its estimate; differentiable.
        standard_error: of ``value`` under the estimator's own randomness, from the spread of its probes: zeros if
            it draws none, ``None`` if it drew a single one. A bias is not part of it. Carries no gradient.
        sampled: the columns that were pushed, if the estimator pushes columns.
    """

    eta: Float[Tensor, "B *D"]
    value: Float[Tensor, " B"]
    standard_error: Float[Tensor, " B"] | None = None
    sampled: SampledColumns | None = None


class Estimator(ABC):
    """One way to get a structure's penalty."""

    @abstractmethod
    def check(self, structure: Structure) -> None:
        """Raise an ``InputError`` if this estimator cannot serve ``structure``."""

    @abstractmethod
    def estimate(
        self,
        fn: Decoder,
        z: Float[Tensor, "B d"],
        x: Tensor,
        likelihood: Likelihood,
        structure: Structure,
        beta: float,
        generator: torch.Generator | None = None,
    ) -> Estimate:
        """The penalty of each datum with its standard error, and the decoder's output, from one pass.

        Raises:
            InputError: if this estimator cannot serve ``structure`` or ``beta`` is not > 0.
        """

    def penalty(
        self,
        fn: Decoder,
        z: Float[Tensor, "B d"],
        x: Tensor,
        likelihood: Likelihood,
        structure: Structure,
        beta: float,
        generator: torch.Generator | None = None,
    ) -> tuple[Float[Tensor, "B *D"], Float[Tensor, " B"]]:
        r"""The decoder's output $\eta$ and the value alone, which is all that training needs."""
        estimate = self.estimate(fn, z, x, likelihood, structure, beta, generator)
        return estimate.eta, estimate.value


@dataclass(frozen=True)
class Plan:
    """What to push through the decoder and what to make of it.

    Args:
        tangents: directions for each datum.
        reduce: the decoder's output and the pushed, whitened tangents to the estimate.
        chunk_size: tangents to push at a time, ``None`` for all.
        chosen: which data have tangents; ``None`` where all have them.
    """

    tangents: Float[Tensor, "m d K"]
    reduce: Callable[[Float[Tensor, "B *D"], Float[Tensor, "m *E K"]], Estimate]
    chunk_size: int | None = None
    chosen: Int[Tensor, " m"] | None = None


class Pushing(Estimator):
    """An estimator that pushes tangents, chosen beforehand, once."""

    @abstractmethod
    def plan(
        self, z: Float[Tensor, "B d"], structure: Structure, beta: float, generator: torch.Generator | None = None
    ) -> Plan:
        """Choose the tangents for the codes ``z``, with ``generator`` where they are drawn."""

    def estimate(
        self,
        fn: Decoder,
        z: Float[Tensor, "B d"],
        x: Tensor,
        likelihood: Likelihood,
        structure: Structure,
        beta: float,
        generator: torch.Generator | None = None,
    ) -> Estimate:
        """One forward-mode pass with the planned tangents."""
        self.check(structure)
        check_latents(z)
        plan = self.plan(z, structure, positive("beta", beta), generator)
        return plan.reduce(*whitened(fn, z, x, likelihood, plan.tangents, plan.chunk_size, plan.chosen))


def spread(terms: Float[Tensor, "B K"]) -> Float[Tensor, " B"] | None:
    """The standard error of the mean of K independent terms, ``None`` for a single one."""
    count = terms.shape[-1]
    return None if count == 1 else terms.detach().std(-1) / count**0.5
