r"""The unit lower-triangular banded matrix whose inverse makes given columns shortest: Newton's method.

For $U$ with columns of length one it minimises $f(N)=2\sum_k\log\|v_k\|$, $V=U(I+N)^{-1}$, over the entries of $N$
on the strictly lower band, for each sample by itself. With $D_k=\|v_k\|$, $Y=(I+N)^{-1}D^{-1}$, $W=UY$,
$G=W^\top W$ and $S=YY^\top$ the derivatives are

$$\frac{\partial f}{\partial N_{ij}}=-2D_i(YG)_{ji},\qquad
\frac{\partial^2f}{\partial N_{ij}\partial N_{i'j'}}=2D_iD_{i'}\Bigl[G_{ii'}S_{jj'}-2\sum_kY_{jk}G_{ki}Y_{j'k}G_{ki'}
+Y_{ji'}(YG)_{j'i}+Y_{j'i}(YG)_{ji'}\Bigr].$$

The unknowns are scaled by $D_i\sqrt{S_{jj}}$, after which the Hessian's first term has a diagonal of ones, and damped
as Levenberg and Marquardt do. A search that knows only the gradient crawls where $U$ is nearly singular. There f has
many minima and long curved valleys, which a ridge smooths: with $U^\top U+\delta I$ in the place of $U^\top U$ the
search begins at N = 0 and follows its minimum as δ falls.
"""

from __future__ import annotations

import torch

from curvae._typing import Float, Tensor
from curvae.posteriors.factor import inverse

Inside = tuple[Tensor, Tensor]
"""Rows and columns of the strictly lower band."""

STEPS = 1000
"""For each ridge; ten are usual, a curved valley may take hundreds. What is found then is not the lowest f near by."""
RELATIVE, ON_THE_WAY = 1e-13, 1e-4
"""A sample is done when its next step promises less than this times 1 + |f|: in the end, and while there is a ridge."""
SMALLEST, LARGEST, FIRST = 1e-6, 1e12, 1e-3
"""Damping, against a Hessian with entries of the order of one."""
RIDGES = tuple(10.0**-power for power in range(16))
FLAT = 1e-12
"""A start whose gradient is below this stays: where I + M/β itself is banded it is exact, and needs no Hessian."""
UNKNOWNS = 500
"""More are left to L-BFGS, which knows only the gradient: a Hessian for each sample would be too large."""
ENTRIES = 2**22
"""Hessian entries held at once (a handful of arrays of this size in float64): more data go in parts."""


def minimise(unit: Float[Tensor, "B d d"], start: Float[Tensor, "B P"], inside: Inside) -> Float[Tensor, "B d d"]:
    """The I + N that the search finds; for a sample it depends on that sample only.

    Args:
        unit: U, of full rank.
        start: entries of N that are kept where they are exact.
        inside: which entries of N may differ from zero.
    """
    entries, unknowns = start.clone(), start.shape[1]
    if unknowns:
        gradient, _ = _slope(unit, _value(unit, start, inside)[1], inside)
        steep = (gradient.abs().amax(-1) > FLAT).nonzero().flatten()
        search, size = (_first_order, 1) if unknowns > UNKNOWNS else (_follow, max(1, ENTRIES // unknowns**2))
        for some in steep.split(size) if len(steep) else ():
            entries[some] = search(unit[some], start[some], inside)
    return _lower(unit, entries, inside)


def _follow(unit: Float[Tensor, "B d d"], start: Float[Tensor, "B P"], inside: Inside) -> Float[Tensor, "B P"]:
    """From a ridge where N = 0 is nearly best down to none; ridges below a sample's eigenvalues do nothing."""
    entries = torch.zeros_like(start)
    identity = torch.eye(unit.shape[-1], dtype=unit.dtype, device=unit.device).expand_as(unit)
    smallest = torch.linalg.svdvals(unit)[:, -1].square()
    for ridge in RIDGES:
        some = (smallest < ridge).nonzero().flatten()
        if not len(some):
            break
        smooth = torch.linalg.qr(torch.cat([unit[some], ridge**0.5 * identity[some]], 1)).R
        entries[some] = _newton(smooth, entries[some], inside, ON_THE_WAY)
    return _newton(unit, entries, inside, RELATIVE)


def _first_order(unit: Float[Tensor, "1 d d"], start: Float[Tensor, "1 P"], inside: Inside) -> Float[Tensor, "1 P"]:
    entries = start.clone()
    optimiser = torch.optim.LBFGS(
        [entries], lr=1, max_iter=500, tolerance_grad=1e-10, tolerance_change=0, line_search_fn="strong_wolfe"
    )

    def value() -> float:
        f, y, lengths = _value(unit, entries, inside)
        gradient, (*_, sizes) = _slope(unit, y, inside)
        entries.grad = gradient * lengths[:, inside[0]] * sizes
        return f.item()

    optimiser.step(value)
    return entries


def _newton(
    unit: Float[Tensor, "B d d"], start: Float[Tensor, "B P"], inside: Inside, relative: float
) -> Float[Tensor, "B P"]:
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
        noise = relative * (1 + value.abs())
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
    inverted = inverse(_lower(unit, entries, inside), unitriangular=True)
    lengths = torch.linalg.vector_norm(unit @ inverted, dim=1)
    return 2 * lengths.log().sum(-1), inverted / lengths.unsqueeze(1), lengths


def _slope(
    unit: Float[Tensor, "B d d"], y: Float[Tensor, "B d d"], inside: Inside
) -> tuple[Float[Tensor, "B P"], tuple[Tensor, ...]]:
    r"""The gradient in the scaled unknowns; $G$, $S$, $YG$ and $\sqrt{S_{jj}}$ for each of them."""
    rows, columns = inside
    white = unit @ y
    g, s = white.mT @ white, y @ y.mT
    yg = y @ g
    sizes = s.diagonal(dim1=-2, dim2=-1)[:, columns].sqrt()
    return -2 * yg[:, columns, rows] / sizes, (g, s, yg, sizes)


def _derivatives(
    unit: Float[Tensor, "B d d"], entries: Float[Tensor, "B P"], inside: Inside
) -> tuple[Float[Tensor, " B"], Float[Tensor, "B P"], Float[Tensor, "B P P"], Float[Tensor, "B P"]]:
    """f, its gradient and Hessian in the scaled unknowns, and their scale."""
    rows, columns = inside
    value, y, lengths = _value(unit, entries, inside)
    gradient, (g, s, yg, sizes) = _slope(unit, y, inside)
    mixed = y[:, columns] * g[:, rows]
    crossed = y[:, columns[:, None], rows] * yg[:, columns, rows[:, None]]
    hessian = g[:, rows[:, None], rows] * s[:, columns[:, None], columns]
    hessian = hessian - 2 * mixed @ mixed.mT + crossed + crossed.mT
    return value, gradient, 2 * hessian / (sizes.unsqueeze(-1) * sizes.unsqueeze(-2)), lengths[:, rows] * sizes
