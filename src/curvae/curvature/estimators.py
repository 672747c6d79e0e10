r"""How the penalty $\log|I+M/\beta|$ of a structure is computed: exactly, or from sampled columns."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch

from curvae._checks import positive, positive_int
from curvae._typing import Float, Int, Tensor
from curvae.curvature.gauss_newton import column_norms, gram, whitened
from curvae.curvature.pushforward import Decoder, one_hot_tangents, unit_tangents
from curvae.errors import InputError
from curvae.likelihoods import Likelihood
from curvae.posteriors import Diagonal, Structure


class Estimator(ABC):
    """One way to get a structure's penalty."""

    @abstractmethod
    def check(self, structure: Structure) -> None:
        """Raise an ``InputError`` if this estimator cannot serve ``structure``."""

    @abstractmethod
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
        r"""The decoder's output $\eta$ and the penalty (an estimate of it) of each datum, from one pass."""


class Exact(Estimator):
    """All d columns of the Jacobian.

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
        """No randomness: ``generator`` is not used."""
        eta, tangents = whitened(fn, z, x, likelihood, unit_tangents(z), self.chunk_size)
        return eta, structure.penalty(gram(tangents), beta).to(z.dtype)

    def __repr__(self) -> str:
        return "Exact()"


class Columns(Estimator):
    r"""``count`` sampled columns for each datum: GRAE≈, the stochastic right side of (14).

    $\tfrac1k\sum_c\tfrac1{p_c}\log(1+\tfrac1\beta\|T_{:c}\|^2)$ with $c\sim p$, an unbiased estimate of the
    :class:`~curvae.posteriors.Diagonal` penalty, and so is its gradient. It says nothing of other structures.

    Args:
        count: k, columns a datum, drawn with replacement; the paper uses 1.
        probabilities: $p$, d numbers > 0 (normalised here); default uniform.

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
        self.probabilities = None if probabilities is None else _normalised(probabilities)

    def check(self, structure: Structure) -> None:
        """Only the diagonal structure's penalty is a sum over columns."""
        if not isinstance(structure, Diagonal):
            raise InputError(f"Columns estimates the penalty of Diagonal() only; got {structure}: use Exact()")

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
        """Draw the columns with ``generator`` and weigh them by their probabilities."""
        self.check(structure)
        positive("beta", beta)
        indices = self.draw(z, generator)
        eta, tangents = whitened(fn, z, x, likelihood, one_hot_tangents(z, indices))
        terms = (column_norms(tangents) / beta).log1p()
        return eta, (terms / self._distribution(z)[indices]).mean(-1)

    def draw(self, z: Float[Tensor, "B d"], generator: torch.Generator | None = None) -> Int[Tensor, "B K"]:
        """Column indices, ``count`` for each datum."""
        if self.probabilities is None:
            shape = (len(z), self.count)
            return torch.randint(z.shape[1], shape, generator=generator, device=z.device)
        weights = self._distribution(z).expand(len(z), -1)
        return torch.multinomial(weights, self.count, replacement=True, generator=generator)

    def _distribution(self, z: Float[Tensor, "B d"]) -> Float[Tensor, " d"]:
        latents = z.shape[1]
        if self.probabilities is None:
            return z.new_full((latents,), 1 / latents)
        if len(self.probabilities) != latents:
            raise InputError(f"Columns has {len(self.probabilities)} probabilities but there are {latents} latents")
        return self.probabilities.to(z)

    def __repr__(self) -> str:
        return f"Columns({self.count})"


def _normalised(probabilities: Sequence[float] | Tensor) -> Float[Tensor, " d"]:
    try:
        p = torch.as_tensor(probabilities, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError):
        p = torch.empty(0)
    if p.dim() != 1 or not len(p) or not bool((p.isfinite() & (p > 0)).all()):
        raise InputError("column probabilities must be a list of finite numbers > 0, one for each latent")
    return p / p.sum()
