r"""The penalty to first order in $1/\beta$: a trace."""

from __future__ import annotations

import torch

from curvae._checks import positive_int
from curvae._typing import Float, Tensor
from curvae.curvature.estimator import Estimate, Plan, Pushing, spread
from curvae.curvature.probes import Probes
from curvae.curvature.pushforward import unit_tangents
from curvae.posteriors import Structure, logdet


class Trace(Pushing):
    r"""$\tfrac1\beta\mathrm{tr}\,M=\tfrac1\beta\|T\|_F^2$, exactly or from probes.

    With :class:`~curvae.curvature.Signs` or :class:`~curvae.curvature.Sphere` it is Hutchinson's estimate
    $\tfrac1K\sum_k\|Tv_k\|^2$, with :class:`~curvae.curvature.Coordinates` the one by columns; one forward-mode product
    a probe, no reverse pass. Unbiased for the trace, value and gradient. As a *penalty* it is the first order in
    $1/\beta$ of every structure's, and biased: an upper bound, close where all singular values of $T$ are well below
    $\sqrt\beta$. Times β/2 it no longer depends on β: it is the $\tfrac12\|J\|_F^2$ of
    :class:`~curvae.objectives.RAE`.

    Args:
        probes: which directions to push; default all d unit vectors, which is exact.
        chunk_size: tangents pushed at a time; bounds memory.

    Raises:
        InputError: if ``chunk_size`` is not ≥ 1.

    Example:
        >>> from curvae.likelihoods import Gaussian
        >>> from curvae.posteriors import Full
        >>> z = torch.zeros(1, 2)
        >>> Trace().penalty(lambda z: 3 * z, z, z, Gaussian(), Full(), beta=2.0)[1]
        tensor([9.])
    """

    def __init__(self, probes: Probes | None = None, chunk_size: int | None = None) -> None:
        self.probes = probes
        self.chunk_size = None if chunk_size is None else positive_int("chunk_size", chunk_size)

    def check(self, structure: Structure) -> None:
        """Serves every structure: the first order is the same for all that hold the diagonal."""

    def plan(
        self, z: Float[Tensor, "B d"], structure: Structure, beta: float, generator: torch.Generator | None = None
    ) -> Plan:
        """The probes that ``generator`` draws, or every unit vector."""

        def reduce(eta: Float[Tensor, "B *D"], pushed: Float[Tensor, "B *D K"]) -> Estimate:
            terms = (logdet.squared_norms(pushed.flatten(1, -2)) / beta).to(z.dtype)
            if self.probes is None:
                value = terms.sum(-1)
                return Estimate(eta, value, torch.zeros_like(value))
            return Estimate(eta, terms.mean(-1), spread(terms))

        tangents = unit_tangents(z) if self.probes is None else self.probes.draw(z, generator)
        return Plan(tangents, reduce, self.chunk_size)

    def __repr__(self) -> str:
        return "Trace()" if self.probes is None else f"Trace({self.probes})"
