r"""The exact Hessian at the posterior's own scale, by second differences of the energy."""

from __future__ import annotations

import torch

from curvae._precision import full_precision
from curvae._typing import Float, Int, Tensor
from curvae.curvature.estimator import Estimator, PenaltyEstimate, ProbePlan, spread
from curvae.curvature.fraction import Fraction
from curvae.curvature.linearised import Linearised
from curvae.curvature.secants import SecantPlan, Secants
from curvae.errors import InputError
from curvae.forward.pushforward import one_hot_tangents
from curvae.forward.secants import Differences
from curvae.posteriors import Structure

REACH = 3**0.5
"""Where the outer nodes of three-point quadrature lie, in standard deviations."""


class SigmaPoints(Secants):
    r"""What :class:`~curvae.curvature.Secants` is with the exact Hessian: second differences of the energy.

    With $f=-\log p(x\mid g(\cdot))$, the noise of latent c alone costs $\tfrac12\delta_c$ by three-point Gauss–Hermite quadrature,

    $$\delta_c=\tfrac13\big[f(h+\sqrt3\,\sigma_ce_c)+f(h-\sqrt3\,\sigma_ce_c)-2f(h)\big]=\sigma_c^2\,\partial_c^2f
    +\tfrac14\sigma_c^4\,\partial_c^4f+O(\sigma_c^6),$$

    exact where f is of degree 5 in that latent. $f(h)+\tfrac12\sum_c\delta_c$ is the unscented transform with $d+\kappa=3$: the
    mean of f under $\mathcal N(h,\mathrm{diag}\,\sigma^2)$ up to terms of degree 4 and more that mix latents. So the second
    term of (5), which Gauss–Newton leaves out, is there, at the scale at which the posterior's noise acts, and no
    derivative is taken.

    **Penalty.** $\tfrac1k\sum_c\tfrac1{p_c}\big(\tfrac1\beta\delta_c+\sigma_c^2-1-\log\sigma_c^2\big)$, an unbiased estimate of the sum over
    all latents. With f and $\tfrac\beta2\|h\|^2$, $\tfrac\beta2$ of it is (2) at that diagonal posterior, by that rule. The best
    σ_c would make it $\log(1+\tfrac1\beta\partial_c^2f)$ where f is a parabola (10); at any other it is above. No second
    difference has to be positive, so nothing is refused as indefinite.

    **Width.** σ_c is as in :class:`~curvae.curvature.Secants`, from a first secant of 0.1: (11) with the Gauss–Newton
    curvature at that length. It carries no gradient, as the best one's would be zero.

    Args:
        count: k, latents drawn for each sample, with replacement.
        probabilities: $p$, d numbers > 0 (normalised here); default uniform.

    Example:
        >>> from curvae.likelihoods import Gaussian
        >>> from curvae.posteriors import Diagonal
        >>> z = torch.zeros(1, 2)
        >>> SigmaPoints(1).penalty(Linearised(lambda z: z, z, z, Gaussian()), Diagonal(), beta=1.0)[1].exp().round()
        tensor([4.])
    """

    def plan(
        self, z: Float[Tensor, "B d"], structure: Structure, beta: float, generator: torch.Generator | None = None
    ) -> SecantPlan:
        """Draw the latents, and the signs of the first secants, with ``generator``."""
        indices, p, signs = self.draw(z, generator)

        def reduce(eta: Float[Tensor, "B *D"], pushed: Float[Tensor, "m 2 K"]) -> PenaltyEstimate:
            change, width = pushed.unbind(1)
            terms = (change / beta + width.square() - 1 - 2 * width.log()) / p
            return PenaltyEstimate(eta, terms.mean(-1), spread(terms))

        widths = self.widths(indices, z, beta)
        return SecantPlan(one_hot_tangents(z, indices) * signs.unsqueeze(1), reduce, widths=widths)

    def push(self, at: Linearised, plan: ProbePlan) -> tuple[Float[Tensor, "B *D"], Float[Tensor, "m 2 K"]]:
        """The decoder's output, and second differences with the widths that they are of."""
        move, lengths, steps = self.steps(at, plan)
        return move.eta, torch.stack([second_differences(at, move, steps, plan.chosen), lengths], 1)


def second_differences(
    at: Linearised, move: Differences, steps: Float[Tensor, "m *L K"], chosen: Int[Tensor, " m"] | None = None
) -> Float[Tensor, "m K"]:
    r"""$\tfrac13[f(h+\sqrt3\,v)+f(h-\sqrt3\,v)-2f(h)]$ for each step v: twice what normal noise along v costs."""
    with full_precision(at.point):
        eta, x = (
            (move.eta, at.x) if chosen is None else (move.eta.index_select(0, chosen), at.x.index_select(0, chosen))
        )
        here = at.likelihood.nll(eta, x)

        def cost(way: Float[Tensor, "m *L K"]) -> Float[Tensor, "m K"]:
            moved = move(way, chosen).unbind(-1)
            return torch.stack([at.likelihood.nll(eta + each, x) - here for each in moved], -1)

        return (cost(REACH * steps) + cost(-REACH * steps)) / REACH**2


def of_energy(estimator: Estimator) -> Estimator | None:
    """What ``Secants(k)``, or a ``Fraction`` of it, is with the exact Hessian; None for another estimator.

    Raises:
        InputError: secants with a step of their own, or central ones.
    """
    if isinstance(estimator, Fraction):
        inner = of_energy(estimator.estimator)
        return None if inner is None else Fraction(inner, estimator.fraction)
    if not isinstance(estimator, Secants):
        return None
    if estimator.step is not None or estimator.central:
        raise InputError(
            "with curvature 'hessian' Secants are second differences of the energy at the posterior's own width, "
            "central already; leave out step and central"
        )
    return SigmaPoints(estimator.count, probabilities=estimator.probabilities)
