"""Data and configurations."""

from typing import Any

import pytest
import torch

from curvae.data import Dataset
from curvae.errors import InputError
from curvae.runs import RunConfig
from curvae.runs.checks import check_data


def config(**changes: Any) -> RunConfig:
    return RunConfig(**({"data": "toy", "network": "mlp", "width": 0.05, "latents": 3} | changes))


def dataset(values: torch.Tensor) -> Dataset:
    return Dataset("toy", values, values[:2].clone(), {"kind": "standard"})


@pytest.mark.parametrize(
    ("changes", "values", "message"),
    [
        ({"batch_size": 11}, torch.rand(10, 3), "only 10 training data"),
        ({"batch_size": 1, "network": "paper"}, torch.rand(10, 1, 28, 28), "at least 2"),
        ({"batch_size": 2, "likelihood": "bernoulli"}, torch.rand(10, 3) + 0.5, r"outside \[0, 1\]"),
        ({"batch_size": 2, "likelihood": "bernoulli-logits"}, torch.rand(10, 3) - 0.5, r"outside \[0, 1\]"),
        ({"batch_size": 2, "likelihood": "continuous-bernoulli"}, torch.rand(10, 3) - 0.5, r"outside \[0, 1\]"),
        ({"batch_size": 2, "likelihood": "negative-binomial:2"}, torch.rand(10, 3), "negative-binomial:2 .*no counts"),
        ({"batch_size": 2, "likelihood": "negative-binomial:2"}, torch.ones(10, 3, dtype=torch.uint8), "pixels"),
        ({"batch_size": 2, "likelihood": "poisson"}, torch.rand(10, 3), "no counts"),
        ({"batch_size": 2, "likelihood": "poisson"}, -torch.ones(10, 3), "no counts"),
        ({"batch_size": 2, "likelihood": "poisson"}, torch.ones(10, 3, dtype=torch.uint8), "pixels"),
    ],
)
def test_data_that_do_not_go_with_the_settings(changes: dict[str, Any], values: torch.Tensor, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_data(config(**changes), dataset(values))


@pytest.mark.parametrize("likelihood", ["gaussian", "bernoulli", "bernoulli-logits", "continuous-bernoulli"])
def test_pixels_go_with_every_likelihood_on_the_unit_interval(likelihood: str) -> None:
    check_data(config(batch_size=2, likelihood=likelihood), dataset(torch.full((4, 3), 255, dtype=torch.uint8)))
