r"""A structure's penalty $\log|I+M/\beta|$ from the decoder's Jacobian: all of its columns, or some drawn at random."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from curvae._checks import positive_int
from curvae._part import drawn
from curvae._random import stream
from curvae._typing import Float, Int, Tensor
from curvae.curvature.estimator import ForwardModeEstimator, PenaltyEstimate, ProbePlan, SampledColumns, spread
from curvae.errors import InputError
from curvae.forward.pushforward import one_hot_tangents, unit_tangents
from curvae.posteriors import Along, BlockDiagonal, Diagonal, Structure, logdet


class Exact(ForwardModeEstimator):
    """All d columns of the Jacobian; no randomness, no bias, for every structure.

    Args:
        chunk_size: columns computed at a time (default: all); bounds memory.

    Raises:
        InputError: if ``chunk_size`` is not ≥ 1.

    Example:
        >>> from curvae.curvature import Linearised
        >>> from curvae.likelihoods import Gaussian
        >>> z = torch.zeros(1, 2)
        >>> Exact().penalty(Linearised(lambda z: z, z, z, Gaussian()), Diagonal(), beta=1.0)[1].exp()
        tensor([4.])
    """

    def __init__(self, chunk_size: int | None = None) -> None:
        self.chunk_size = None if chunk_size is None else positive_int("chunk_size", chunk_size)

    def check(self, structure: Structure) -> None:
        """Serves every structure."""

    def plan(
        self, z: Float[Tensor, "B d"], structure: Structure, beta: float, generator: torch.Generator | None = None
    ) -> ProbePlan:
        """All unit vectors; ``generator`` is not used and the standard error is zero."""

        def reduce(eta: Float[Tensor, "B *D"], columns: Float[Tensor, "B *E d"]) -> PenaltyEstimate:
            value = structure.penalty_of_root(columns, beta)
            return PenaltyEstimate(eta, value, torch.zeros_like(value), SampledColumns(columns))

        return ProbePlan(unit_tangents(z), reduce, self.chunk_size)

    def __repr__(self) -> str:
        return "Exact()"


class Columns(ForwardModeEstimator):
    r"""``count`` sampled columns for each sample: GRAE≈, the stochastic right side of (14).

    $\tfrac1k\sum_c\tfrac1{p_c}\log(1+\tfrac1\beta\|T_{:c}\|^2)$ with $c\sim p$, an unbiased estimate of the
    :class:`~curvae.posteriors.Diagonal` penalty, and so is its gradient. For
    :class:`~curvae.posteriors.BlockDiagonal` and :class:`~curvae.posteriors.Along` each drawn latent brings the columns
    of its whole block $b\ni c$ and the term is $\tfrac1{p_c|b|}\log|I+\tfrac1\beta T_b^\top T_b|$, unbiased for that
    structure's penalty. It says nothing of :class:`~curvae.posteriors.Full`, whose penalty is no sum.

    Args:
        count: k, latents drawn for each sample, with replacement; the paper uses 1.
        probabilities: $p$, d numbers > 0 (normalised here); default uniform. Variance is smallest where $p_c$ is
            proportional to the term it weighs.

    Raises:
        InputError: if ``count`` is not ≥ 1, a probability is not > 0, or their number is not d.

    Example:
        >>> from curvae.curvature import Linearised
        >>> from curvae.likelihoods import Gaussian
        >>> z = torch.zeros(1, 2)
        >>> Columns(1).penalty(Linearised(lambda z: z, z, z, Gaussian()), Diagonal(), beta=1.0)[1].exp()
        tensor([4.])
    """

    def __init__(self, count: int = 1, probabilities: Sequence[float] | Tensor | None = None) -> None:
        self.count = positive_int("number of columns", count)
        self.probabilities = None if probabilities is None else normalised(probabilities)

    def check(self, structure: Structure) -> None:
        """Only these structures' penalties are sums over columns or blocks of them."""
        if not isinstance(structure, Diagonal | BlockDiagonal | Along):
            raise InputError(
                "Columns estimates the penalty of Diagonal(), BlockDiagonal(b) and Along(…) only; got "
                f"{structure}: use Exact(), or structure=Diagonal()"
            )

    def plan(
        self, z: Float[Tensor, "B d"], structure: Structure, beta: float, generator: torch.Generator | None = None
    ) -> ProbePlan:
        """Draw the latents with ``generator``; their blocks are weighed by their probabilities."""
        indices = self.draw(z, generator)
        p = self._distribution(z)
        latents, size, order = z.shape[1], 1, None
        if isinstance(structure, Along):
            size, order = structure.blocks.size, structure.order(latents, z.device)
        elif isinstance(structure, BlockDiagonal):
            size = structure.block_size(latents)
        place = indices if order is None else order.argsort()[indices]
        start = place - place % size
        members = start.unsqueeze(-1) + torch.arange(size, device=z.device)
        inside = members < latents
        drawn_too = members.clamp(max=latents - 1).flatten(1)
        tangents = one_hot_tangents(z, drawn_too if order is None else order[drawn_too])
        # the last block may be smaller than the rest: its missing columns are zero and add nothing to a determinant
        tangents = tangents * inside.flatten(1).unsqueeze(1)

        def reduce(eta: Float[Tensor, "B *D"], pushed: Float[Tensor, "B *E K"]) -> PenaltyEstimate:
            blocks = pushed.unflatten(-1, (self.count, size))
            terms = _block_terms(blocks, beta).to(z.dtype) / (p[indices] * inside.sum(-1))
            drawn = SampledColumns(_drawn(blocks, place - start), indices, p)
            return PenaltyEstimate(eta, terms.mean(-1), spread(terms), drawn)

        return ProbePlan(tangents, reduce)

    def draw(self, z: Float[Tensor, "B d"], generator: torch.Generator | None = None) -> Int[Tensor, "B K"]:
        """Column indices, ``count`` for each sample."""
        if self.probabilities is None:
            source, latents = stream(generator), z.shape[1]
            return drawn(lambda n: torch.randint(latents, (n, self.count), generator=source, device=z.device), len(z))
        return choices(self._distribution(z), len(z), self.count, generator)

    def _distribution(self, z: Float[Tensor, "B d"]) -> Float[Tensor, " d"]:
        return distribution(self.probabilities, z, "Columns")

    def __repr__(self) -> str:
        return f"Columns({self.count})"


def _block_terms(blocks: Float[Tensor, "B *D K b"], beta: float) -> Float[Tensor, "B K"]:
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


def distribution(probabilities: Tensor | None, z: Float[Tensor, "B d"], owner: str) -> Float[Tensor, " d"]:
    """The probability of each latent, uniform if none are given."""
    latents = z.shape[1]
    if probabilities is None:
        return z.new_full((latents,), 1 / latents)
    if len(probabilities) != latents:
        raise InputError(f"{owner} has {len(probabilities)} probabilities but there are {latents} latents")
    return probabilities.to(z)


def choices(p: Float[Tensor, " d"], rows: int, count: int, generator: torch.Generator | None) -> Int[Tensor, "B K"]:
    """Latents with these probabilities, ``count`` for each sample, with replacement."""
    source = stream(generator)
    return drawn(lambda n: torch.multinomial(p.expand(n, -1), count, replacement=True, generator=source), rows)


def coins(like: Float[Tensor, "B d"], *shape: int, generator: torch.Generator | None) -> Float[Tensor, "B *S"]:
    """Independent signs ±1 for each sample."""
    source = stream(generator)
    coin = drawn(lambda n: torch.randint(2, (n, *shape), generator=source, device=like.device), len(like))
    return coin.to(like.dtype) * 2 - 1


def normalised(probabilities: Sequence[float] | Tensor) -> Float[Tensor, " d"]:
    """Numbers > 0 divided by their sum."""
    try:
        p = torch.as_tensor(probabilities, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError):
        p = torch.empty(0)
    if p.dim() != 1 or not len(p) or not bool((p.isfinite() & (p > 0)).all()):
        raise InputError("column probabilities must be a list of finite numbers > 0, one for each latent")
    return p / p.sum()
