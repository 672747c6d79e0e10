"""What a table's networks and its observation model need to know of it."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import nn

from curvae._checks import shown
from curvae._typing import Bool, Float, Tensor
from curvae.data import Dataset
from curvae.errors import InputError
from curvae.likelihoods import (
    BernoulliLogits,
    LearnedGaussian,
    LearnedNegativeBinomial,
    Likelihood,
    Masked,
    Mixed,
    SizeFactors,
)
from curvae.likelihoods.masked import unmasked
from curvae.likelihoods.size_factors import of_totals
from curvae.nn.columns import dispersions, moments
from curvae.runs.mixed import MASKED, bare, check_kinds, is_mixed, is_open, resolved
from curvae.runs.parts import build_likelihood
from curvae.runs.placing import counted, placed, spread, start

COUNTS = ("poisson", "negative-binomial")
SIZE_FACTORS = (None, "total", "column")

# of a feature's standard deviation before the fit: a feature that is reproduced exactly has no best noise scale
_FLOOR = 0.01
_ROUNDS = 20
_TINY = 1e-30


@dataclass(frozen=True)
class Table:
    """A table and how its numbers are to be understood."""

    x: Float[Tensor, "N C"]  # NaN where a number is missing; with size_factors "column" these are the last column
    likelihood: str | Likelihood
    size_factors: str | None  # None, "total" or "column"
    names: tuple[str, ...] | None = None  # of the columns, for errors and for "mixed"; None for their positions

    def resolved(self) -> Table:
        """Itself, with the kinds of the columns where ``"mixed"`` leaves them to the training data.

        Raises:
            InputError: no such column or kind, or numbers that are not of that kind.
        """
        if not (isinstance(self.likelihood, str) and is_open(self.likelihood)):
            return self
        return replace(self, likelihood=resolved(self.likelihood, self._dataset()))

    def _dataset(self) -> Dataset:
        x = self.x.float().cpu()
        return Dataset("X", x, x, {}, columns=self.names)

    @property
    def name(self) -> str:
        """The observation model's name without its numbers; empty where an object was given."""
        return bare(self.likelihood).partition(":")[0] if isinstance(self.likelihood, str) else ""

    @property
    def counts(self) -> bool:
        """Whether the numbers are counts."""
        return self.name in COUNTS

    @property
    def values(self) -> Float[Tensor, "N D"]:
        """The numbers that are modelled."""
        return self.x[:, :-1] if self.size_factors == "column" else self.x

    @property
    def gaps(self) -> bool:
        """Whether some are missing, or may be."""
        said = isinstance(self.likelihood, str) and self.likelihood.startswith(MASKED)
        return said or bool(self.values.isnan().any())

    @cached_property
    def typical(self) -> Float[Tensor, " D"] | None:
        """The columns' shares of the median total, where totals are the size factors."""
        if self.size_factors != "total":
            return None
        x, seen = self.values.nan_to_num(), (~self.values.isnan()).to(self.values)
        total = seen.new_ones(len(x))
        for _ in range(_ROUNDS if self.gaps else 1):  # columns and totals fitted in turn to what was observed
            columns = x.sum(0) / (total @ seen).clamp(min=_TINY)
            total = x.sum(1) / (seen @ columns).clamp(min=_TINY)
        whole = (total * columns.sum())[seen.any(1)]  # a sample without any count has no total
        shares = columns / columns.sum() if columns.sum() > 0 else torch.full_like(columns, 1 / len(columns))
        return shares * whole.median().clamp(min=1.0)

    def check(self) -> None:
        """Refuse size factors that do not go with the rest, and columns that are not of their kinds.

        Raises:
            InputError: one line.
        """
        if self.size_factors not in SIZE_FACTORS:
            raise InputError(f"size_factors is {self.size_factors!r}; expected None, 'total' or 'column'")
        if self.size_factors is not None and not self.counts:
            raise InputError(
                f"size_factors is {self.size_factors!r} but likelihood is {self.likelihood!r}; they go with 'poisson' "
                "and 'negative-binomial' (for an object of your own, likelihoods.SizeFactors)"
            )
        if isinstance(self.likelihood, str) and is_mixed(self.likelihood):
            check_kinds(self.likelihood, self._dataset(), training=False)
        if self.size_factors == "column" and not bool((self.x[:, -1] > 0).all()):
            raise InputError("the last column of X holds the size factors; expected finite numbers > 0")


class Features(nn.Module):
    """What the encoder sees of a table: standardised columns, of counts their logarithms, and where something misses.

    Centres and scales are those of the training data.
    """

    def __init__(self, table: Table, counts: Bool[Tensor, " D"]) -> None:
        super().__init__()
        self.factors = table.size_factors
        self.register_buffer("typical", table.typical, persistent=False)
        self.gaps = table.gaps
        self.register_buffer("counts", counts.to(table.x.device), persistent=False)
        raw = self._raw(table.x)
        centre, scale = moments(raw)
        self.register_buffer("centre", centre)
        self.register_buffer("scale", scale)
        self.out_features = raw.shape[1] * (2 if self.gaps else 1)

    centre: Tensor
    scale: Tensor
    counts: Tensor
    typical: Tensor | None

    def forward(self, x: Float[Tensor, "B C"]) -> Float[Tensor, "B F"]:
        """The features."""
        raw = self._raw(x)
        seen = ~raw.isnan()
        features = ((raw - self.centre) / self.scale).where(seen, 0)
        return torch.cat([features, (~seen).to(features)], 1) if self.gaps else features

    def _raw(self, x: Tensor) -> Tensor:
        if self.factors is None:
            return torch.where(self.counts, x.clamp(min=0).log1p(), x)
        values, factors = x, x[:, -1:]
        if self.factors == "column":
            values = x[:, :-1]
        else:
            assert self.typical is not None  # of totals
            factors = of_totals(x, self.typical).unsqueeze(1).clamp(min=1e-3)
        return torch.cat([(values / factors).log1p(), factors.log()], 1)


def outputs_of(table: Table, likelihood: Likelihood, outputs: int) -> tuple[Float[Tensor, " D"], Float[Tensor, " D"]]:
    """Where the observation model's parameters are without any latents: centre and scale of each."""
    return placed(_inner(likelihood), _at_one(table), outputs)


def counts_of(table: Table, likelihood: Likelihood) -> Bool[Tensor, " D"]:
    """Which columns are counts to the observation model."""
    return counted(_inner(likelihood), table.values.shape[1])


def likelihood_for(table: Table) -> Likelihood:
    """The observation model, with what it learns at a start that suits the table.

    Raises:
        InputError: a name that is none.
    """
    own = table.likelihood
    if not isinstance(own, str | Likelihood):
        raise InputError(f"likelihood is {shown(own)}; expected a name, such as 'gaussian', or one of likelihoods")
    text = bare(own) if isinstance(own, str) else ""
    if not isinstance(own, str):
        likelihood = copy.deepcopy(own)
    elif text in ("gaussian", "gaussian:learned"):
        # from where nothing is explained: a smaller scale makes the networks' task stiff before they have begun
        sigma = moments(table.values)[1] if text == "gaussian" else spread(table.values)
        likelihood = LearnedGaussian(sigma, floor=_FLOOR)
    elif text == "negative-binomial":
        likelihood = LearnedNegativeBinomial(dispersions(_at_one(table)))
    elif text == "bernoulli":
        likelihood = BernoulliLogits()
    else:
        likelihood = build_likelihood(text)
        if is_mixed(text):
            start(likelihood, table.values)
    if table.gaps and isinstance(likelihood, Likelihood) and not _is_masked(likelihood):
        likelihood = Masked(likelihood)
    if table.size_factors is not None:
        likelihood = SizeFactors(likelihood, table.typical)
    return likelihood


def outputs_for(likelihood: Likelihood, columns: int) -> int:
    """How many numbers the decoder has to give for this many columns."""
    inner = unmasked(likelihood)
    if not isinstance(inner, Mixed):
        return columns
    if inner.columns != columns:
        raise InputError(f"X has {columns} columns but {inner} is for {inner.columns}")
    return inner.outputs


def _at_one(table: Table) -> Float[Tensor, "N D"]:
    """Counts as they would be at size factor 1."""
    values = table.values
    if table.size_factors == "column":
        return values / table.x[:, -1:]
    if table.typical is not None:
        least = 1 / table.typical.sum()  # a total of 1
        return values / of_totals(values, table.typical).clamp(min=least).unsqueeze(1)
    return values


def _inner(likelihood: Likelihood) -> Likelihood:
    return likelihood.likelihood if isinstance(likelihood, SizeFactors) else likelihood


def _is_masked(likelihood: Likelihood) -> bool:
    if isinstance(likelihood, Mixed):
        return all(_is_masked(part.likelihood) for part in likelihood.parts)
    return isinstance(getattr(likelihood, "likelihood", likelihood), Masked) or isinstance(likelihood, Masked)
