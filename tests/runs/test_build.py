"""Models from configurations."""

from typing import Any

import pytest
import torch

from curvae.errors import InputError
from curvae.likelihoods import LearnedGaussian
from curvae.runs import RunConfig, build_model, likelihood_of


def config(**changes: Any) -> RunConfig:
    return RunConfig(**({"data": "toy", "network": "mlp", "width": 0.05, "latents": 3} | changes))


@pytest.mark.parametrize("network", ["paper", "paper-no-norm", "mlp", "linear"])
@pytest.mark.parametrize("objective", ["beta-vae", "grae", "rae"])
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 64, 64), (1, 64, 64)])
def test_models_have_the_shape_of_the_data(network: str, objective: str, shape: tuple[int, ...]) -> None:
    settings = config(network=network, objective=objective, structure="block:2", width=0.02)
    model = build_model(settings, shape).eval()
    assert model.reconstruct(torch.rand(2, *shape)).shape == (2, *shape)
    assert (model.structure is None) == (objective in ("grae", "rae"))
    assert model.encode(torch.rand(2, *shape)).shape == (2, 3)
    assert any("BatchNorm" in type(module).__name__ for module in model.modules()) == (network == "paper")


def test_the_seed_makes_the_weights() -> None:
    states = [build_model(config(seed=seed), (5,)).state_dict() for seed in (1, 1, 2)]
    torch.testing.assert_close(states[0], states[1], rtol=0, atol=0)
    assert not torch.equal(states[0]["mean_head.weight"], states[2]["mean_head.weight"])


@pytest.mark.parametrize(
    ("likelihood", "bounded"),
    [
        ("gaussian", True),
        ("bernoulli", True),
        ("bernoulli-logits", False),
        ("poisson", False),
        ("laplace:0.1", True),
        ("student-t:4", True),
        ("continuous-bernoulli", False),
        ("negative-binomial:2", False),
        ("gaussian:learned", True),
    ],
)
def test_the_link_belongs_to_the_observation_model(likelihood: str, bounded: bool) -> None:
    model = build_model(config(network="paper", likelihood=likelihood), (1, 28, 28)).eval()
    assert isinstance(list(model.decoder.modules())[-1], torch.nn.Sigmoid) == bounded


@pytest.mark.parametrize(
    ("changes", "shape", "message"),
    [
        ({"latents": 7}, (6,), "latents is 7 but a sample has only 6 numbers"),
        ({"structure": "block:4"}, (6,), "only 3 latents"),
        ({"structure": "banded:3"}, (6,), "only 3 latents"),
        ({"structure": "shared:block:4"}, (6,), "structure is shared:block:4 but there are only 3 latents"),
        ({"structure": "along:0:2:2", "objective": "rae"}, (6,), r"Along\(\(2, 2\), axis=0\) is for 4 latents; got 3"),
        (
            {"network": "paper"},
            (1, 32, 32),
            r"made for data of shape \(1, 28, 28\) or \(3, 64, 64\) or \(1, 64, 64\), but .* \(1, 32",
        ),
        ({"network": "linear", "likelihood": "bernoulli"}, (6,), "use bernoulli-logits"),
        ({"width": 3 / 256}, (6,), "as many features as latents"),
    ],
)
def test_models_that_make_no_sense(changes: dict[str, Any], shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        build_model(config(**changes), shape)


@pytest.mark.parametrize("precision", ["32", "64"])
def test_a_learned_likelihood_belongs_to_the_model(precision: str) -> None:
    settings = config(likelihood="gaussian:learned", precision=precision)
    model = build_model(settings, (5,))
    likelihood = likelihood_of(settings, model)
    assert isinstance(likelihood, LearnedGaussian)
    assert any(parameter is likelihood.log_sigma for parameter in model.parameters())
    assert model.state_dict()["likelihood.log_sigma"].dtype == next(model.parameters()).dtype


def test_other_likelihoods_add_nothing_to_the_model() -> None:
    """So that models from before there were learned ones still fit."""
    settings = config(likelihood="gaussian:0.5")
    model = build_model(settings, (5,))
    assert not any(name.startswith("likelihood") for name in model.state_dict())
    assert repr(likelihood_of(settings, model)) == "Gaussian(sigma=0.5)"


@pytest.mark.parametrize(("shape", "network"), [((1, 28, 28), "paper"), ((7,), "mlp"), ((3, 64, 64), "paper")])
def test_a_network_left_to_the_data_is_the_one_that_fits(shape: tuple[int, ...], network: str) -> None:
    choices: dict[str, Any] = {"data": "toy", "width": 0.05, "latents": 2}
    left, named = (build_model(RunConfig(**choices, **one), shape) for one in ({}, {"network": network}))
    assert repr(left) == repr(named)
    for one, other in zip(left.parameters(), named.parameters(), strict=True):
        assert torch.equal(one, other)
