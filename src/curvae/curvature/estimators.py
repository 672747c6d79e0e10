r"""How the penalty $\log|I+M/\beta|$ of a structure is computed: exactly, or from sampled columns."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from curvae._checks import positive, positive_int
from curvae._typing import Float, Int, Tensor
from curvae.curvature.gauss_newton import whitened
from curvae.curvature.pushforward import Decoder, one_hot_tangents, unit_tangents
from curvae.errors import InputError
from curvae.likelihoods import Likelihood
from curvae.posteriors import BlockDiagonal, Diagonal, Structure, logdet


@dataclass(frozen=True)
class SampledColumns:
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


@dataclass(frozen=True)
class Share:
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


@dataclass(frozen=True)
class Estimate:
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
        order: the data in the order in which they are decoded, so that those with tangents come first; ``None`` where
            all have them.
    """

    tangents: Float[Tensor, "m d K"]
    reduce: Callable[[Float[Tensor, "B *D"], Float[Tensor, "m *D K"]], Estimate]
    chunk_size: int | None = None
    order: Int[Tensor, " B"] | None = None


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
        plan = self.plan(z, structure, positive("beta", beta), generator)
        if plan.order is not None:
            z, x = z[plan.order], x[plan.order]
        return plan.reduce(*whitened(fn, z, x, likelihood, plan.tangents, plan.chunk_size))


class Exact(Pushing):
    """All d columns of the Jacobian; no randomness, no bias, for every structure.

    Args:
        chunk_size: columns computed at a time (default: all); bounds memory.

    Raises:
        InputError: if ``chunk_size`` is not ≥ 1.

    Example:
        >>> from curvae.likelihoods import Gaussian
        >>> z = torch.zeros(1, 2)
        >>> Exact().penalty(lambda z: z, z, z, Gaussian(), Diagonal(), beta=1.0)[1].exp()
        tensor([4.])
    """

    def __init__(self, chunk_size: int | None = None) -> None:
        self.chunk_size = None if chunk_size is None else positive_int("chunk_size", chunk_size)

    def check(self, structure: Structure) -> None:
        """Serves every structure."""

    def plan(
        self, z: Float[Tensor, "B d"], structure: Structure, beta: float, generator: torch.Generator | None = None
    ) -> Plan:
        """All unit vectors; ``generator`` is not used and the standard error is zero."""

        def reduce(eta: Float[Tensor, "B *D"], columns: Float[Tensor, "B *D d"]) -> Estimate:
            value = structure.penalty_of_root(columns, beta)
            return Estimate(eta, value, torch.zeros_like(value), SampledColumns(columns))

        return Plan(unit_tangents(z), reduce, self.chunk_size)

    def __repr__(self) -> str:
        return "Exact()"


class Columns(Pushing):
    r"""``count`` sampled columns for each datum: GRAE≈, the stochastic right side of (14).

    $\tfrac1k\sum_c\tfrac1{p_c}\log(1+\tfrac1\beta\|T_{:c}\|^2)$ with $c\sim p$, an unbiased estimate of the
    :class:`~curvae.posteriors.Diagonal` penalty, and so is its gradient. For
    :class:`~curvae.posteriors.BlockDiagonal` each drawn latent brings the columns of its whole block $b\ni c$ and the
    term is $\tfrac1{p_c|b|}\log|I+\tfrac1\beta T_b^\top T_b|$, unbiased for that structure's penalty. It says nothing
    of :class:`~curvae.posteriors.Full`, whose penalty is no sum.

    Args:
        count: k, latents drawn for each datum, with replacement; the paper uses 1.
        probabilities: $p$, d numbers > 0 (normalised here); default uniform. Variance is smallest where $p_c$ is
            proportional to the term it weighs.

    Raises:
        InputError: if ``count`` is not ≥ 1, a probability is not > 0, or their number is not d.

    Example:
        >>> from curvae.likelihoods import Gaussian
        >>> z = torch.zeros(1, 2)
        >>> Columns(1).penalty(lambda z: z, z, z, Gaussian(), Diagonal(), beta=1.0)[1].exp()
        tensor([4.])
    """

    def __init__(self, count: int = 1, probabilities: Sequence[float] | Tensor | None = None) -> None:
        self.count = positive_int("number of columns", count)
        self.probabilities = None if probabilities is None else normalised(probabilities)

    def check(self, structure: Structure) -> None:
        """Only these structures' penalties are sums over columns or blocks of them."""
        if not isinstance(structure, Diagonal | BlockDiagonal):
            raise InputError(
                f"Columns estimates the penalty of Diagonal() or BlockDiagonal(b) only; got {structure}: use Exact()"
            )

    def plan(
        self, z: Float[Tensor, "B d"], structure: Structure, beta: float, generator: torch.Generator | None = None
    ) -> Plan:
        """Draw the latents with ``generator``; their blocks are weighed by their probabilities."""
        indices = self.draw(z, generator)
        p = self._distribution(z)
        latents = z.shape[1]
        size = structure.block_size(latents) if isinstance(structure, BlockDiagonal) else 1
        start = indices - indices % size
        members = start.unsqueeze(-1) + torch.arange(size, device=z.device)
        inside = members < latents
        tangents = one_hot_tangents(z, members.clamp(max=latents - 1).flatten(1))
        # the last block may be smaller than the rest: its missing columns are zero and add nothing to a determinant
        tangents = tangents * inside.flatten(1).unsqueeze(1)

        def reduce(eta: Float[Tensor, "B *D"], pushed: Float[Tensor, "B *D K"]) -> Estimate:
            blocks = pushed.unflatten(-1, (self.count, size))
            terms = _block_terms(blocks, beta).to(z.dtype) / (p[indices] * inside.sum(-1))
            drawn = SampledColumns(_drawn(blocks, indices - start), indices, p)
            return Estimate(eta, terms.mean(-1), spread(terms), drawn)

        return Plan(tangents, reduce)

    def draw(self, z: Float[Tensor, "B d"], generator: torch.Generator | None = None) -> Int[Tensor, "B K"]:
        """Column indices, ``count`` for each datum."""
        if self.probabilities is None:
            shape = (len(z), self.count)
            return torch.randint(z.shape[1], shape, generator=generator, device=z.device)
        weights = self._distribution(z).expand(len(z), -1)
        return torch.multinomial(weights, self.count, replacement=True, generator=generator)

    def _distribution(self, z: Float[Tensor, "B d"]) -> Float[Tensor, " d"]:
        return distribution(self.probabilities, z, "Columns")

    def __repr__(self) -> str:
        return f"Columns({self.count})"


def _block_terms(blocks: Float[Tensor, "B *D K b"], beta: float) -> Float[Tensor, "B K"]:
    """The log-determinant of each block."""
    flat = blocks.flatten(1, -3).movedim(-2, 1)
    if flat.shape[-1] == 1:
        return logdet.of_columns(flat.squeeze(-1).mT, beta)
    return logdet.of_root(flat.flatten(0, 1), beta).unflatten(0, flat.shape[:2])


def _drawn(blocks: Float[Tensor, "B *D K b"], position: Int[Tensor, "B K"]) -> Float[Tensor, "B *D K"]:
    """The drawn latent's own column of each block."""
    if blocks.shape[-1] == 1:
        return blocks.squeeze(-1)
    chosen = position.view(len(blocks), *[1] * (blocks.dim() - 3), -1, 1)
    return blocks.gather(-1, chosen.expand(*blocks.shape[:-1], 1)).squeeze(-1)


def spread(terms: Float[Tensor, "B K"]) -> Float[Tensor, " B"] | None:
    """The standard error of the mean of K independent terms, ``None`` for a single one."""
    count = terms.shape[-1]
    return None if count == 1 else terms.detach().std(-1) / count**0.5


def distribution(probabilities: Tensor | None, z: Float[Tensor, "B d"], owner: str) -> Float[Tensor, " d"]:
    """The probability of each latent, uniform if none are given."""
    latents = z.shape[1]
    if probabilities is None:
        return z.new_full((latents,), 1 / latents)
    if len(probabilities) != latents:
        raise InputError(f"{owner} has {len(probabilities)} probabilities but there are {latents} latents")
    return probabilities.to(z)


def normalised(probabilities: Sequence[float] | Tensor) -> Float[Tensor, " d"]:
    """Numbers > 0 divided by their sum."""
    try:
        p = torch.as_tensor(probabilities, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError):
        p = torch.empty(0)
    if p.dim() != 1 or not len(p) or not bool((p.isfinite() & (p > 0)).all()):
        raise InputError("column probabilities must be a list of finite numbers > 0, one for each latent")
    return p / p.sum()
