r"""The shipped posterior against (11): β̂, its spread, and latent by latent."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from jaxtyping import Bool, Float

from curvae.inspection.result import BetaHat, Group

# a latent whose posterior is as wide as the prior to 5 % says nothing of β
COLLAPSED = 0.95
# shipped and implied variance differ by more than this factor
_OFF = 1.25
_RESAMPLES = 400

Matrix = Float[np.ndarray, "B K"]


def beta_hat(
    curvature: Matrix, precision: Matrix, columns: np.ndarray, channel: np.ndarray | None, rng: np.random.Generator
) -> BetaHat | None:
    r"""$\hat\beta=M_{ii}/(\Sigma^{-1}_{ii}-1)$ with an interval and how constant it is.

    Args:
        curvature: $M_{ii}$ of some latents of each sample.
        precision: $\Sigma^{-1}_{ii}$ of the same.
        columns: which latents, ``[B, K]``.
        channel: of each latent, ``[d]``.
        rng: of the resampling.

    Returns:
        None if no latent's posterior is narrower than the prior, or the decoder ignores those whose is.
    """
    used = used_entries(precision)
    ratio = np.divide(curvature, precision - 1, out=np.full_like(curvature, np.nan), where=used)
    if not used.any() or not np.nanmedian(ratio) > 0:
        return None
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.where(used & (ratio > 0), np.log(ratio), np.nan)
        along = np.where(np.isfinite(logs), np.log(curvature), np.nan), np.log(np.where(used, precision - 1, np.nan))
    draws = _resamples(ratio, rng)
    quarters = np.nanquantile(ratio, [0.25, 0.75])
    everywhere = (columns == columns[0]).all()
    return BetaHat(
        median=float(np.nanmedian(ratio)),
        quartiles=(float(quarters[0]), float(quarters[1])),
        interval=_interval([_median(draw(ratio)) for draw in draws]),
        entries=int(used.sum()),
        slope=(slope := _slope(*along)),
        slope_interval=None if slope is None else _slopes(along, draws),
        spread_over_latents=_spread(logs, columns) if everywhere else None,
        spread_over_samples=_spread(logs, np.arange(len(logs))[:, None].repeat(logs.shape[1], 1)),
        spread_over_channels=None if channel is None else _spread(logs, channel[columns]),
    )


def used_entries(precision: Matrix) -> Bool[np.ndarray, "B K"]:
    """Entries that say something of β: the posterior is narrower than the prior; all that are, if it is by little.

    Example:
        >>> used_entries(np.array([[1.0, 1.01, 4.0]])), used_entries(np.array([[1.0, 1.01]]))
        (array([[False, False,  True]]), array([[False,  True]]))
    """
    used = precision > 1 / COLLAPSED
    return used if used.any() else precision > 1 + 1e-6


def log_variance_correlation(curvature: Matrix, precision: Matrix, beta: float) -> float | None:
    """Pearson's, over all entries; None where one side does not vary."""
    ours, theirs = -np.log1p(curvature / beta).ravel(), -np.log(precision).ravel()
    if ours.std() < 1e-12 or theirs.std() < 1e-12:
        return None
    return float(np.corrcoef(ours, theirs)[0, 1])


def groups(curvature: Matrix, precision: Matrix | None, label: np.ndarray, beta: float | None) -> tuple[Group, ...]:
    """Shipped and implied variances by a label of the entries.

    Args:
        curvature: $M_{ii}$.
        precision: $\\Sigma^{-1}_{ii}$; None without a posterior.
        label: the group of each entry, ``[B, K]``.
        beta: β; None if it is not known.
    """
    found = []
    for index in np.unique(label):
        inside = label == index
        implied = None if beta is None else float(np.exp(-np.log1p(curvature[inside] / beta).mean()))
        shipped = None if precision is None else float(np.exp(-np.log(precision[inside]).mean()))
        mean = float(curvature[inside].mean())
        found.append(Group(int(index), shipped, implied, mean, verdict(shipped, implied)))
    return tuple(found)


def verdict(shipped: float | None, implied: float | None) -> str:
    """One word on a shipped variance beside the implied one, both in units of the prior's.

    Example:
        >>> verdict(0.1, 0.1), verdict(0.2, 0.1), verdict(0.99, 0.2), verdict(0.99, 0.99), verdict(None, 0.99)
        ('as implied', 'too wide', 'collapsed', 'unused', 'unused')
    """
    if implied is not None and implied > COLLAPSED and (shipped is None or shipped > COLLAPSED):
        return "unused"
    if shipped is None or implied is None:
        return ""
    if shipped > COLLAPSED:
        return "collapsed"
    return "too wide" if shipped > _OFF * implied else "too narrow" if implied > _OFF * shipped else "as implied"


def _resamples(values: Matrix, rng: np.random.Generator) -> list[Callable[[Matrix], Matrix]]:
    """Ways to draw the data anew: whole samples, or the entries of a single one."""
    axis = 0 if len(values) > 1 else 1
    rows = rng.integers(values.shape[axis], size=(_RESAMPLES, values.shape[axis]))
    return [partial(np.take, indices=row, axis=axis) for row in rows]


def _median(values: Matrix) -> float:
    there = values[np.isfinite(values)]
    return float(np.median(there)) if there.size else np.nan


def _interval(values: list[float]) -> tuple[float, float]:
    low, high = np.nanquantile(values, [0.025, 0.975])
    return float(low), float(high)


def _slope(x: Matrix, y: Matrix) -> float | None:
    there = np.isfinite(x) & np.isfinite(y)
    x, y = x[there], y[there]
    if len(x) < 3 or x.std() < 1e-6:
        return None
    return float(((x - x.mean()) * (y - y.mean())).sum() / ((x - x.mean()) ** 2).sum())


def _slopes(along: tuple[Matrix, Matrix], draws: list[Callable[[Matrix], Matrix]]) -> tuple[float, float]:
    found = [_slope(draw(along[0]), draw(along[1])) for draw in draws]
    return _interval([np.nan if slope is None else slope for slope in found])


def _spread(logs: Matrix, label: np.ndarray) -> float | None:
    medians = [
        np.nanmedian(logs[inside]) for name in np.unique(label) if np.isfinite(logs[inside := label == name]).any()
    ]
    return float(np.std(medians)) if len(medians) > 1 else None
