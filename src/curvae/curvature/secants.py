r"""The penalty from finite steps of the posterior's own width, by forward passes of the decoder alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from curvae._checks import positive_int
from curvae._typing import Float, Int, Tensor
from curvae.curvature.estimator import PenaltyEstimate, ProbeEstimator, ProbePlan, spread
from curvae.curvature.estimators import choices, coins, distribution, normalised
from curvae.curvature.linearised import Linearised
from curvae.errors import InputError
from curvae.forward.pushforward import one_hot_tangents
from curvae.forward.secants import Differences
from curvae.posteriors import Diagonal, Structure, logdet

FIRST = 0.1
"""The step from which the width is found, in the prior's standard deviations."""


@dataclass(frozen=True)
class SecantPlan(ProbePlan):
    """Steps instead of tangents; their lengths are from the squared lengths of secants of length :data:`FIRST`."""

    widths: Callable[[Float[Tensor, "m K"]], Float[Tensor, "m K"]] | None = None


class Secants(ProbeEstimator):
    r"""``count`` secants for each sample in place of Jacobian columns: by forward passes of the decoder alone.

    $\tfrac1k\sum_c\tfrac1{p_c}\log(1+\tfrac1\beta\|D_c\|^2)$ with $c\sim p$, a random sign $\pm$ and

    $$D_c=L\,\frac{g(h\pm s\,e_c)-g(h)}{\pm s},\qquad s=\sigma_c=\big(1+\tfrac1\beta\|D_c^0\|^2\big)^{-1/2},$$

    with $L$ the likelihood's whitening at $g(h)$. It is for decoders that forward mode cannot follow (compiled,
    scripted, fused kernels), and sees the decoder at the scale at which a β-VAE's noise does.

    **The step** is the width (11) that the decoder implies for this latent of this sample, found from a first secant
    $D^0$ of 0.1 without gradients: no state that a resumed run or another process would not have. It carries no
    gradient. With ``step`` given it is that, and one forward pass of the drawn samples is saved. Where a posterior is
    much narrower than 0.1 (a small β) and the decoder bends within 0.1, that first secant is not the column and the
    step not that width: too long where the decoder saturates, too short where it steepens; give ``step`` there.

    **Bias.** $\mathbb E_\pm\|D_c\|^2=\|T_{:c}\|^2+s^2\big(\tfrac14\|L\,\partial_c^2g\|^2+\tfrac13\langle T_{:c},
    L\,\partial_c^3g\rangle\big)+O(s^4)$: above $M_{cc}$ where the decoder bends, below where it saturates, equal where
    it is affine, and $M_{cc}$ as s → 0. $\tfrac12\sigma_c^2\,\mathbb E_\pm\|D_c\|^2$ is the two-point Gauss–Hermite
    rule for what the noise of latent c costs a β-VAE in squared error around $g(h)$.

    **Central differences**, $D_c=L\,(g(h+s\,e_c)-g(h-s\,e_c))/2s$, do not see how the decoder bends: their squared
    length is $\|T_{:c}\|^2+\tfrac{s^2}3\langle T_{:c},L\,\partial_c^3g\rangle+O(s^4)$, for one more forward pass. They
    are nearer to the columns where the decoder does not saturate, and further from what noise costs.

    Args:
        count: k, latents drawn for each sample, with replacement.
        step: the lengths of the steps, > 0: one number, or d; default the implied width.
        probabilities: $p$, d numbers > 0 (normalised here); default uniform.
        central: take central differences; the first secant is one-sided all the same.

    Raises:
        InputError: for a bad argument, a structure other than :class:`~curvae.posteriors.Diagonal`, or (when used) as
            :class:`~curvae.forward.secants.Differences`.

    Example:
        >>> from curvae.curvature import Linearised
        >>> from curvae.likelihoods import Gaussian
        >>> z = torch.zeros(1, 2)
        >>> Secants(1).penalty(Linearised(lambda z: z, z, z, Gaussian()), Diagonal(), beta=1.0)[1].exp().round()
        tensor([4.])
    """

    def __init__(
        self,
        count: int = 1,
        step: float | Sequence[float] | Tensor | None = None,
        probabilities: Sequence[float] | Tensor | None = None,
        central: bool = False,
    ) -> None:
        self.count = positive_int("number of secants", count)
        self.step = None if step is None else _lengths(step)
        self.probabilities = None if probabilities is None else normalised(probabilities)
        self.central = central

    @property
    def forward_passes_only(self) -> bool:
        """Always."""
        return True

    def check(self, structure: Structure) -> None:
        """Only this structure's penalty is a sum over single latents."""
        if not isinstance(structure, Diagonal):
            raise InputError(f"Secants estimates the penalty of Diagonal() only; got {structure}: use Columns or Exact")

    def draw(
        self, z: Float[Tensor, "B d"], generator: torch.Generator | None = None
    ) -> tuple[Int[Tensor, "B K"], Float[Tensor, "B K"], Float[Tensor, "B K"]]:
        """The latents, the probability of each, and the signs."""
        p = distribution(self.probabilities, z, "Secants")
        indices = choices(p, len(z), self.count, generator)
        return indices, p[indices], coins(z, self.count, generator=generator)

    def plan(
        self, z: Float[Tensor, "B d"], structure: Structure, beta: float, generator: torch.Generator | None = None
    ) -> SecantPlan:
        """Draw the latents and signs with ``generator``."""
        indices, p, signs = self.draw(z, generator)

        def widths(squares: Float[Tensor, "m K"]) -> Float[Tensor, "m K"]:
            if self.step is None:
                return (1 + squares / beta).rsqrt()
            steps = self.step.to(z).expand(z.shape[1]) if self.step.numel() == 1 else self.step.to(z)
            if len(steps) != z.shape[1]:
                raise InputError(f"Secants has {len(steps)} steps but there are {z.shape[1]} latents")
            return steps[indices]

        def reduce(eta: Float[Tensor, "B *D"], secants: Float[Tensor, "m *E K"]) -> PenaltyEstimate:
            terms = logdet.of_columns(secants.flatten(1, -2), beta).to(z.dtype) / p
            return PenaltyEstimate(eta, terms.mean(-1), spread(terms))

        return SecantPlan(one_hot_tangents(z, indices) * signs.unsqueeze(1), reduce, widths=widths)

    def push(self, at: Linearised, plan: ProbePlan) -> tuple[Float[Tensor, "B *D"], Float[Tensor, "m *E K"]]:
        """The decoder's output and the whitened secants."""
        assert isinstance(plan, SecantPlan)
        assert plan.widths is not None
        move = Differences(at.decoder, at.point)
        directions = plan.tangents.unflatten(1, at.point.shape[1:])
        squares = directions.new_zeros(len(directions), self.count)
        if self.step is None:
            with torch.no_grad():
                first = at.whiten(move.eta, move(FIRST * directions, plan.chosen), plan.chosen) / FIRST
                squares = logdet.squared_norms(first.flatten(1, -2)).to(squares)
        lengths = plan.widths(squares)
        steps = directions * lengths.view(len(lengths), *[1] * (directions.dim() - 2), self.count)
        moved = self.whitened(at, move, steps, plan.chosen)
        return move.eta, moved / lengths.view(len(lengths), *[1] * (moved.dim() - 2), self.count)

    def whitened(
        self, at: Linearised, move: Differences, steps: Float[Tensor, "m *L K"], chosen: Int[Tensor, " m"] | None
    ) -> Float[Tensor, "m *E K"]:
        r"""$L\,(g(h+v)-g(h))$ for each step v, or $\tfrac12L\,(g(h+v)-g(h-v))$."""
        moved = move(steps, chosen)
        return at.whiten(move.eta, (moved - move(-steps, chosen)) / 2 if self.central else moved, chosen)

    def __repr__(self) -> str:
        return f"Secants({self.count}{', central=True' * self.central})"


def _lengths(step: float | Sequence[float] | Tensor) -> Float[Tensor, " n"]:
    try:
        lengths = torch.as_tensor(step, dtype=torch.float64).reshape(-1)
    except (TypeError, ValueError, RuntimeError):
        lengths = torch.empty(0)
    if not len(lengths) or not bool((lengths.isfinite() & (lengths > 0)).all()):
        raise InputError("the step of Secants must be a finite number > 0, or one for each latent")
    return lengths
