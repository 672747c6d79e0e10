"""The four output functions ν, in NumPy, and as scalar functions that a compiler turns into vector instructions.

A call to a maths library's ``tanh`` or ``exp`` keeps LLVM from vectorising the loop around it (a factor of ten here),
so in single precision all three nonlinearities are built from one ratio of polynomials and one division:
``tanh(u) = p/q``, ``sigmoid(u) = 1/2 + p/(2q)`` at u/2, and ``exp(u) - 1 = 2p/(q - p)`` at u/2, since
``exp(2v) - 1 = 2 tanh(v)/(1 - tanh(v))``.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# tanh(u)/u as a ratio of quartics in u², fitted on |u| <= 8.5 for the smallest relative error (Lawson's reweighting of
# the linearised least-squares problem); 1.2e-8 in exact arithmetic, and tanh is 1 - 8e-8 at the end of the interval.
_P0, _P1, _P2, _P3, _P4 = map(
    np.float32,
    (0.9999999881830941, 0.1341324675820294, 3.5340266719792106e-3, 2.125104207252847e-5, 1.4269227058623587e-8),
)
_Q0, _Q1, _Q2, _Q3, _Q4 = map(
    np.float32, (1.0, 0.4674656949272257, 2.6022750602495672e-2, 3.34886453089101e-4, 8.145122547507419e-7)
)
_LIMIT, _HALF, _ONE, _ZERO = np.float32(8.5), np.float32(0.5), np.float32(1.0), np.float32(0.0)

ValueAndSlope = Callable[[Any], tuple[Any, Any]]
"""ν(u) and ν'(u) of one number."""


class Nonlinearity(enum.Enum):
    """The output function ν of the generative model and of the decoder (App. C of the paper).

    Example:
        >>> Nonlinearity.ELU(np.array([-1.0, 2.0])).round(3)
        array([-0.632,  2.   ])
    """

    IDENTITY = "identity"
    TANH = "tanh"
    SIGMOID = "sigmoid"
    ELU = "elu"

    def __call__(self, u: NDArray[np.float64]) -> NDArray[np.float64]:
        """ν(u), elementwise, in double precision."""
        if self is Nonlinearity.IDENTITY:
            return u
        if self is Nonlinearity.TANH:
            return np.tanh(u)
        if self is Nonlinearity.SIGMOID:
            return 0.5 + 0.5 * np.tanh(0.5 * u)
        return np.maximum(u, 0) + np.expm1(np.minimum(u, 0))


OF_TENSORS: Mapping[Nonlinearity, Callable[[Tensor], Tensor]] = {
    Nonlinearity.IDENTITY: lambda u: u,
    Nonlinearity.TANH: torch.tanh,
    Nonlinearity.SIGMOID: torch.sigmoid,
    Nonlinearity.ELU: torch.nn.functional.elu,
}
"""ν for PyTorch, elementwise, with its derivatives."""


def identity(u: Any) -> tuple[Any, Any]:
    """ν(u) = u, in any precision."""
    return u, _ONE


def _ratio(u: Any) -> tuple[Any, Any]:
    # the limits as comparisons: these become vector selects, and a NaN comes through and is seen
    u = _LIMIT if u > _LIMIT else u
    u = -_LIMIT if u < -_LIMIT else u
    s = u * u
    p = _P0 + s * (_P1 + s * (_P2 + s * (_P3 + s * _P4)))
    q = _Q0 + s * (_Q1 + s * (_Q2 + s * (_Q3 + s * _Q4)))
    return u * p, q


def _fast_tanh(ratio: ValueAndSlope) -> ValueAndSlope:
    def tanh(u: Any) -> tuple[Any, Any]:
        p, q = ratio(u)
        t = p / q
        return t, _ONE - t * t

    return tanh


def _fast_sigmoid(ratio: ValueAndSlope) -> ValueAndSlope:
    def sigmoid(u: Any) -> tuple[Any, Any]:
        p, q = ratio(_HALF * u)
        s = _HALF + _HALF * (p / q)
        return s, s * (_ONE - s)

    return sigmoid


def _fast_elu(ratio: ValueAndSlope) -> ValueAndSlope:
    def elu(u: Any) -> tuple[Any, Any]:
        below = _ZERO if u > _ZERO else u
        p, q = ratio(_HALF * below)
        exp_minus_one = (p + p) / (q - p)
        return (u - below) + exp_minus_one, _ONE + exp_minus_one

    return elu


def _exact_tanh(u: float) -> tuple[float, float]:
    t = math.tanh(u)
    return t, 1.0 - t * t


def _exact_sigmoid(u: float) -> tuple[float, float]:
    s = 0.5 + 0.5 * math.tanh(0.5 * u)
    return s, s * (1.0 - s)


def _exact_elu(u: float) -> tuple[float, float]:
    e = math.expm1(min(u, 0.0))
    return max(u, 0.0) + e, 1.0 + e


_FAST = {Nonlinearity.TANH: _fast_tanh, Nonlinearity.SIGMOID: _fast_sigmoid, Nonlinearity.ELU: _fast_elu}
_EXACT = {Nonlinearity.TANH: _exact_tanh, Nonlinearity.SIGMOID: _exact_sigmoid, Nonlinearity.ELU: _exact_elu}


def scalar(nu: Nonlinearity, compile_inline: Callable[[ValueAndSlope], ValueAndSlope], exact: bool) -> ValueAndSlope:
    """ν and ν' of one number, ready to be called from compiled code.

    Args:
        nu: which function.
        compile_inline: the compiler, e.g. ``numba.njit(inline="always")``; the identity function gives plain Python.
        exact: the maths library's functions (double precision, for checks) instead of the vectorisable ratio, which is
            within 4e-7 of them (in units of max(1, |ν|)) in single precision.

    Example:
        >>> value, slope = scalar(Nonlinearity.TANH, lambda f: f, exact=False)(np.float32(0.5))
        >>> abs(float(value) - math.tanh(0.5)) < 1e-7
        True
    """
    if nu is Nonlinearity.IDENTITY:
        return compile_inline(identity)
    if exact:
        return compile_inline(_EXACT[nu])
    return compile_inline(_FAST[nu](compile_inline(_ratio)))
