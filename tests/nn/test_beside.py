"""Networks that see a condition, or priors in front of them: wrong parts and shapes are one clear line."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from curvae.errors import InputError
from curvae.nn import Beside, ConditionalNormalPrior, NormalPrior, Observed
from curvae.nn.columns import Standardised

pytestmark = pytest.mark.usefixtures("as_shipped")


def test_a_condition_of_numpys_type_is_one_of_the_networks() -> None:
    x, c = torch.randn(4, 2), torch.randn(4, 3)
    for network in (Beside(nn.Linear(5, 6)), Beside(nn.Linear(2, 6), "features", 3)):
        assert torch.equal(network(x, c.double()), network(x, c.double().float()))


def test_what_is_no_network_or_gives_no_features() -> None:
    for make in (Beside, Observed):
        with pytest.raises(InputError, match="the network is .*; expected a torch.nn.Module"):
            make(lambda x: x)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="conditions is -2"):
        Beside(nn.Linear(2, 2), "features", -2)
    maps = Beside(nn.Conv2d(1, 2, 3), "features")
    with pytest.raises(InputError, match=r"the network's features have shape \(4, 2, 3, 3\); expected \[B, F\]"):
        maps(torch.zeros(4, 1, 5, 5), torch.zeros(4, 3))


def test_a_single_number_is_not_taken_for_all() -> None:
    with pytest.raises(InputError, match=r"z has shape \(5, 1\); expected \[B, 3\]"):
        NormalPrior(3).inverse(torch.zeros(5, 1))
    with pytest.raises(InputError, match=r"u has shape \(5, 1\); expected \[B, 3\]"):
        ConditionalNormalPrior(3, 2)(torch.zeros(5, 1), torch.zeros(5, 2))
    with pytest.raises(InputError, match=r"x has shape \(5, 1\); expected \[B, 3\]"):
        Standardised(nn.Identity(), torch.zeros(3).bool())(torch.zeros(5, 1))


def test_a_small_covariance_is_symmetric_in_its_own_units() -> None:
    covariance = torch.tensor([[1e-9, 9e-10], [0.0, 1e-9]])
    for scale in (1.0, 1e9):
        with pytest.raises(InputError, match="covariance is not symmetric"):
            NormalPrior(2, covariance=scale * covariance)
        NormalPrior(2, covariance=scale * (covariance + covariance.mT))
    with pytest.raises(InputError, match="mean holds NaN or infinities"):
        NormalPrior(2, mean=[torch.inf, 0.0])


def test_the_inverse_of_one_draw() -> None:
    prior = NormalPrior(2, mean=[1.0, -1.0], covariance=[[4.0, 1.0], [1.0, 0.5]])
    u = torch.randn(2)
    torch.testing.assert_close(prior.inverse(prior(u)), u)
