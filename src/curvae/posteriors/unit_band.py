r"""The unit lower-triangular banded matrix whose inverse makes given columns shortest: Newton's method.

For $U$ with columns of length one it minimises $f(N)=2\sum_k\log\|v_k\|$, $V=U(I+N)^{-1}$, over the entries of $N$
on the strictly lower band, for each datum by itself. With $D_k=\|v_k\|$, $Y=(I+N)^{-1}D^{-1}$, $W=UY$, $G=W^\top W$ and
$S=YY^\top$ the derivatives are

$$\frac{\partial f}{\partial N_{ij}}=-2D_i(YG)_{ji},\qquad
\frac{\partial^2f}{\partial N_{ij}\partial N_{i'j'}}=2D_iD_{i'}\Bigl[G_{ii'}S_{jj'}-2\sum_kY_{jk}G_{ki}Y_{j'k}G_{ki'}
+Y_{ji'}(YG)_{j'i}+Y_{j'i}(YG)_{ji'}\Bigr].$$

The unknowns are scaled by $D_i\sqrt{S_{jj}}$, after which the Hessian's first term has a diagonal of ones, and damped
as Levenberg and Marquardt do. A search that knows only the gradient crawls where $U$ is nearly singular.
"""

from __future__ import annotations

import torch

from curvae._typing import Float, Tensor

Inside = tuple[Tensor, Tensor]
"""Rows and columns of the strictly lower band."""

STEPS = 1000
"""A curved valley may need a few hundred; what is found then is still a value of f, only not its lowest."""
RELATIVE = 1e-13
"""A datum is done when its next step promises less than this times 1 + |f|."""
SMALLEST, LARGEST, FIRST = 1e-6, 1e12, 1e-3
"""Damping, against a Hessian with entries of the order of one."""
ENTRIES = 2**22
"""Hessian entries held at once (a handful of arrays of this size in float64): more data go in parts."""


def minimise(unit: Float[Tensor, "B d d"], start: Float[Tensor, "B P"], inside: Inside) -> Float[Tensor, "B d d"]:
    """The I + N that the search reaches from ``start``; what it finds for a datum depends on that datum only."""
    if not start.shape[1]:
        return _lower(unit, start, inside)
    count = max(1, ENTRIES // start.shape[1] ** 2)
    parts = zip(unit.split(count), start.split(count), strict=True)
    return _lower(unit, torch.cat([_newton(*part, inside) for part in parts]), inside)


def inverse(lower: Float[Tensor, "B d d"]) -> Float[Tensor, "B d d"]:
    """Of a unit lower-triangular matrix."""
    identity = torch.eye(lower.shape[-1], dtype=lower.dtype, device=lower.device)
    return torch.linalg.solve_triangular(lower, identity.expand_as(lower), upper=False, unitriangular=True)


def _newton(unit: Float[Tensor, "B d d"], start: Float[Tensor, "B P"], inside: Inside) -> Float[Tensor, "B P"]:
    entries, damping = start.clone(), torch.full_like(start[:, 0], FIRST)
    live = torch.arange(len(unit), device=unit.device)
    for _ in range(STEPS):
        if not len(live):
            break
        here = entries[live]
        value, gradient, hessian, scale = _derivatives(unit[live], here, inside)
        step, solved = _damped(gradient, hessian, damping[live])
        promised = -(gradient * step).sum(-1) - (step * (hessian @ step.unsqueeze(-1)).squeeze(-1)).sum(-1) / 2
        moved = here + step / scale
        kept = value - _value(unit[live], moved, inside)[0]
        noise = RELATIVE * (1 + value.abs())
        last = solved & (promised < noise)
        # in the last step the fall drowns in rounding: it is taken if it does not rise visibly
        taken = solved & (kept >= torch.where(last, -noise, 1e-4 * promised))
        entries[live] = torch.where(taken.unsqueeze(-1), moved, here)
        damping[live] = _next(damping[live], taken, kept / promised)
        live = live[~last & (damping[live] < LARGEST)]
    return entries


def _damped(
    gradient: Float[Tensor, "B P"], hessian: Float[Tensor, "B P P"], damping: Float[Tensor, " B"]
) -> tuple[Float[Tensor, "B P"], Tensor]:
    """The step, and where the damped Hessian was positive definite (elsewhere the step means nothing)."""
    identity = torch.eye(gradient.shape[-1], dtype=gradient.dtype, device=gradient.device)
    factor, info = torch.linalg.cholesky_ex(hessian + damping[:, None, None] * identity)
    solved = info == 0
    factor = torch.where(solved[:, None, None], factor, identity)
    return -torch.cholesky_solve(gradient.unsqueeze(-1), factor).squeeze(-1), solved


def _next(damping: Float[Tensor, " B"], taken: Tensor, ratio: Float[Tensor, " B"]) -> Float[Tensor, " B"]:
    """Less after a step that kept its promise, as much after one that half did, more after any other."""
    more = damping.clamp(min=SMALLEST) * 5
    return torch.where(taken & (ratio > 0.75), damping / 10, torch.where(taken & (ratio > 0.25), damping, more))


def _lower(unit: Float[Tensor, "B d d"], entries: Float[Tensor, "B P"], inside: Inside) -> Float[Tensor, "B d d"]:
    lower = torch.eye(unit.shape[-1], dtype=unit.dtype, device=unit.device).repeat(len(unit), 1, 1)
    lower[:, inside[0], inside[1]] = entries
    return lower


def _value(
    unit: Float[Tensor, "B d d"], entries: Float[Tensor, "B P"], inside: Inside
) -> tuple[Float[Tensor, " B"], Float[Tensor, "B d d"], Float[Tensor, "B d"]]:
    r"""f, $Y$ and the lengths $D$."""
    inverted = inverse(_lower(unit, entries, inside))
    lengths = torch.linalg.vector_norm(unit @ inverted, dim=1)
    return 2 * lengths.log().sum(-1), inverted / lengths.unsqueeze(1), lengths


def _derivatives(
    unit: Float[Tensor, "B d d"], entries: Float[Tensor, "B P"], inside: Inside
) -> tuple[Float[Tensor, " B"], Float[Tensor, "B P"], Float[Tensor, "B P P"], Float[Tensor, "B P"]]:
    """f, its gradient and Hessian in the scaled unknowns, and their scale."""
    rows, columns = inside
    value, y, lengths = _value(unit, entries, inside)
    white = unit @ y
    g, s = white.mT @ white, y @ y.mT
    yg = y @ g
    sizes = s.diagonal(dim1=-2, dim2=-1)[:, columns].sqrt()
    gradient = -2 * yg[:, columns, rows] / sizes
    mixed = y[:, columns] * g[:, rows]
    crossed = y[:, columns[:, None], rows] * yg[:, columns, rows[:, None]]
    hessian = g[:, rows[:, None], rows] * s[:, columns[:, None], columns]
    hessian = hessian - 2 * mixed @ mixed.mT + crossed + crossed.mT
    return value, gradient, 2 * hessian / (sizes.unsqueeze(-1) * sizes.unsqueeze(-2)), lengths[:, rows] * sizes
