"""Poisson and categorical observations against SciPy and PyTorch's distributions."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
import torch

from curvae.errors import InputError
from curvae.likelihoods import Categorical, Poisson

pytestmark = pytest.mark.usefixtures("float64")


def test_poisson_log_prob(seed: int) -> None:
    eta = 2 * torch.randn(4, 5)
    x = torch.poisson(eta.exp())
    expected = scipy.stats.poisson.logpmf(x.numpy(), eta.exp().numpy()).sum(1)
    np.testing.assert_allclose(Poisson().log_prob(eta, x), expected)


@pytest.mark.parametrize("eta", [-1000.0, -50.0, 50.0, 600.0])
@pytest.mark.parametrize("x", [0.0, 3.0])
def test_poisson_at_far_log_rates(eta: float, x: float) -> None:
    e = torch.tensor([[eta]], requires_grad=True)
    observed = torch.tensor([[x]])
    nll = Poisson().nll(e, observed)
    whitened = Poisson().whiten(e, observed, torch.ones(1, 1, 1))
    expected = math.exp(eta) - x * eta, math.exp(eta) - x, math.exp(eta / 2), math.exp(eta / 2) / 2
    got = nll, *torch.autograd.grad(nll.sum(), e), whitened, *torch.autograd.grad(whitened.sum(), e)
    for value, reference in zip(got, expected, strict=True):
        assert math.isclose(value.item(), reference, rel_tol=1e-12)


def test_spread_of_poisson_samples(seed: int) -> None:
    rate = 3.5
    samples = Poisson().sample(torch.full((20_000, 1), math.log(rate)), torch.Generator().manual_seed(seed))
    assert torch.equal(samples, samples.round())
    assert abs(samples.var().item() / rate - 1) < 0.06


def test_categorical_log_prob_sums_over_positions(seed: int) -> None:
    eta, x = torch.randn(4, 3, 2, 5), torch.randint(3, (4, 2, 5))
    expected = torch.distributions.Categorical(logits=eta.movedim(1, -1)).log_prob(x).sum((1, 2))
    torch.testing.assert_close(Categorical().log_prob(eta, x), expected)
    torch.testing.assert_close(Categorical().log_prob(eta, x.double()), expected)


def test_categorical_mean_is_the_softmax_over_classes(seed: int) -> None:
    eta = torch.randn(4, 3, 2)
    torch.testing.assert_close(Categorical().mean(eta), eta.exp() / eta.exp().sum(1, keepdim=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_categorical_at_far_logits(dtype: torch.dtype) -> None:
    e = torch.tensor([[1000.0, -1000.0, 0.0], [50.0, -50.0, 50.0]], dtype=dtype, requires_grad=True)
    x = torch.tensor([1, 0])
    nll = Categorical().nll(e, x)
    torch.testing.assert_close(nll, torch.tensor([2000.0, math.log(2)], dtype=dtype))
    (slope,) = torch.autograd.grad(nll.sum(), e)
    torch.testing.assert_close(slope, torch.tensor([[1.0, -1.0, 0.0], [-0.5, 0.0, 0.5]], dtype=dtype))
    tangent = torch.tensor([[3.0, 4.0, 5.0], [1.0, 2.0, 3.0]], dtype=dtype)[..., None]
    whitened = Categorical().whiten(e, x, tangent)
    # p is one-hot, then (½, 0, ½) with mean tangent 2
    expected = torch.tensor([[0.0, 0.0, 0.0], [-math.sqrt(0.5), 0.0, math.sqrt(0.5)]], dtype=dtype)
    torch.testing.assert_close(whitened[..., 0], expected)
    assert torch.autograd.grad(whitened.sum(), e)[0].isfinite().all()


@pytest.mark.parametrize("wrong", [-100, -1, 3])
def test_a_class_that_is_not_there_is_never_scored(wrong: int) -> None:
    """−100 is PyTorch's "ignore this" by default: it would be a sample that every decoder explains."""
    with pytest.raises(InputError, match=r"^the decoder gives 3 classes, numbered from 0"):
        Categorical().nll(torch.randn(1, 3), torch.tensor([wrong]))


def test_a_refused_class_says_what_padding_is() -> None:
    with pytest.raises(InputError, match=r"^the data have -100, .*class numbers 0, 1, .* padding, give NaN to Masked"):
        Categorical().check(torch.tensor([[2, -100]]))


@pytest.mark.usefixtures("as_shipped")
def test_categorical_shapes() -> None:
    with pytest.raises(InputError, match=r"expected \[B, C, \*S\] and \[B, \*S\]"):
        Categorical().nll(torch.randn(4, 3), torch.zeros(4, 3))
    with pytest.raises(InputError, match="shape"):
        Categorical().nll(torch.randn(4), torch.zeros(4))
