"""The unamortised kernel: a free mean μ_i and covariance Σ_i for every sample (figure 6).

Shared parameters are A (4, by rows) and b (2), with A = A'O₃ᵀ. A sample has six: μ_i (2) and D_i' (4, by rows), with
Σ_i from O D_i'. They lie in blocks of ``LANES`` samples, in a block parameter by parameter: consecutive samples are
consecutive in memory, and every access of a block is at a constant distance from one base, so that LLVM needs no
run-time check for overlap and turns each loop over the lanes into vector instructions.

A trial of N points holds 6N parameters and Adam's two moments of each: 18N numbers, 0.3 MB for N = 4000.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curvae.reproduce.uniqueness import activations, scalars
from curvae.reproduce.uniqueness.activations import Nonlinearity
from curvae.reproduce.uniqueness.amortised import TrainCompiled
from curvae.reproduce.uniqueness.scalars import compiled, load, mul, store, transpose

LANES = 32
"""The data come in multiples of this."""
SHARED = 6
LOCAL = 6
_A, _B = 0, 4


def to_blocks(values: NDArray[Any]) -> NDArray[Any]:
    """[6, N] by parameter to the kernel's flat layout [N/LANES · 6 · LANES].

    Example:
        >>> values = np.arange(6 * 64.0).reshape(6, 64)
        >>> bool((from_blocks(to_blocks(values)) == values).all())
        True
    """
    return np.ascontiguousarray(values.reshape(LOCAL, -1, LANES).transpose(1, 0, 2)).reshape(-1)


def from_blocks(values: NDArray[Any]) -> NDArray[Any]:
    """The inverse of ``to_blocks``."""
    return values.reshape(-1, LOCAL, LANES).transpose(1, 0, 2).reshape(LOCAL, -1)


def block_pass(nu: Nonlinearity, mean_field: bool, exact: bool) -> Callable[..., tuple[float, ...]]:
    """Compile forward and gradient of a block of data: returns Σδzᵀ (4) and Σr (2), writes the data's own gradients."""
    value_and_slope = activations.scalar(nu, scalars.compiled_inline, exact)
    real: Any = np.float64 if exact else np.float32
    lanes = np.uint64(LANES)
    two, three, four, five = np.uint64(2) * lanes, np.uint64(3) * lanes, np.uint64(4) * lanes, np.uint64(5) * lanes
    zero, one = real(0.0), real(1.0)

    @compiled
    def run(  # type: ignore[no-untyped-def]
        local, gradient, x1, x2, e1, e2, start, a, b, o, turn, weight, share
    ):
        g11 = g12 = g21 = g22 = s1 = s2 = zero
        base = start * np.uint64(LOCAL)
        for i in range(lanes):
            k, at = base + i, start + i
            d11, d12, d21, d22 = local[k + two], local[k + three], local[k + four], local[k + five]
            l11, l12 = o[0] * d11 + o[1] * d21, o[0] * d12 + o[1] * d22
            l21, l22 = o[2] * d11 + o[3] * d21, o[2] * d12 + o[3] * d22
            n1 = turn[0] * e1[at] + turn[1] * e2[at]
            n2 = turn[2] * e1[at] + turn[3] * e2[at]
            v1, v2 = math.sqrt(l11 * l11 + l12 * l12), math.sqrt(l21 * l21 + l22 * l22)
            if mean_field:
                z1, z2 = local[k] + v1 * n1, local[k + lanes] + v2 * n2
            else:
                z1, z2 = local[k] + l11 * n1 + l12 * n2, local[k + lanes] + l21 * n1 + l22 * n2
            y1, slope1 = value_and_slope(a[0] * z1 + a[1] * z2)
            y2, slope2 = value_and_slope(a[2] * z1 + a[3] * z2)
            r1, r2 = y1 + b[0] - x1[at], y2 + b[1] - x2[at]
            t1, t2 = slope1 * r1, slope2 * r2
            s1 += r1
            s2 += r2
            g11 += t1 * z1
            g12 += t1 * z2
            g21 += t2 * z1
            g22 += t2 * z2
            to1, to2 = weight * (a[0] * t1 + a[2] * t2), weight * (a[1] * t1 + a[3] * t2)
            if mean_field:
                row1, row2 = (to1 * n1 + v1 - one / v1) / v1, (to2 * n2 + v2 - one / v2) / v2
                w11, w12, w21, w22 = row1 * l11, row1 * l12, row2 * l21, row2 * l22
            else:
                inverse = one / (l11 * l22 - l12 * l21)
                w11, w12 = to1 * n1 + l11 - l22 * inverse, to1 * n2 + l12 + l21 * inverse
                w21, w22 = to2 * n1 + l21 + l12 * inverse, to2 * n2 + l22 - l11 * inverse
            gradient[i], gradient[i + lanes] = share * (to1 + local[k]), share * (to2 + local[k + lanes])
            gradient[i + two], gradient[i + three] = (
                share * (o[0] * w11 + o[2] * w21),
                share * (o[0] * w12 + o[2] * w22),
            )
            gradient[i + four], gradient[i + five] = (
                share * (o[1] * w11 + o[3] * w21),
                share * (o[1] * w12 + o[3] * w22),
            )
        return g11, g12, g21, g22, s1, s2

    return run


@functools.cache
def trainer(nu: Nonlinearity, mean_field: bool, exact: bool = False) -> TrainCompiled:
    """Compile the training loop for one ν and one family.

    Args:
        nu: the decoder's output function.
        mean_field: diagonal covariances instead of full ones.
        exact: everything in double precision with the maths library's functions: for checks, slower.

    Returns:
        ``train(theta, first, second, local, local_first, local_second, x, table, rotations, key, start, stop, period,
        rate, sigma)``, in place, as ``amortised.trainer``; ``theta`` is [6] and ``local`` in the layout of
        ``to_blocks``. The second of the ``rotations`` turns every Σ_i.
    """
    block = block_pass(nu, mean_field, exact)
    real: Any = np.float64 if exact else np.float32
    local_adam = scalars.adam(real)
    shared_adam = scalars.adam(np.float64)

    @compiled
    def cast(a: Any) -> Any:
        return real(a[0]), real(a[1]), real(a[2]), real(a[3])

    @compiled
    def train(  # type: ignore[no-untyped-def]
        theta,
        first,
        second,
        local,
        local_first,
        local_second,
        x,
        table,
        rotations,
        key,
        start,
        stop,
        period,
        rate,
        sigma,
    ):
        points = x.shape[1]
        places = (table.shape[1] - points) // scalars.STRIDE + 1
        shared, gradient = np.zeros(SHARED), np.zeros(LOCAL * LANES, real)
        weight, share = 1.0 / sigma**2, 1.0 / points
        o3, o = load(rotations[2], 0), cast(load(rotations[1], 0))
        for iteration in range(start, stop):
            one, two, turn = scalars.noise(key, iteration, places)
            a = cast(mul(load(theta, _A), transpose(o3)))
            b = real(theta[_B]), real(theta[_B + 1])
            e1, e2, turned = table[0, one : one + points], table[1, two : two + points], cast(turn)
            scale, root = scalars.adam_scales(rate / 10.0 ** (iteration // period), iteration + 1)
            local_scale, local_root = real(scale), real(root)
            total = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
            for at in range(0, points, LANES):
                part = block(
                    local, gradient, x[0], x[1], e1, e2, np.uint64(at), a, b, o, turned, real(weight), real(share)
                )
                total = (
                    total[0] + part[0], total[1] + part[1], total[2] + part[2],
                    total[3] + part[3], total[4] + part[4], total[5] + part[5],
                )  # fmt: skip
                # a sample's own parameters touch no other sample: update them while they are in the nearest cache
                base = np.uint64(at) * np.uint64(LOCAL)
                local_adam(local, local_first, local_second, base, gradient, local_scale, local_root)
            to_a = mul((total[0], total[1], total[2], total[3]), o3)
            store(shared, _A, scalars.combine(weight * share, to_a, 0.0, to_a))
            shared[_B], shared[_B + 1] = weight * share * total[4], weight * share * total[5]
            shared_adam(theta, first, second, np.uint64(0), shared, scale, root)

    return train
