"""The vectorisable ν against SciPy's and NumPy's in double precision."""

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.special
from numba import njit

from curvae.reproduce.uniqueness import activations
from curvae.reproduce.uniqueness.activations import Nonlinearity


def _compile(function: Callable[..., Any]) -> Callable[..., Any]:
    return njit(error_model="numpy")(inspect.unwrap(function))


ORACLE = {
    Nonlinearity.IDENTITY: (lambda u: u, np.ones_like),
    Nonlinearity.TANH: (np.tanh, lambda u: 1 / np.cosh(u) ** 2),
    Nonlinearity.SIGMOID: (scipy.special.expit, lambda u: scipy.special.expit(u) * scipy.special.expit(-u)),
    Nonlinearity.ELU: (lambda u: np.where(u > 0, u, np.expm1(u)), lambda u: np.exp(np.minimum(u, 0))),
}


@pytest.mark.parametrize("nu", Nonlinearity)
def test_double_precision(nu: Nonlinearity) -> None:
    u = np.linspace(-30, 30, 100_001)
    value, slope = ORACLE[nu]
    np.testing.assert_allclose(nu(u), value(u), rtol=1e-13, atol=1e-15)
    exact = activations.scalar(nu, inspect.unwrap, exact=True)
    np.testing.assert_allclose([exact(v)[0] for v in u[::500]], value(u[::500]), rtol=1e-13, atol=1e-15)
    np.testing.assert_allclose([exact(v)[1] for v in u[::500]], slope(u[::500]), atol=1e-14)


@pytest.mark.cases(2)
@pytest.mark.parametrize("nu", Nonlinearity)
def test_single_precision(nu: Nonlinearity) -> None:
    """As accurate as single precision allows, over a range that no decoder leaves."""
    fast = activations.scalar(nu, _compile, exact=False)

    @njit
    def everywhere(u, out):  # type: ignore[no-untyped-def]
        for i in range(u.size):
            out[0, i], out[1, i] = fast(u[i])

    u = np.linspace(-40, 40, 400_001).astype(np.float32)
    out = np.zeros((2, u.size), np.float32)
    everywhere(u, out)
    value, slope = (f(u.astype(np.float64)) for f in ORACLE[nu])
    assert np.abs((out[0] - value) / np.maximum(1, np.abs(value))).max() < 4e-7
    assert np.abs(out[1] - slope).max() < 8e-7
    near = np.abs(u) < 1e-3
    assert np.abs(out[0] - value)[near].max() < (1e-7 if nu is Nonlinearity.SIGMOID else 1e-9)


@pytest.mark.parametrize("nu", Nonlinearity)
def test_nan_is_not_hidden(nu: Nonlinearity) -> None:
    fast = activations.scalar(nu, _compile, exact=False)
    assert np.isnan(fast(np.float32("nan"))[0])
