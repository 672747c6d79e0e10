"""The small compiled parts that both training kernels share: 2×2 matrices, the noise of one iteration, Adam.

2×2 matrices are tuples of their entries by rows, so that they live in registers. Numba compiles each function when it
is first called with given types; nothing is compiled at import.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numba import njit
from numpy.typing import NDArray

Matrix = tuple[float, float, float, float]
_F = TypeVar("_F", bound=Callable[..., Any])

# Sums may be re-ordered and multiply-adds fused, which is what lets a reduction become vector instructions. Infinities
# and NaN keep their meaning ("nnan" and "ninf" are absent), so that a diverged trial is seen as one.
_REORDER = {"reassoc", "contract", "nsz", "arcp"}
STRIDE = 16
"""Offsets into the noise table are multiples of this: one AVX-512 vector of single-precision numbers."""

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8
"""Adam's settings: PyTorch's defaults."""


def compiled(function: _F, inline: str = "never") -> _F:
    """Compile for speed: no Python objects, no global lock, sums in any order, division as IEEE 754 has it."""
    options: Any = {"fastmath": _REORDER, "nogil": True, "error_model": "numpy", "inline": inline}
    # unwrap: where every function is wrapped to check its types (a test run), compile what is inside
    dispatcher: Any = njit(**options)(inspect.unwrap(function))
    return dispatcher


def compiled_inline(function: _F) -> _F:
    """As ``compiled``, and copied into its caller before optimisation."""
    return compiled(function, inline="always")


@compiled
def load(values: NDArray[np.float64], at: int) -> Matrix:
    """The matrix stored at ``values[at:at+4]``."""
    return values[at], values[at + 1], values[at + 2], values[at + 3]


@compiled
def store(values: NDArray[np.float64], at: int, a: Matrix) -> None:
    """Write a matrix to ``values[at:at+4]``."""
    values[at], values[at + 1], values[at + 2], values[at + 3] = a


@compiled
def mul(a: Matrix, b: Matrix) -> Matrix:
    """The product a b."""
    return (
        a[0] * b[0] + a[1] * b[2],
        a[0] * b[1] + a[1] * b[3],
        a[2] * b[0] + a[3] * b[2],
        a[2] * b[1] + a[3] * b[3],
    )


@compiled
def transpose(a: Matrix) -> Matrix:
    """The transpose of a."""
    return a[0], a[2], a[1], a[3]


@compiled
def combine(s: float, a: Matrix, t: float, b: Matrix) -> Matrix:
    """The sum s a + t b."""
    return s * a[0] + t * b[0], s * a[1] + t * b[1], s * a[2] + t * b[2], s * a[3] + t * b[3]


@compiled
def noise(key: int, iteration: int, places: int) -> tuple[Any, Any, Matrix]:
    """Where an iteration reads in each of the two noise tables, and the rotation by which it turns the pairs it reads.

    The numbers come from a counter (splitmix64 of the trial's key and the iteration), so they do not depend on what
    ran before. Pairs of independent standard normals stay so under any rotation; with ``places``² pairs of offsets and
    a continuous angle no two iterations of a run use the same noise. Offsets are multiples of ``STRIDE``.
    """
    state = np.uint64(key) + np.uint64(iteration + 1) * np.uint64(0x9E3779B97F4A7C15)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    state = state ^ (state >> np.uint64(31))
    first = np.int64(state & np.uint64(0xFFFFF)) % places
    second = np.int64((state >> np.uint64(20)) & np.uint64(0xFFFFF)) % places
    angle = 2.0 * math.pi * np.float64(state >> np.uint64(40)) / 2.0**24
    c, s = math.cos(angle), math.sin(angle)
    return first * STRIDE, second * STRIDE, (c, -s, s, c)


@compiled
def covariance_factor(spread: Matrix, mean_field: bool) -> Matrix:
    """The factor L of the covariance that enters the objective.

    Full: L = O₂D'. Mean-field: diag(s) with s_k² the k-th diagonal entry of O₂D'D'ᵀO₂ᵀ, so s_k is a row's norm.
    """
    if mean_field:
        return math.sqrt(spread[0] ** 2 + spread[1] ** 2), 0.0, 0.0, math.sqrt(spread[2] ** 2 + spread[3] ** 2)
    return spread


@compiled
def spread_gradient(gradient: Matrix, spread: Matrix, factor: Matrix, mean_field: bool) -> Matrix:
    """The gradient with respect to O₂D', from that with respect to L, with the KL's part ½(tr Σ - log|Σ|) added."""
    if mean_field:
        first = (gradient[0] + factor[0] - 1.0 / factor[0]) / factor[0]
        second = (gradient[3] + factor[3] - 1.0 / factor[3]) / factor[3]
        return first * spread[0], first * spread[1], second * spread[2], second * spread[3]
    determinant = factor[0] * factor[3] - factor[1] * factor[2]
    inverse_transposed = (
        factor[3] / determinant,
        -factor[2] / determinant,
        -factor[1] / determinant,
        factor[0] / determinant,
    )
    return combine(1.0, combine(1.0, gradient, 1.0, factor), -1.0, inverse_transposed)


def adam(real: Any) -> Callable[..., None]:
    """Compile Adam's update in place, in one precision (``torch.optim.Adam`` with its default settings).

    Returns:
        ``update(values, first, second, at, gradient, scale, root)``: changes the ``gradient.size`` parameters and
        moments from index ``at`` on, with the two numbers that ``adam_scales`` gives for the step.
    """
    b1, b2, one, epsilon = real(BETA1), real(BETA2), real(1.0), real(EPSILON)

    @compiled
    def update(  # type: ignore[no-untyped-def]
        values, first, second, at, gradient, scale, root
    ):
        for i in range(np.uint64(gradient.size)):
            k = at + i
            g = gradient[i]
            m = b1 * first[k] + (one - b1) * g
            v = b2 * second[k] + (one - b2) * (g * g)
            first[k], second[k] = m, v
            values[k] -= scale * m / (math.sqrt(v) * root + epsilon)

    return update


@compiled
def adam_scales(rate: float, step: int) -> tuple[float, float]:
    """The learning rate over the first moment's bias correction, and one over the root of the second's; step from 1."""
    return rate / (1.0 - BETA1**step), 1.0 / math.sqrt(1.0 - BETA2**step)
