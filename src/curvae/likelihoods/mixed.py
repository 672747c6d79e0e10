"""Products of observation models, for tables of mixed columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import nn

from curvae._checks import positive_int
from curvae._typing import Bool, Float, Tensor
from curvae.errors import InputError
from curvae.likelihoods.base import Likelihood
from curvae.likelihoods.counts import Categorical
from curvae.likelihoods.masked import unmasked


class Part(NamedTuple):
    """One observation model of several, and how many columns of the data and outputs of the decoder are its."""

    likelihood: Likelihood
    columns: int
    outputs: int


class Mixed(nn.Module, Likelihood):
    r"""Different observation models for different columns of a table, independent given the decoder's output.

    Data ``[B, C]`` and outputs ``[B, D]`` are cut into neighbouring pieces, in the order of the parts. A model with
    one output for each column needs no more than their number; ``Categorical`` of k columns with c classes has c k
    outputs (all columns' first class, all columns' second, …), and :class:`~curvae.likelihoods.SizeFactors` without
    ``typical`` has one column more than outputs.

    Args:
        parts: of each its likelihood, the number of its columns and, where it is another, of its outputs.

    Raises:
        InputError: no parts, or numbers that do not go together.

    Example:
        >>> from curvae.likelihoods import BernoulliLogits, Gaussian
        >>> mixed = Mixed([(Gaussian(), 2), (BernoulliLogits(), 1), (Categorical(), 1, 3)])
        >>> mixed.outputs
        6
        >>> mixed.nll(torch.zeros(1, 6), torch.tensor([[1.0, 1.0, 0.0, 2.0]]))  # 1 + log 2 + log 3
        tensor([2.7918])
    """

    def __init__(self, parts: Sequence[tuple[Likelihood, int] | tuple[Likelihood, int, int]]) -> None:
        super().__init__()
        self.parts = [_part(*part) for part in parts]
        if not parts:
            raise InputError("Mixed got no parts; expected at least one (likelihood, columns)")
        for number, part in enumerate(self.parts):
            if isinstance(part.likelihood, nn.Module):
                self.add_module(f"part{number}", part.likelihood)
        self.columns = sum(part.columns for part in self.parts)
        self.outputs = sum(part.outputs for part in self.parts)
        self.smooth = all(part.likelihood.smooth for part in self.parts)

    def nll(self, eta: Float[Tensor, "B D"], x: Tensor) -> Float[Tensor, " B"]:
        """The sum of the parts' nlls."""
        return torch.stack([part.nll(outputs, columns) for part, outputs, columns in self._each(eta, x)]).sum(0)

    def log_prob(self, eta: Float[Tensor, "B D"], x: Tensor) -> Float[Tensor, " B"]:
        """The sum of the parts' log-probabilities."""
        return torch.stack([part.log_prob(outputs, columns) for part, outputs, columns in self._each(eta, x)]).sum(0)

    def nll_each(self, eta: Float[Tensor, "B D"], x: Tensor) -> Float[Tensor, "B C"]:
        """The nll of each column."""
        return torch.cat([part.nll_each(outputs, columns) for part, outputs, columns in self._each(eta, x)], 1)

    def log_prob_each(self, eta: Float[Tensor, "B D"], x: Tensor) -> Float[Tensor, "B C"]:
        """The log-probability of each column."""
        return torch.cat([part.log_prob_each(outputs, columns) for part, outputs, columns in self._each(eta, x)], 1)

    def at_outputs(self, mask: Bool[Tensor, "B C"], eta: Float[Tensor, "B D"]) -> Bool[Tensor, "B D"]:
        """A column's mask for all of its outputs."""
        masks = [part.at_outputs(columns, outputs).flatten(1) for part, outputs, columns in self._each(eta, mask)]
        return torch.cat(masks, 1)

    def mean(self, eta: Float[Tensor, "B D"]) -> Float[Tensor, "B D"]:
        """The means of the parts, of a ``Categorical`` the probabilities: shaped like the outputs."""
        return torch.cat([part.mean(outputs).flatten(1) for part, outputs in self._cut(eta)], 1)

    def squared_error(self, eta: Float[Tensor, "B D"], x: Tensor) -> Float[Tensor, "B D"]:
        """Of each part, shaped like the outputs."""
        errors = [part.squared_error(outputs, columns).flatten(1) for part, outputs, columns in self._each(eta, x)]
        return torch.cat(errors, 1)

    def sample(self, eta: Float[Tensor, "B D"], generator: torch.Generator | None = None) -> Float[Tensor, "B C"]:
        """One draw of each column, as floating point numbers."""
        return torch.cat([part.sample(outputs, generator).to(eta.dtype) for part, outputs in self._cut(eta)], 1)

    def whiten(self, eta: Float[Tensor, "B D"], x: Tensor, tangents: Float[Tensor, "B D K"]) -> Float[Tensor, "B D K"]:
        r"""$L\,t$ of each part."""
        pieces = tangents.split([part.outputs for part in self.parts], 1)
        white = []
        for (part, outputs, columns), piece in zip(self._each(eta, x), pieces, strict=True):
            shaped = piece.unflatten(1, outputs.shape[1:])
            white.append(part.whiten(outputs, columns, shaped).flatten(1, -2))
        return torch.cat(white, 1)

    def _each(self, eta: Float[Tensor, "B D"], x: Tensor) -> Iterator[tuple[Likelihood, Tensor, Tensor]]:
        """Each part with its outputs and its columns."""
        if eta.shape != (len(eta), self.outputs) or x.shape != (len(eta), self.columns):
            raise InputError(
                f"the decoder's output has shape {tuple(eta.shape)} and the data has shape {tuple(x.shape)}; "
                f"{self} expects [B, {self.outputs}] and [B, {self.columns}]"
            )
        columns = x.split([part.columns for part in self.parts], 1)
        for (part, outputs), own in zip(self._cut(eta), columns, strict=True):
            yield part, outputs, own

    def _cut(self, eta: Float[Tensor, "B D"]) -> Iterator[tuple[Likelihood, Tensor]]:
        """Each part with its outputs, classes on an axis of their own."""
        pieces = eta.split([part.outputs for part in self.parts], 1)
        for part, piece in zip(self.parts, pieces, strict=True):
            classes = _is_categorical(part.likelihood)
            yield part.likelihood, piece.unflatten(1, (-1, part.columns)) if classes else piece

    def check(self, x: Tensor) -> None:
        """Each part's columns, if there are as many as the parts have."""
        if x.dim() == 2 and x.shape[1] == self.columns:
            for part, columns in zip(self.parts, x.split([part.columns for part in self.parts], 1), strict=True):
                part.likelihood.check(columns)

    def __repr__(self) -> str:
        return f"Mixed({', '.join(f'{part.likelihood}: {part.columns}' for part in self.parts)})"


def _part(likelihood: Likelihood, columns: int, outputs: int | None = None) -> Part:
    part = Part(likelihood, positive_int("columns", columns), positive_int("outputs", outputs or columns))
    if _is_categorical(likelihood) and (outputs is None or part.outputs % part.columns):
        raise InputError(
            f"{likelihood} of {columns} columns has outputs {outputs}; expected (likelihood, columns, outputs) with "
            "one output for each class of each column"
        )
    return part


def _is_categorical(likelihood: Likelihood) -> bool:
    return isinstance(unmasked(likelihood), Categorical)
