"""What a table's networks and its observation model need to know of it."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import nn

from curvae._checks import shown
from curvae._typing import Float, Tensor
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
from curvae.likelihoods.base import Location
from curvae.nn.columns import dispersions, moments
from curvae.runs.parts import build_likelihood

COUNTS = ("poisson", "negative-binomial")
BINARY = ("bernoulli", "bernoulli-logits")
SIZE_FACTORS = (None, "total", "column")

# of a feature's standard deviation before the fit: a feature that is reproduced exactly has no best noise scale
_FLOOR = 0.01


@dataclass(frozen=True)
class Table:
    """A training table and how its numbers are to be understood.

    Attributes:
        x: the data, NaN where a number is missing; with ``size_factors="column"`` their factors are the last column.
        likelihood: name of the observation model, or one.
        size_factors: ``None``, ``"total"`` or ``"column"``.
    """

    x: Float[Tensor, "N C"]
    likelihood: str | Likelihood
    size_factors: str | None

    @property
    def name(self) -> str:
        """The observation model's name without its numbers; empty where an object was given."""
        return self.likelihood.partition(":")[0] if isinstance(self.likelihood, str) else ""

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
        """Whether some are missing."""
        return bool(self.values.isnan().any())

    @property
    def typical(self) -> float | None:
        """The median of the totals, where totals are the size factors."""
        if self.size_factors != "total":
            return None
        return float(self.values.nansum(1).median().clamp(min=1.0))

    def check(self) -> None:
        """Refuse numbers that the observation model cannot have made.

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
        values = self.values[~self.values.isnan()]
        if self.counts and bool(((values < 0) | (values != values.floor())).any()):
            raise InputError(
                f"Negative values or fractions in data passed to likelihood {self.likelihood!r}, which is for counts"
            )
        unit = self.name in (*BINARY, "continuous-bernoulli")
        if unit and bool(((values < 0) | (values > 1)).any()):
            raise InputError(f"X has values outside [0, 1], the range of likelihood {self.likelihood!r}; scale them")
        if self.size_factors == "column" and not bool((self.x[:, -1] > 0).all()):
            raise InputError("the last column of X holds the size factors; expected finite numbers > 0")


class Features(nn.Module):
    """What the encoder sees of a table: standardised columns, of counts their logarithms, and where something misses.

    Args:
        table: the training data, for the columns' centres and scales.
    """

    def __init__(self, table: Table) -> None:
        super().__init__()
        self.counts, self.factors, self.typical = table.counts, table.size_factors, table.typical
        self.gaps = table.gaps
        raw = self._raw(table.x)
        centre, scale = moments(raw)
        self.register_buffer("centre", centre)
        self.register_buffer("scale", scale)
        self.out_features = raw.shape[1] * (2 if self.gaps else 1)

    centre: Tensor
    scale: Tensor

    def forward(self, x: Float[Tensor, "B C"]) -> Float[Tensor, "B F"]:
        """The features."""
        raw = self._raw(x)
        seen = ~raw.isnan()
        features = ((raw - self.centre) / self.scale).where(seen, 0)
        return torch.cat([features, (~seen).to(features)], 1) if self.gaps else features

    def _raw(self, x: Tensor) -> Tensor:
        if not self.counts:
            return x
        if self.factors is None:
            return x.log1p()
        values, factors = x, x[:, -1:]
        if self.factors == "column":
            values = x[:, :-1]
        else:
            factors = (x.nansum(1, keepdim=True) / (self.typical or 1.0)).clamp(min=1e-3)
        return torch.cat([(values / factors).log1p(), factors.log()], 1)


class Outputs(nn.Module):
    """The decoder's last step, an affine map of each output to where the data are.

    Args:
        centre: of each output.
        scale: of each output.
    """

    centre: Tensor
    scale: Tensor

    def __init__(self, centre: Float[Tensor, " D"], scale: Float[Tensor, " D"]) -> None:
        super().__init__()
        self.register_buffer("centre", centre)
        self.register_buffer("scale", scale)

    def forward(self, y: Float[Tensor, "B D"]) -> Float[Tensor, "B D"]:
        """The parameters of the observation model."""
        return self.centre + self.scale * y


def outputs_of(table: Table, outputs: int) -> Outputs:
    """Where the observation model's parameters are without any latents."""
    values = table.values
    centre, scale = values.new_zeros(outputs), values.new_ones(outputs)
    if table.counts:
        return Outputs((_at_one(table).nanmean(0).nan_to_num(0) + 1e-2).log(), scale)
    if table.name in BINARY:
        frequency = (values.nanmean(0).nan_to_num(0.5) * 0.98 + 0.01).clamp(0.01, 0.99)
        return Outputs(frequency.logit(), scale)
    if _is_location(table):
        return Outputs(*moments(values))
    return Outputs(centre, scale)


def likelihood_for(table: Table) -> Likelihood:
    """The observation model, with what it learns at a start that suits the table.

    Raises:
        InputError: a name that is none.
    """
    own = table.likelihood
    if not isinstance(own, str | Likelihood):
        raise InputError(f"likelihood is {shown(own)}; expected a name, such as 'gaussian', or one of likelihoods")
    if not isinstance(own, str):
        likelihood = copy.deepcopy(own)
    elif own in ("gaussian", "gaussian:learned"):
        # from where nothing is explained: a smaller scale makes the networks' task stiff before they have begun
        sigma = moments(table.values)[1]
        likelihood = LearnedGaussian(sigma if own == "gaussian" else sigma.square().mean().sqrt(), floor=_FLOOR)
    elif own == "negative-binomial":
        likelihood = LearnedNegativeBinomial(dispersions(_at_one(table)))
    elif own == "bernoulli":
        likelihood = BernoulliLogits()
    else:
        likelihood = build_likelihood(own)
    if table.gaps and isinstance(likelihood, Likelihood) and not _is_masked(likelihood):
        likelihood = Masked(likelihood)
    if table.size_factors is not None:
        likelihood = SizeFactors(likelihood, table.typical)
    return likelihood


def outputs_for(likelihood: Likelihood, columns: int) -> int:
    """How many numbers the decoder has to give for this many columns."""
    inner = likelihood.likelihood if isinstance(likelihood, Masked) else likelihood
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
        return values * (table.typical / values.nansum(1, keepdim=True).clamp(min=1.0))
    return values


def _is_location(table: Table) -> bool:
    own = table.likelihood
    if isinstance(own, str):
        return table.name in ("gaussian", "laplace", "student-t")
    inner = own.likelihood if isinstance(own, Masked) else own
    return isinstance(inner, Location)


def _is_masked(likelihood: Likelihood) -> bool:
    if isinstance(likelihood, Mixed):
        return all(_is_masked(part.likelihood) for part in likelihood.parts)
    return isinstance(getattr(likelihood, "likelihood", likelihood), Masked) or isinstance(likelihood, Masked)
