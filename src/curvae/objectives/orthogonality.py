"""Penalties on a decoder's Jacobian columns beside the log-determinant."""

from __future__ import annotations

import torch

from curvae._precision import full_precision
from curvae._typing import Bool, Float, Int, Tensor
from curvae.curvature import SampledColumns
from curvae.errors import InputError
from curvae.posteriors import Structure


def orthogonality(columns: Float[Tensor, "B *D d"], structure: Structure) -> Float[Tensor, " B"]:
    r"""How far the Jacobian's columns are from the orthogonality that a structure asks for: 0 … 1.

    $\frac1{|P|}\sum_{\{i,j\}\in P}\cos^2\angle(T_{:i},T_{:j})$, the mean squared normalised dot product over the pairs
    $P$ that the structure sets to zero: all pairs for :class:`~curvae.posteriors.Diagonal`, pairs across blocks for
    :class:`~curvae.posteriors.BlockDiagonal`, pairs off the band for :class:`~curvae.posteriors.Banded`, none (and so
    0) for :class:`~curvae.posteriors.Full`. It is the paper's penalty for a diagonal or sparse precision: where it is
    0, $M$ itself has the structure and the structure's penalty equals the full one. A column of zeros is orthogonal
    to everything and gets no gradient; the gradient with respect to a column grows as one over its length.

    Args:
        columns: all d columns of the whitened Jacobian.
        structure: which columns should be orthogonal.

    Returns:
        One number per sample, in the type of ``columns``.

    Example:
        >>> from curvae.posteriors import Diagonal
        >>> orthogonality(torch.tensor([[[1.0, 1.0], [0.0, 1.0]]]), Diagonal())  # 45°
        tensor([0.5000])
    """
    latents = columns.shape[-1]
    pairs = _required(structure, latents, columns)
    cosines = _squared_cosines(columns)
    return ((cosines * pairs).sum((-1, -2)) / pairs.sum().clamp(min=1)).to(columns.dtype)


def sampled_orthogonality(sampled: SampledColumns, structure: Structure, latents: int) -> Float[Tensor, " B"]:
    r"""The same from some columns: every pair among K independently drawn ones, unbiased, value and gradient.

    $\frac1{K(K-1)}\sum_{a\ne b}\frac{[\{c_a,c_b\}\in P]}{2|P|\,p_{c_a}p_{c_b}}\cos^2\angle(T_{:c_a},T_{:c_b})$ with
    $c\sim p$; K = 2 is the paper's "sample a pair".

    Args:
        sampled: the columns, e.g. those that :class:`~curvae.curvature.Columns` has pushed for its own estimate.
        structure: which columns should be orthogonal.
        latents: d.

    Raises:
        InputError: if there are fewer than two columns.

    Example:
        >>> from curvae.posteriors import Diagonal
        >>> pair = SampledColumns(torch.eye(2)[None], torch.tensor([[0, 3]]), torch.full((4,), 0.25))
        >>> sampled_orthogonality(pair, Diagonal(), latents=4)
        tensor([0.])
    """
    if sampled.indices is None or sampled.probabilities is None:
        return sampled.spread(orthogonality(sampled.columns, structure))
    count = sampled.columns.shape[-1]
    if count < 2:
        raise InputError("an orthogonality penalty needs at least two sampled columns; got 1: use Columns(2) or more")
    c = sampled.indices
    asked, number = _asked(structure, latents, c)
    weights = _outer(sampled.probabilities[c].reciprocal()) * asked
    total = (_squared_cosines(sampled.columns) * weights).sum((-1, -2))
    return sampled.spread((total / (count * (count - 1) * max(number, 1))).to(sampled.columns.dtype))


def _asked(structure: Structure, latents: int, c: Int[Tensor, "m K"]) -> tuple[Bool[Tensor, "m K K"], int]:
    """Which ordered pairs of these latents the structure sets to zero, and how many there are of all latents."""
    groups = structure.groups(latents)
    if groups is None:
        pairs = _required(structure, latents, c)
        return pairs[c.unsqueeze(-1), c.unsqueeze(-2)] > 0, int(pairs.sum())
    of = groups.to(c.device)[c]
    return of.unsqueeze(-1) != of.unsqueeze(-2), latents**2 - int(groups.bincount().square().sum())


def _required(structure: Structure, latents: int, like: Tensor) -> Int[Tensor, "d d"]:
    """One for each ordered pair that the structure sets to zero."""
    ones = torch.ones(1, latents, latents, device=like.device)
    return (structure.restrict(ones)[0] == 0).int()


def _squared_cosines(columns: Float[Tensor, "B *D K"]) -> Float[Tensor, "B K K"]:
    with full_precision(columns):
        flat = columns.flatten(1, -2).double()
        # cosines do not depend on lengths, whose fourth powers float64 may not hold
        largest = flat.detach().abs().amax(1, keepdim=True)
        flat = flat / torch.where(largest > 0, largest, 1.0)
        gram = flat.mT @ flat
        squares = gram.diagonal(dim1=-2, dim2=-1)
        # dividing by one where the column is zero keeps its gradient finite; its products are zero already
        return gram.square() * _outer(torch.where(squares > 0, squares, 1.0).reciprocal())


def _outer(values: Float[Tensor, "B K"]) -> Float[Tensor, "B K K"]:
    return values.unsqueeze(-1) * values.unsqueeze(-2)
