"""Gaussian observations against SciPy and PyTorch's distributions."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import torch

from curvae.errors import InputError
from curvae.likelihoods import Gaussian

pytestmark = pytest.mark.usefixtures("float64")


@pytest.mark.parametrize("sigma", [1.0, 0.05, 7.0])
def test_log_prob(seed: int, sigma: float) -> None:
    eta, x = torch.randn(3, 2, 4), torch.randn(3, 2, 4)
    expected = scipy.stats.norm.logpdf(x.numpy(), eta.numpy(), sigma).sum((1, 2))
    np.testing.assert_allclose(Gaussian(sigma).log_prob(eta, x), expected)
    torch.testing.assert_close(
        Gaussian(sigma).log_prob(eta, x), torch.distributions.Normal(eta, sigma).log_prob(x).sum((1, 2))
    )


def test_nll_is_the_papers_half_squared_distance(seed: int) -> None:
    eta, x = torch.randn(3, 4), torch.randn(3, 4)
    torch.testing.assert_close(Gaussian().nll(eta, x), 0.5 * ((x - eta) ** 2).sum(1))


def test_spread_of_samples(seed: int) -> None:
    samples = Gaussian(0.3).sample(torch.zeros(20_000, 3), torch.Generator().manual_seed(seed))
    assert (samples.std(0) / 0.3 - 1).abs().max() < 5 / (2 * 20_000) ** 0.5


@pytest.mark.parametrize(
    "sigma", [0, -1.0, float("nan"), float("inf"), "1", None, True, pytest.param(10**400, id="huge")]
)
@pytest.mark.usefixtures("as_shipped")
def test_bad_sigma(sigma: object) -> None:
    with pytest.raises(InputError, match=r"sigma is .*expected a finite number > 0"):
        Gaussian(sigma)
