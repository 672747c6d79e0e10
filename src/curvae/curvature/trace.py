r"""The penalty to first order in $1/\beta$: a trace."""

from __future__ import annotations

import math
import warnings
from dataclasses import replace

import torch

from curvae._checks import positive, positive_int
from curvae._transforms import in_transform
from curvae._typing import Float, Tensor
from curvae.curvature.estimator import ForwardModeEstimator, PenaltyEstimate, ProbePlan, spread
from curvae.curvature.linearised import Linearised
from curvae.curvature.probes import Probes, Signs, Sphere, check_probes
from curvae.errors import InputError
from curvae.forward.pushforward import unit_tangents
from curvae.forward.secants import Differences
from curvae.posteriors import Structure, logdet


class Trace(ForwardModeEstimator):
    r"""$\tfrac1\beta\mathrm{tr}\,M=\tfrac1\beta\|T\|_F^2$, exactly or from probes.

    With :class:`~curvae.curvature.Signs` or :class:`~curvae.curvature.Sphere` it is Hutchinson's estimate
    $\tfrac1K\sum_k\|Tv_k\|^2$, with :class:`~curvae.curvature.Coordinates` the one by columns; one forward-mode product
    a probe, no reverse pass. Unbiased for the trace, value and gradient. As a *penalty* it is the first order in
    $1/\beta$ of every structure's, and biased: an upper bound, close where all singular values of $T$ are well below
    $\sqrt\beta$. Where their mean square is above β it says so, once. Times β/2 it no longer depends on β: it is the
    $\tfrac12\|J\|_F^2$ of :class:`~curvae.objectives.RAE`.

    **With a step** it is the same from forward passes of the decoder alone, for decoders that forward mode cannot
    follow: $\tfrac1K\sum_k\|D_{v_k}\|^2$ with $D_v=L\,[g(h+s\,v)-g(h)]/s$. Its mean is
    $\mathrm{tr}M+s^2\,\mathbb E\big[\tfrac14\|L\,\partial_v^2g\|^2+\tfrac13\langle Tv,L\,\partial_v^3g\rangle\big]
    +O(s^4)$, and $s^2\|D_v\|^2$ is the squared error that latent noise of size s makes of $g(h)$.

    Args:
        probes: which directions to push; default all d unit vectors, which is exact.
        chunk_size: tangents pushed at a time; bounds memory. With a step it is one at a time.
        step: s, > 0; default none, the derivative itself. It needs probes that are as likely as their opposites.

    Raises:
        InputError: if ``chunk_size`` is not ≥ 1, ``step`` is not > 0, or it comes without ``Signs`` or ``Sphere``.

    Warns:
        UserWarning: once, where $\mathrm{tr}\,M>\beta d$ on average over a batch, so that no penalty is near its first
            order. Looked for in calls number 1, 2, 4, 8, …

    Example:
        >>> from curvae.likelihoods import Gaussian
        >>> from curvae.posteriors import Full
        >>> z = torch.zeros(1, 2)
        >>> Trace().penalty(Linearised(lambda z: 3 * z, z, z, Gaussian()), Full(), beta=20.0)[1]
        tensor([0.9000])
    """

    def __init__(self, probes: Probes | None = None, chunk_size: int | None = None, step: float | None = None) -> None:
        if probes is not None:
            check_probes(probes)
        self.probes = probes
        self.chunk_size = None if chunk_size is None else positive_int("chunk_size", chunk_size)
        self.step = None if step is None else positive("step", step)
        if step is not None and not isinstance(probes, Signs | Sphere):
            raise InputError(
                f"a step needs probes Signs(k) or Sphere(k), got {probes}; single latents have Secants(k, step)"
            )
        self._calls, self._warned = 0, False

    @property
    def forward_passes_only(self) -> bool:
        """With a step."""
        return self.step is not None

    def check(self, structure: Structure) -> None:
        """Serves every structure: the first order is the same for all that hold the diagonal."""

    def plan(
        self, z: Float[Tensor, "B d"], structure: Structure, beta: float, generator: torch.Generator | None = None
    ) -> ProbePlan:
        """The probes that ``generator`` draws, or every unit vector."""
        plan = self._plan(z, beta, generator)

        def reduce(eta: Float[Tensor, "B *D"], pushed: Float[Tensor, "B *E K"]) -> PenaltyEstimate:
            estimate = plan.reduce(eta, pushed)
            self._calls += 1
            # a look at a value makes a GPU wait, and a transform does not allow it
            if not self._warned and self._calls & (self._calls - 1) == 0 and not in_transform():
                self._warned = _warn_of_first_order(float(estimate.value.detach().mean()), z.shape[1])
            return estimate

        return replace(plan, reduce=reduce)

    def push(self, at: Linearised, plan: ProbePlan) -> tuple[Float[Tensor, "B *D"], Float[Tensor, "m *E K"]]:
        """One forward-mode pass, or a forward pass for each step."""
        if self.step is None:
            return super().push(at, plan)
        move = Differences(at.decoder, at.point)
        steps = self.step * plan.tangents.unflatten(1, at.point.shape[1:])
        return move.eta, at.whiten(move.eta, move(steps, plan.chosen), plan.chosen) / self.step

    def of(
        self, at: Linearised, generator: torch.Generator | None = None
    ) -> tuple[Float[Tensor, "B *D"], Float[Tensor, " B"]]:
        r"""The decoder's output and $\mathrm{tr}\,M$ for its own sake, as :class:`~curvae.objectives.RAE` wants it."""
        plan = self._plan(at.latents, 1.0, generator)
        estimate = plan.reduce(*self.push(at, plan))
        return estimate.eta, estimate.value

    def _plan(self, z: Float[Tensor, "B d"], beta: float, generator: torch.Generator | None) -> ProbePlan:
        def reduce(eta: Float[Tensor, "B *D"], pushed: Float[Tensor, "B *E K"]) -> PenaltyEstimate:
            terms = (logdet.squared_norms(pushed.flatten(1, -2)) / beta).to(z.dtype)
            if self.probes is None:
                value = terms.sum(-1)
                return PenaltyEstimate(eta, value, torch.zeros_like(value))
            return PenaltyEstimate(eta, terms.mean(-1), spread(terms))

        tangents = unit_tangents(z) if self.probes is None else self.probes.draw(z, generator)
        return ProbePlan(tangents, reduce, self.chunk_size)

    def __repr__(self) -> str:
        if self.step is not None:
            return f"Trace({self.probes}, step={self.step:g})"
        return "Trace()" if self.probes is None else f"Trace({self.probes})"


def _warn_of_first_order(trace: float, latents: int) -> bool:
    """Say, if so, that a first order of this size is none: log|I + M/β| ≤ d log(1 + tr M/(β d)), whatever M is."""
    mean = trace / latents
    told = 1 < mean < math.inf
    if told:
        warnings.warn(
            f"Trace is the penalty to first order in 1/beta; here tr M is {trace:.3g} beta with {latents} latents, at "
            f"least {mean / math.log1p(mean):.3g} times the penalty: use Exact(), Columns(k), Lanczos or a larger "
            "beta, or RAE, whose trace has a weight of its own",
            stacklevel=5,
        )
    return told
