r"""A penalty on a random part of the batch that stands for all of it."""

from __future__ import annotations

from dataclasses import replace

import torch

from curvae._checks import positive
from curvae._typing import Float, Tensor
from curvae.curvature.estimators import Estimate, Estimator, Pushing, Share
from curvae.curvature.gauss_newton import whitened
from curvae.curvature.pushforward import Decoder
from curvae.errors import InputError
from curvae.likelihoods import Likelihood
from curvae.posteriors import Structure


class Fraction(Estimator):
    r"""Another estimator on a fraction of the data of each batch, drawn anew every time.

    With $m=\lceil fB\rceil$ data drawn without replacement, the penalty of a datum is $\tfrac Bm$ times that of the
    inner estimator if it was drawn and 0 if not: unbiased for each datum, and so for the batch's mean, value and
    gradient. All data are decoded together, so the batch statistics are those of the whole batch. With K tangents the
    decoder costs $1+fK$ of its own time instead of $1+K$, as long as it consists of common layers
    (:class:`~curvae.curvature.rows.Rows`); with others the result is the same and nothing is saved.

    Args:
        estimator: ``Columns(k)``, ``Exact()`` or ``Trace(…)``.
        fraction: f, 0 < f ≤ 1.

    Raises:
        InputError: for a fraction out of range, or an estimator that does not push tangents once (``Lanczos``).

    Example:
        >>> from curvae.curvature import Exact
        >>> from curvae.likelihoods import Gaussian
        >>> from curvae.posteriors import Full
        >>> z = torch.zeros(4, 2)
        >>> Fraction(Exact(), 0.5).penalty(lambda z: z, z, z, Gaussian(), Full(), beta=1.0)[1].mean().exp()
        tensor(4.)
    """

    def __init__(self, estimator: Estimator, fraction: float) -> None:
        if not isinstance(estimator, Pushing):
            raise InputError(f"a fraction of the batch is for Columns, Exact and Trace; got {estimator}")
        self.estimator = estimator
        self.fraction = positive("fraction", fraction)
        if fraction > 1:
            raise InputError(f"fraction is {fraction:g}; expected 0 < fraction <= 1")

    def check(self, structure: Structure) -> None:
        """What the inner estimator serves."""
        self.estimator.check(structure)

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
        """Draw the data, then what the inner estimator draws. No standard error: a datum has at most one value."""
        self.check(structure)
        size = len(z)
        order = torch.randperm(size, generator=generator, device=z.device)
        share = Share(order[: max(1, round(self.fraction * size))], size)
        plan = self.estimator.plan(z[share.chosen], structure, positive("beta", beta), generator)
        eta, pushed = whitened(fn, z[order], x[order], likelihood, plan.tangents, plan.chunk_size)
        inner = plan.reduce(eta[: len(share.chosen)], pushed)
        sampled = None if inner.sampled is None else replace(inner.sampled, share=share)
        return Estimate(eta[order.argsort()], share.spread(inner.value), None, sampled)

    def __repr__(self) -> str:
        return f"Fraction({self.estimator}, {self.fraction:g})"
