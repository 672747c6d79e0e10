r"""Does $J_g^\top J_g$ have the blocks of Σ? Shares of squared entries inside, and those by chance."""

from __future__ import annotations

import numpy as np

from curvae._typing import Bool, Float
from curvae.errors import InputError


def inside(latents: int, size: int) -> Bool[np.ndarray, "d d"]:
    """The entries off the diagonal that lie inside blocks of ``size`` neighbours (the last block may be smaller).

    Example:
        >>> inside(3, 2).astype(int)
        array([[0, 1, 0],
               [1, 0, 0],
               [0, 0, 0]])
    """
    block = np.arange(latents) // size
    return np.equal.outer(block, block) & ~np.eye(latents, dtype=bool)


def chance(latents: int, size: int) -> float:
    """The share of the entries off the diagonal that lie inside blocks: what latents in random order give on average.

    Example:
        >>> round(chance(8, 2), 4)   # 4 of 28 pairs
        0.1429
    """
    if latents < 2:
        raise InputError(f"there are {latents} latents; expected at least 2 to have entries off the diagonal")
    return float(inside(latents, size).sum() / (latents * (latents - 1)))


def energies(matrices: Float[np.ndarray, "N d d"]) -> Float[np.ndarray, "N d d"]:
    """Squared entries off the diagonal of each matrix, scaled to sum to 1; all alike where all are 0.

    Example:
        >>> energies(np.array([[[9.0, 3.0], [3.0, 9.0]]]))
        array([[[0. , 0.5],
                [0.5, 0. ]]])
    """
    others = ~np.eye(matrices.shape[-1], dtype=bool)
    off = np.where(others, matrices, 0.0) ** 2
    total = off.sum((-1, -2), keepdims=True)
    alike = np.broadcast_to(others / max(1, others.sum()), off.shape).copy()
    return np.divide(off, total, out=alike, where=total > 0)


def cosines(matrices: Float[np.ndarray, "N d d"]) -> Float[np.ndarray, "N d d"]:
    r"""$M_{ij}/\sqrt{M_{ii}M_{jj}}$: the same question without the columns' lengths; 0 for a column of zeros.

    Example:
        >>> cosines(np.array([[[4.0, 1.0], [1.0, 1.0]]]))[0, 0, 1]
        np.float64(0.5)
    """
    lengths = np.sqrt(np.diagonal(matrices, axis1=-2, axis2=-1))
    product = lengths[..., :, None] * lengths[..., None, :]
    return np.divide(matrices, product, out=np.zeros_like(matrices), where=product > 0)


def share_inside(matrices: Float[np.ndarray, "N d d"], size: int) -> Float[np.ndarray, " N"]:
    """The share of each matrix's squared off-diagonal entries that lie inside blocks, 0 … 1; chance if all are 0.

    Example:
        >>> matrices = np.array([[[1.0, 3.0, 1.0], [3.0, 1.0, 0.0], [1.0, 0.0, 1.0]]])
        >>> share_inside(matrices, 2)
        array([0.9])
    """
    return (energies(matrices) * inside(matrices.shape[-1], size)).sum((-1, -2))


def permuted(
    matrices: Float[np.ndarray, "N d d"], size: int, generator: np.random.Generator, count: int = 4999
) -> dict[str, float]:
    """Test the blocks of a decoder's $J^TJ$ against those of the same decoder with its latents permuted.

    One order serves all data, as for a decoder whose inputs were swapped. The mean over all orders is
    :func:`chance` exactly.

    Returns:
        ``low`` and ``high``, the 2.5 % and the 97.5 % quantile over the orders, and ``p_value``, of the hypothesis that
        the order of the latents means nothing: how many orders, the true one counted in, have a share as large as the
        true one's.

    Example:
        >>> blocks = np.kron(np.eye(4), np.ones((2, 2)))[None]
        >>> permuted(blocks, 2, np.random.default_rng(0), 999)["p_value"] < 0.05
        True
    """
    mean = energies(matrices).mean(0)
    mask = inside(matrices.shape[-1], size)
    orders = generator.permuted(np.tile(np.arange(len(mean)), (count, 1)), axis=1)
    shares = (mean[orders[:, :, None], orders[:, None, :]] * mask).sum((-1, -2))
    # orders within blocks give the same share up to rounding, and count as as large
    p_value = (1 + int((shares >= (mean * mask).sum() - 1e-12).sum())) / (1 + count)
    low, high = np.quantile(shares, [0.025, 0.975])
    return {"low": float(low), "high": float(high), "p_value": p_value}
