"""Bernoulli observations: reference values, grey data and the far ends."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st

from curvae.errors import InputError
from curvae.likelihoods import Bernoulli, BernoulliLogits

pytestmark = pytest.mark.usefixtures("float64")

FAR = [-1000.0, -200.0, -50.0, -17.0, 17.0, 50.0, 200.0, 1000.0]


def _exact(eta: float, x: float) -> tuple[float, float, float, float]:
    """Nll, its gradient, √curvature and the gradient of that, to 500 digits and then rounded."""
    with mpmath.workdps(500):
        s, c = 1 / (1 + mpmath.exp(-mpmath.mpf(eta))), 1 / (1 + mpmath.exp(mpmath.mpf(eta)))
        nll = -x * mpmath.log(s) - (1 - mpmath.mpf(x)) * mpmath.log(c)
        root = mpmath.sqrt(s * c)
        return float(nll), float(s - x), float(root), float(root * (c - s) / 2)


def test_log_prob_of_binary_data(seed: int) -> None:
    eta = torch.randn(3, 5)
    x = torch.rand(3, 5).round()
    expected = scipy.stats.bernoulli.logpmf(x.numpy(), eta.sigmoid().numpy()).sum(1)
    np.testing.assert_allclose(BernoulliLogits().log_prob(eta, x), expected)
    np.testing.assert_allclose(Bernoulli().log_prob(eta.sigmoid(), x), expected)


def test_grey_data_are_scored_by_cross_entropy(seed: int) -> None:
    eta, x = torch.randn(3, 5), torch.rand(3, 5)
    g = eta.sigmoid()
    expected = -(x * g.log() + (1 - x) * (1 - g).log()).sum(1)
    torch.testing.assert_close(Bernoulli().nll(g, x), expected)
    torch.testing.assert_close(BernoulliLogits().nll(eta, x), expected)


def test_curvature_of_binary_data_is_the_papers(seed: int) -> None:
    g = torch.rand(3, 5) * 0.98 + 0.01
    x = torch.rand(3, 5).round()
    torch.testing.assert_close(Bernoulli().curvature(g, x), (1 - x - g) ** -2)


@given(st.floats(-1000, 1000), st.floats(0, 1))
def test_logits_anywhere(eta: float, x: float) -> None:
    e = torch.tensor([[eta]], dtype=torch.float64, requires_grad=True)
    observed = torch.tensor([[x]], dtype=torch.float64)
    nll, slope, root, root_slope = _exact(eta, x)
    (got_slope,) = torch.autograd.grad(BernoulliLogits().nll(e, observed).sum(), e)
    whitened = BernoulliLogits().whiten(e, observed, torch.ones(1, 1, 1, dtype=torch.float64))
    (got_root_slope,) = torch.autograd.grad(whitened.sum(), e)
    assert math.isclose(BernoulliLogits().nll(e, observed).item(), nll, rel_tol=1e-10, abs_tol=1e-12)
    assert math.isclose(got_slope.item(), slope, rel_tol=1e-10, abs_tol=1e-12)
    assert math.isclose(whitened.item(), root, rel_tol=1e-10)
    assert math.isclose(got_root_slope.item(), root_slope, rel_tol=1e-10, abs_tol=1e-15)


@pytest.mark.parametrize("eta", FAR)
@pytest.mark.parametrize("x", [0.0, 0.3, 1.0])
def test_far_logits_in_float32(eta: float, x: float) -> None:
    e = torch.tensor([[eta]], dtype=torch.float32, requires_grad=True)
    observed = torch.tensor([[x]], dtype=torch.float32)
    likelihood = BernoulliLogits()
    nll, slope, root, root_slope = _exact(eta, observed.item())
    whitened = likelihood.whiten(e, observed, torch.ones(1, 1, 1, dtype=torch.float32))
    got = [
        likelihood.nll(e, observed),
        torch.autograd.grad(likelihood.nll(e, observed).sum(), e)[0],
        whitened,
        torch.autograd.grad(whitened.sum(), e)[0],
    ]
    for value, expected in zip(got, (nll, slope, root, root_slope), strict=True):
        assert math.isclose(value.item(), expected, rel_tol=2e-4, abs_tol=1e-6)
    assert likelihood.curvature(e, observed).isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_saturated_sigmoid_on_the_right_side_has_curvature_one(dtype: torch.dtype) -> None:
    """(1 − x − g)⁻² is 1 where g has reached x, also where g² underflows or 1 − g is 0 in floating point."""
    eta = torch.tensor([[-1000.0, -60.0, -40.0, 40.0, 60.0, 1000.0]], dtype=dtype, requires_grad=True)
    x = (eta > 0).to(dtype)
    ones = torch.ones(*eta.shape, 1, dtype=dtype)
    torch.testing.assert_close(Bernoulli().curvature(eta.sigmoid(), x), torch.ones_like(eta))
    whitened = Bernoulli().whiten(eta.sigmoid(), x, ones)
    torch.testing.assert_close(whitened, ones)
    (slope,) = torch.autograd.grad(whitened.sum(), eta)
    torch.testing.assert_close(slope, torch.zeros_like(eta))
    assert Bernoulli().nll(eta.sigmoid(), x).abs().max() < 1e-6


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("x", [0.0, 0.3, 1.0])
def test_a_saturated_sigmoid_on_the_wrong_side_has_pytorchs_value_and_slope(dtype: torch.dtype, x: float) -> None:
    for far in (-1000.0, 1000.0):
        eta = torch.tensor([[far, 0.2]], dtype=dtype, requires_grad=True)
        observed = torch.full_like(eta, x)
        found, expected = (
            (value, torch.autograd.grad(value, eta)[0])
            for value in (
                Bernoulli().nll(eta.sigmoid(), observed).sum(),
                torch.nn.functional.binary_cross_entropy(eta.sigmoid(), observed.detach(), reduction="sum"),
            )
        )
        torch.testing.assert_close(found, expected)


def test_a_probability_close_to_the_wrong_end_whitens_without_overflow() -> None:
    """1/g with g = 1e-25 is a float32, its square is not."""
    g = torch.tensor([[1e-25]], dtype=torch.float32, requires_grad=True)
    whitened = Bernoulli().whiten(g, torch.ones(1, 1, dtype=torch.float32), g.detach()[..., None])
    torch.testing.assert_close(whitened, torch.ones_like(whitened))


@pytest.mark.parametrize("likelihood", [Bernoulli(), BernoulliLogits()], ids=str)
def test_a_broken_decoder_gives_nan_and_no_crash(likelihood):
    """Training that diverges is noticed by its loss."""
    nll = likelihood.nll(torch.tensor([[0.5, torch.nan], [0.5, 0.5]]), torch.ones(2, 2))
    assert nll.isnan().tolist() == [True, False]


def test_data_of_one_value_are_not_to_be_divided_by_zero() -> None:
    with pytest.raises(InputError, match=r"the data have -5, .* for example \(x \+ 5\) / 1, "):
        Bernoulli().check(torch.full((3, 2), -5.0))
