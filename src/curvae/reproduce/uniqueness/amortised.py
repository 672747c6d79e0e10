"""The amortised kernel: q(z|x) = N(Cx + d, Σ), trained by a fused loop over iterations (figures 1 and 5).

The decoder sees a point x and its noise ε only through u = A(Cx + d + Fε), which is linear in (x, 1, ε). With
δ = ν'(u)·r, r = ν(u) + b - x, everything the gradient needs from the points is therefore in thirteen sums: Σδxᵀ, Σδ,
Σδεᵀ, Σr and Σ‖r‖². The KL term needs only the first two moments of x, which never change. One pass over the points in
single precision, two multiply-adds a sum, and everything else in double precision on 2×2 matrices.

The parameter vector is A (4, by rows), b (2), C' (4), d (2), D' (4), with A = A'O₃ᵀ, C = O₁C' and Σ from O₂D'.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from curvae.reproduce.uniqueness import activations, scalars
from curvae.reproduce.uniqueness.activations import Nonlinearity
from curvae.reproduce.uniqueness.scalars import compiled, load, mul, store, transpose

PARAMETERS = 16
_A, _B, _C, _D, _L = 0, 4, 6, 10, 12

Real = NDArray[np.float32] | NDArray[np.float64]
TrainCompiled = Callable[..., None]


def point_sums(nu: Nonlinearity, exact: bool) -> Callable[..., None]:
    """Compile the loop over the points for one ν; ``exact`` is double precision with the maths library's functions."""
    value_and_slope = activations.scalar(nu, scalars.compiled_inline, exact)
    real: Any = np.float64 if exact else np.float32

    @compiled
    def sums(x: Real, e1: Real, e2: Real, coefficients: Real, out: NDArray[np.float64]) -> None:
        p11, p12, c1, q11, q12, b1 = coefficients[:6]
        p21, p22, c2, q21, q22, b2 = coefficients[6:]
        zero = real(0.0)
        dx11 = dx12 = dx21 = dx22 = de11 = de12 = de21 = de22 = zero
        d1 = d2 = s1 = s2 = squares = zero
        x1, x2 = x[0], x[1]
        for i in range(x1.size):
            u1 = p11 * x1[i] + p12 * x2[i] + c1 + q11 * e1[i] + q12 * e2[i]
            u2 = p21 * x1[i] + p22 * x2[i] + c2 + q21 * e1[i] + q22 * e2[i]
            g1, slope1 = value_and_slope(u1)
            g2, slope2 = value_and_slope(u2)
            r1 = g1 + b1 - x1[i]
            r2 = g2 + b2 - x2[i]
            t1 = slope1 * r1
            t2 = slope2 * r2
            s1 += r1
            s2 += r2
            squares += r1 * r1 + r2 * r2
            d1 += t1
            d2 += t2
            dx11 += t1 * x1[i]
            dx12 += t1 * x2[i]
            dx21 += t2 * x1[i]
            dx22 += t2 * x2[i]
            de11 += t1 * e1[i]
            de12 += t1 * e2[i]
            de21 += t2 * e1[i]
            de22 += t2 * e2[i]
        out[0], out[1], out[2], out[3] = dx11, dx12, dx21, dx22
        out[4], out[5], out[6], out[7] = de11, de12, de21, de22
        out[8], out[9], out[10], out[11], out[12] = d1, d2, s1, s2, squares

    return sums


@compiled
def fill_coefficients(
    theta: NDArray[np.float64], rotations: NDArray[np.float64], factor: scalars.Matrix, out: Real
) -> None:
    """Write u = P x + c + Q ε and b as (p1, p2, c, q1, q2, b) for each of the two outputs."""
    a = mul(load(theta, _A), transpose(load(rotations[2], 0)))
    p = mul(a, mul(load(rotations[0], 0), load(theta, _C)))
    q = mul(a, factor)
    for j in range(2):
        out[6 * j], out[6 * j + 1] = p[2 * j], p[2 * j + 1]
        out[6 * j + 2] = a[2 * j] * theta[_D] + a[2 * j + 1] * theta[_D + 1]
        out[6 * j + 3], out[6 * j + 4] = q[2 * j], q[2 * j + 1]
        out[6 * j + 5] = theta[_B + j]


@compiled
def gradient_from_sums(
    theta: NDArray[np.float64],
    rotations: NDArray[np.float64],
    moments: NDArray[np.float64],
    sums: NDArray[np.float64],
    turn: scalars.Matrix,
    weight: float,
    mean_field: bool,
    out: NDArray[np.float64],
) -> None:
    """The gradient of the negative ELBO per point, from the thirteen sums; ``weight`` is 1/(Nσ²)."""
    o1, o2, o3 = load(rotations[0], 0), load(rotations[1], 0), load(rotations[2], 0)
    a, c = mul(load(theta, _A), transpose(o3)), mul(o1, load(theta, _C))
    d1, d2 = theta[_D], theta[_D + 1]
    spread = mul(o2, load(theta, _L))
    factor = scalars.covariance_factor(spread, mean_field)
    dx, de, t1, t2 = load(sums, 0), load(sums, 4), sums[8], sums[9]
    through = transpose(a)
    # Σ δzᵀ with z = Cx + d + Fε
    dz = scalars.combine(1.0, mul(dx, transpose(c)), 1.0, mul(de, transpose(mul(factor, turn))))
    dz = dz[0] + t1 * d1, dz[1] + t1 * d2, dz[2] + t2 * d1, dz[3] + t2 * d2
    store(out, _A, mul(scalars.combine(weight, dz, 0.0, dz), o3))
    out[_B], out[_B + 1] = weight * sums[10], weight * sums[11]
    # the prior pulls the mean Cx + d to zero: moments are E[x] (2) and E[xxᵀ] (4)
    m1, m2 = moments[0], moments[1]
    pull = scalars.combine(1.0, mul(c, load(moments, 2)), 1.0, (d1 * m1, d1 * m2, d2 * m1, d2 * m2))
    store(out, _C, mul(transpose(o1), scalars.combine(weight, mul(through, dx), 1.0, pull)))
    out[_D] = weight * (through[0] * t1 + through[1] * t2) + c[0] * m1 + c[1] * m2 + d1
    out[_D + 1] = weight * (through[2] * t1 + through[3] * t2) + c[2] * m1 + c[3] * m2 + d2
    to_factor = mul(mul(through, de), transpose(turn))
    to_factor = scalars.combine(weight, to_factor, 0.0, to_factor)
    to_spread = scalars.spread_gradient(to_factor, spread, factor, mean_field)
    store(out, _L, mul(transpose(o2), to_spread))


@functools.cache
def trainer(nu: Nonlinearity, exact: bool = False) -> TrainCompiled:
    """Compile the training loop for one ν.

    Args:
        nu: the decoder's output function.
        exact: everything in double precision with the maths library's functions: for checks, ten times slower.

    Returns:
        ``train(theta, first, second, x, table, rotations, key, start, stop, period, rate, sigma, mean_field)``, which
        runs the iterations ``start`` to ``stop`` in place on the parameters [16] and Adam's two moments [16]. ``x`` is
        [2, N] and ``table`` [2, T] in the kernel's precision, ``rotations`` [3, 4]; the learning rate is ``rate``,
        divided by 10 every ``period`` iterations.
    """
    sums = point_sums(nu, exact)
    real: Any = np.float64 if exact else np.float32
    adam = scalars.adam(np.float64)

    @compiled
    def train(  # type: ignore[no-untyped-def]
        theta, first, second, x, table, rotations, key, start, stop, period, rate, sigma, mean_field
    ):
        points = x.shape[1]
        places = (table.shape[1] - points) // scalars.STRIDE + 1
        moments, found, gradient = np.zeros(6), np.zeros(13), np.zeros(PARAMETERS)
        coefficients = np.zeros(12, real)
        for i in range(points):
            x1, x2 = np.float64(x[0, i]), np.float64(x[1, i])
            moments += np.array((x1, x2, x1 * x1, x1 * x2, x2 * x1, x2 * x2)) / points
        for iteration in range(start, stop):
            one, two, turn = scalars.noise(key, iteration, places)
            spread = mul(load(rotations[1], 0), load(theta, _L))
            factor = mul(scalars.covariance_factor(spread, mean_field), turn)
            fill_coefficients(theta, rotations, factor, coefficients)
            sums(x, table[0, one : one + points], table[1, two : two + points], coefficients, found)
            weight = 1.0 / (points * sigma**2)
            gradient_from_sums(theta, rotations, moments, found, turn, weight, mean_field, gradient)
            scale, root = scalars.adam_scales(rate / 10.0 ** (iteration // period), iteration + 1)
            adam(theta, first, second, np.uint64(0), gradient, scale, root)

    return train


@functools.cache
def expectation(nu: Nonlinearity) -> Callable[..., float]:
    """Compile −ELBO with the expectation over q by quadrature, and its gradient, in double precision.

    Output j sees the noise only through s_j ξ with s_j the norm of row j of Q = AF; so Σ δ_j ε of a sampled iteration
    becomes Σ E[δ_j ξ] Q_j/s_j, and the rest of the gradient is the same.

    Returns:
        ``value(theta, x, at, weights, moments, sigma, mean_field, gradient)``: −ELBO per point without the constant
        (D/2) log 2πσ²; fills ``gradient`` [16]. ``at`` and ``weights`` are the nodes of a standard normal,
        ``moments`` E[x] (2) and E[xxᵀ] (4). No parameter is learned in a rotated frame here.
    """
    value_and_slope = activations.scalar(nu, scalars.compiled_inline, exact=True)

    @compiled
    def output_sums(row: Any, x: Any, target: Any, at: Any, weights: Any, out: Any, j: int) -> None:
        spread = np.sqrt(row[3] ** 2 + row[4] ** 2)
        dx1 = dx2 = dt = dn = r_sum = squares = 0.0
        for i in range(target.size):
            centre = row[0] * x[0, i] + row[1] * x[1, i] + row[2]
            t_mean = 0.0
            for k in range(at.size):
                g, slope = value_and_slope(centre + spread * at[k])
                r = g + row[5] - target[i]
                t_mean += weights[k] * slope * r
                dn += weights[k] * slope * r * at[k]
                r_sum += weights[k] * r
                squares += weights[k] * r * r
            dx1 += t_mean * x[0, i]
            dx2 += t_mean * x[1, i]
            dt += t_mean
        out[2 * j], out[2 * j + 1] = dx1, dx2
        out[4 + 2 * j], out[5 + 2 * j] = dn * row[3] / spread, dn * row[4] / spread
        out[8 + j], out[10 + j] = dt, r_sum
        out[12] += squares

    @compiled
    def value(theta, x, at, weights, moments, sigma, mean_field, gradient):  # type: ignore[no-untyped-def]
        straight = np.array(((1.0, 0.0, 0.0, 1.0), (1.0, 0.0, 0.0, 1.0), (1.0, 0.0, 0.0, 1.0)))
        coefficients, sums = np.zeros(12), np.zeros(13)
        spread = load(theta, _L)
        factor = scalars.covariance_factor(spread, mean_field)
        fill_coefficients(theta, straight, factor, coefficients)
        for j in range(2):
            output_sums(coefficients[6 * j : 6 * j + 6], x, x[j], at, weights, sums, j)
        weight = 1.0 / (x.shape[1] * sigma**2)
        turn = (1.0, 0.0, 0.0, 1.0)
        gradient_from_sums(theta, straight, moments, sums, turn, weight, mean_field, gradient)
        c, d1, d2 = load(theta, _C), theta[_D], theta[_D + 1]
        second = mul(mul(c, load(moments, 2)), transpose(c))
        through = c[0] * moments[0] + c[1] * moments[1], c[2] * moments[0] + c[3] * moments[1]
        mean_square = second[0] + second[3] + 2.0 * (through[0] * d1 + through[1] * d2) + d1 * d1 + d2 * d2
        trace = factor[0] ** 2 + factor[1] ** 2 + factor[2] ** 2 + factor[3] ** 2
        log_determinant = 2.0 * np.log(abs(factor[0] * factor[3] - factor[1] * factor[2]))
        return 0.5 * weight * sums[12] + 0.5 * (mean_square + trace - log_determinant - 2.0)

    return value
