r"""The noise-free form of a β-VAE whose posterior is also pushed to be wide: β KL + λ tr Σ⁻¹, minimised over Σ."""

from __future__ import annotations

import torch

from curvae._once import with_gradient_of
from curvae._precision import full_precision
from curvae._rank import finite_or_zero, negligible
from curvae._typing import Float, Tensor
from curvae.curvature import Columns, Estimator, Exact, SampledColumns
from curvae.curvature.fraction import on_all
from curvae.errors import InputError
from curvae.forward.kernels import root
from curvae.posteriors import Along, BlockDiagonal, Diagonal, Full, Structure


def expansion(
    columns: Float[Tensor, "B *D d"], structure: Structure, weight: float, beta: float = 0.0
) -> Float[Tensor, " B"]:
    r"""What a β-VAE whose loss has a term λ tr Σ⁻¹ pays for its noise, at the best Σ of a structure.

    $$\min_\Sigma\ \tfrac12\mathrm{tr}(M\Sigma)+\tfrac\beta2(\mathrm{tr}\,\Sigma-\log|\Sigma|-d)
    +\lambda\,\mathrm{tr}\,\Sigma^{-1}$$

    The last term is the variance expansion of some VAEs, λ/σ² for each latent, which keeps the noise from collapsing.
    The minimum is $\sum_i f(t_i)$ over $t_i=M_{ii}$ for
    :class:`~curvae.posteriors.Diagonal`, and over the eigenvalues of the blocks of M for a structure with blocks, with

    $$f(t)=2\lambda u+\tfrac\beta2\log u,\qquad
    u=\sigma^{-2}=\frac{t+\beta}{\beta/2+\sqrt{\beta^2/4+2\lambda(t+\beta)}}.$$

    With β = 0, f is $\sqrt{2\lambda t}$ and σ² is $\sqrt{2\lambda/t}$: $\sqrt{2\lambda}$ times the sum of the column
    norms of the whitened Jacobian T, or of its blocks' singular values (nuclear norms); what is zero gets no gradient.
    With λ → 0 it is the log-determinant of (13), (14). As there, full ≤ block ≤ diagonal.

    Args:
        columns: all d columns of T.
        structure: ``Diagonal()``, ``BlockDiagonal(b)``, ``Along(…)`` or ``Full()``.
        weight: λ, > 0.
        beta: β, ≥ 0.

    Raises:
        InputError: another structure.
        DerivativeError: the gradient is differentiated, where it is of singular values.

    Example:
        >>> from curvae.posteriors import Diagonal
        >>> expansion(torch.diag(torch.tensor([3.0, 1.0]))[None], Diagonal(), weight=0.5)
        tensor([4.])
    """
    _check_structure(structure)
    latents = columns.shape[-1]
    with full_precision(columns):
        flat = columns.flatten(1, -2).double()
        if isinstance(structure, Diagonal):
            return _minimum(flat.square().sum(1), weight, beta).sum(-1).to(columns.dtype)
        finite, broken = finite_or_zero(_blocks(flat, structure))
        values = torch.linalg.svdvals(finite)
        # their singular vectors, and so the gradients of their roots, are arbitrary
        values = torch.where(negligible(values, columns.dtype), 0.0, values)
        # what has no singular value, because D is smaller or the last block is, has zero; padding is no latent
        zeros = latents - values.shape[1] * values.shape[2]
        rest = zeros * _minimum(values.new_zeros(()), weight, beta)
        total = _minimum(values.square(), weight, beta).sum((-1, -2)) + rest
        total = with_gradient_of(total, total, "an expansion over singular values")
        return total.masked_fill(broken.any(-1), torch.nan).to(columns.dtype)


def sampled_expansion(
    sampled: SampledColumns, structure: Structure, weight: float, beta: float = 0.0
) -> Float[Tensor, " B"]:
    r"""The same from the columns that an estimator has pushed: $\tfrac1k\sum_c\tfrac1{p_c}f(\|T_{:c}\|^2)$.

    Unbiased for :class:`~curvae.posteriors.Diagonal`, value and gradient: a term takes the root of a column's own
    squared norm, which is known, and not of an estimate.

    Args:
        sampled: the columns, e.g. those that :class:`~curvae.curvature.Columns` has pushed for its own estimate.
        structure: as for :func:`expansion`; ``Diagonal()`` for columns that were drawn.
        weight: λ, > 0.
        beta: β, ≥ 0.

    Raises:
        InputError: sampled columns, and a structure whose terms take several columns each.

    Example:
        >>> from curvae.posteriors import Diagonal
        >>> one = SampledColumns(torch.tensor([[[3.0]]]), torch.tensor([[1]]), torch.tensor([0.5, 0.5]))
        >>> sampled_expansion(one, Diagonal(), weight=0.5)
        tensor([6.])
    """
    if sampled.indices is None or sampled.probabilities is None:
        values = expansion(sampled.columns, structure, weight, beta)
    else:
        _check_single(structure)
        with full_precision(sampled.columns):
            terms = _minimum(sampled.columns.flatten(1, -2).double().square().sum(1), weight, beta)
            values = (terms / sampled.probabilities[sampled.indices]).mean(-1).to(sampled.columns.dtype)
    return sampled.spread(values)


def check_expansion(estimator: Estimator, structure: Structure) -> None:
    """Refuse what gives no whole columns, or not those that a term of the structure takes.

    Raises:
        InputError: one line of it.
    """
    _check_structure(structure)
    inner = on_all(estimator)
    if not isinstance(inner, Exact | Columns):
        raise InputError(
            f"an expansion takes roots, of which {estimator} gives no unbiased estimate: use Columns(k) or Exact()"
        )
    if isinstance(inner, Columns):
        _check_single(structure)


def _check_structure(structure: Structure) -> None:
    if not isinstance(structure, Diagonal | BlockDiagonal | Along | Full):
        raise InputError(
            f"an expansion has no closed form for {structure}: use Diagonal(), BlockDiagonal(b), Along(…) or Full()"
        )


def _check_single(structure: Structure) -> None:
    if not isinstance(structure, Diagonal):
        raise InputError(
            f"an expansion from sampled columns is for Diagonal() only; got {structure}: use Exact() or its Fraction"
        )


def _minimum(squares: Float[Tensor, "*S"], weight: float, beta: float) -> Float[Tensor, "*S"]:
    """f; where it has a kink, at 0 with β = 0, its derivatives are zero."""
    if beta == 0:
        return (2 * weight) ** 0.5 * root(squares)
    squares = squares + beta
    u = squares / (beta / 2 + (beta**2 / 4 + 2 * weight * squares).sqrt())
    return 2 * weight * u + beta / 2 * u.log()


def _blocks(flat: Float[Tensor, "B D d"], structure: Structure) -> Float[Tensor, "B n D b"]:
    """Each block's columns, the last block's padded with zeros."""
    if isinstance(structure, Along):
        flat, structure = flat.index_select(-1, structure.order(flat.shape[-1], flat.device)), structure.blocks
    assert isinstance(structure, BlockDiagonal | Full)
    return structure.columns(flat)
