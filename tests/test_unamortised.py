"""Free posteriors: learning them alone reaches the true posterior of a linear model."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from curvae import objectives
from curvae.errors import InputError
from curvae.posteriors import Full, Shared
from curvae.unamortised import Unamortised


def test_reaches_the_exact_posterior_of_a_linear_model():
    torch.manual_seed(0)
    decoder = nn.Linear(2, 4).double()
    model = Unamortised(decoder.requires_grad_(False), 2, Full(), count=6, generator=torch.Generator()).double()
    x = torch.randn(6, 4, dtype=torch.double)
    objective = objectives.Taylor(beta=0.5)  # exact for a linear decoder
    optimiser = torch.optim.LBFGS([model.means, model.factors], max_iter=500, line_search_fn="strong_wolfe")

    def closure():
        optimiser.zero_grad()
        loss = objective(model.at(torch.arange(6)), x).mean()
        loss.backward()
        return loss

    optimiser.step(closure)
    a, b = decoder.weight, decoder.bias
    covariance = torch.linalg.inv(torch.eye(2).double() + a.T @ a / 0.5)
    mean = (x - b) @ a @ covariance / 0.5
    q = model.at(torch.arange(6)).posterior(x)
    torch.testing.assert_close(q.mean, mean, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(q.covariance(), covariance.expand(6, -1, -1), rtol=1e-4, atol=1e-5)


def test_only_the_batchs_posteriors_get_a_gradient():
    model = Unamortised(nn.Linear(2, 3), 2, Full(), count=5)
    batch = torch.tensor([1, 3])
    objectives.BetaVAE(0.1)(model.at(batch), torch.randn(2, 3)).mean().backward()
    assert (model.means.grad.abs().sum(1) > 0).tolist() == [False, True, False, True, False]


def test_bad_indices_and_batches():
    model = Unamortised(nn.Linear(2, 3), 2, Full(), count=5)
    with pytest.raises(InputError, match=r"sample indices 1 … 5 are not all in 0 … 4"):
        model.at(torch.tensor([1, 5]))
    with pytest.raises(InputError, match="2 samples were named by index but the batch holds 3"):
        model.at(torch.tensor([1, 2])).posterior(torch.randn(3, 3))


def test_a_shared_covariance_is_one_for_all():
    model = Unamortised(nn.Linear(2, 3), 2, Shared(Full()), count=5)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    objectives.BetaVAE(0.1)(model.at(torch.tensor([1, 3])), torch.randn(2, 3)).mean().backward()
    optimiser.step()
    covariance = model.at(torch.arange(5)).posterior(torch.zeros(5, 3)).covariance()
    assert not torch.equal(covariance[0], torch.eye(2))
    torch.testing.assert_close(covariance, covariance[:1].expand(5, -1, -1))


@pytest.mark.usefixtures("as_shipped")
@pytest.mark.parametrize(
    ("indices", "named"),
    [
        (torch.tensor([False, True, False]), r"bool \[3\]"),
        (torch.tensor([0.0, 1.0]), r"float32 \[2\]"),
        (torch.tensor(1), r"int64 \[\]"),
        (torch.tensor([[0, 1]]), r"int64 \[1, 2\]"),
        ([0, 1], "a list"),
    ],
)
def test_indices_are_whole_numbers(indices, named):
    with pytest.raises(InputError, match=f"sample indices are {named}; expected .*whole numbers"):
        Unamortised(nn.Linear(2, 3), 2, Full(), count=3).at(indices)


@pytest.mark.usefixtures("as_shipped")
def test_indices_of_bytes_are_no_mask():
    model = Unamortised(nn.Linear(2, 3), 2, Full(), count=3)
    indices = torch.tensor([0, 1, 1, 2], dtype=torch.uint8)
    assert torch.equal(model.at(indices).encode(torch.zeros(4, 3)), model.means[indices.long()])


@pytest.mark.usefixtures("as_shipped")
def test_bad_parts_are_one_clear_line():
    with pytest.raises(InputError, match="the decoder is .*; expected a torch.nn.Module, which holds its weights"):
        Unamortised(torch.sin, 2, Full(), count=3)
    with pytest.raises(InputError, match="structure is 'full'; expected one of curvae.posteriors"):
        Unamortised(nn.Linear(2, 3), 2, "full", count=3)
    model = Unamortised(nn.LSTM(2, 3), 2, Full(), count=3)
    with pytest.raises(InputError, match="the decoder returned a tuple of 2; expected one tensor"):
        objectives.BetaVAE(0.1)(model.at(torch.tensor([0])), torch.zeros(1, 3))
