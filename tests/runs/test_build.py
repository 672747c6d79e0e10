"""Strings to objects."""

from typing import Any

import pytest
import torch

from curvae.curvature import Columns, Exact
from curvae.data import Dataset
from curvae.errors import InputError
from curvae.likelihoods import Bernoulli, BernoulliLogits, Gaussian, Likelihood, Poisson
from curvae.objectives import GRAE, BetaVAE, Taylor
from curvae.posteriors import BlockDiagonal, Diagonal, Full
from curvae.runs import (
    RunConfig,
    build_estimator,
    build_likelihood,
    build_model,
    build_objective,
    build_structure,
)
from curvae.runs.build import check_data


def config(**changes: Any) -> RunConfig:
    return RunConfig(**({"data": "toy", "network": "mlp", "width": 0.05, "latents": 3} | changes))


def test_structures() -> None:
    assert isinstance(build_structure("diagonal"), Diagonal)
    assert isinstance(build_structure("full"), Full)
    block = build_structure("block:3")
    assert isinstance(block, BlockDiagonal)
    assert block.size == 3


def test_estimators() -> None:
    assert isinstance(build_estimator("exact"), Exact)
    columns = build_estimator("columns:2")
    assert isinstance(columns, Columns)
    assert columns.count == 2


@pytest.mark.parametrize(
    ("text", "kind"),
    [("gaussian", Gaussian), ("bernoulli", Bernoulli), ("bernoulli-logits", BernoulliLogits), ("poisson", Poisson)],
)
def test_likelihoods(text: str, kind: type[Likelihood]) -> None:
    assert type(build_likelihood(text)) is kind


def test_gaussian_takes_its_scale() -> None:
    likelihood = build_likelihood("gaussian:0.25")
    assert isinstance(likelihood, Gaussian)
    assert likelihood.sigma == 0.25


@pytest.mark.parametrize("text", ["", "Diagonal", "block", "block:", "block:0", "block:-1", "block:2.5", "block:²"])
def test_bad_structures(text: str) -> None:
    with pytest.raises(InputError, match=r"structure is .*; expected"):
        build_structure(text)


@pytest.mark.parametrize("text", ["columns", "columns:", "columns:0", "columns:x", "hutchinson"])
def test_bad_estimators(text: str) -> None:
    with pytest.raises(InputError, match=r"estimator is .*; expected"):
        build_estimator(text)


@pytest.mark.parametrize("text", ["gauss", "gaussian:", "gaussian:x", "gaussian:0", "gaussian:-1", "gaussian:nan"])
def test_bad_likelihoods(text: str) -> None:
    with pytest.raises(InputError, match=r"(likelihood|sigma) is .*; expected"):
        build_likelihood(text)


def test_objectives_get_their_settings() -> None:
    grae = build_objective(config(beta=0.3, structure="full", likelihood="poisson", decoder_weight=0.5))
    assert isinstance(grae, GRAE)
    assert isinstance(grae.structure, Full)
    assert isinstance(grae.likelihood, Poisson)
    assert (grae.beta, grae.encoder_weight, grae.decoder_weight) == (0.3, 0.3, 0.5)
    vae = build_objective(config(objective="beta-vae", samples=4, beta=0.3))
    assert isinstance(vae, BetaVAE)
    assert (vae.beta, vae.samples) == (0.3, 4)
    assert isinstance(build_objective(config(objective="taylor")), Taylor)


@pytest.mark.parametrize(
    "changes",
    [
        {"objective": "beta-vae", "estimator": "columns:1"},
        {"objective": "taylor", "encoder_weight": 0.5},
        {"objective": "beta-vae", "decoder_weight": 0.5},
        {"objective": "taylor", "samples": 2},
        {"objective": "grae", "samples": 2},
        {"objective": "grae", "structure": "full", "estimator": "columns:1"},
    ],
)
def test_settings_without_effect_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        build_objective(config(**changes))


@pytest.mark.parametrize("network", ["paper", "mlp", "linear"])
@pytest.mark.parametrize("objective", ["beta-vae", "grae"])
def test_models_have_the_shape_of_the_data(network: str, objective: str) -> None:
    model = build_model(config(network=network, objective=objective, structure="block:2"), (1, 28, 28)).eval()
    assert model.reconstruct(torch.rand(2, 1, 28, 28)).shape == (2, 1, 28, 28)
    assert (model.structure is None) == (objective == "grae")
    assert model.encode(torch.rand(2, 1, 28, 28)).shape == (2, 3)


def test_the_seed_makes_the_weights() -> None:
    states = [build_model(config(seed=seed), (5,)).state_dict() for seed in (1, 1, 2)]
    torch.testing.assert_close(states[0], states[1], rtol=0, atol=0)
    assert not torch.equal(states[0]["mean_head.weight"], states[2]["mean_head.weight"])


@pytest.mark.parametrize(
    ("likelihood", "bounded"),
    [("gaussian", True), ("bernoulli", True), ("bernoulli-logits", False), ("poisson", False)],
)
def test_the_link_belongs_to_the_observation_model(likelihood: str, bounded: bool) -> None:
    model = build_model(config(network="paper", likelihood=likelihood), (1, 28, 28)).eval()
    assert isinstance(list(model.decoder.modules())[-1], torch.nn.Sigmoid) == bounded


@pytest.mark.parametrize(
    ("changes", "shape", "message"),
    [
        ({"latents": 7}, (6,), "latents is 7 but a datum has only 6 numbers"),
        ({"structure": "block:4"}, (6,), "only 3 latents"),
        ({"network": "paper"}, (1, 32, 32), "network is paper"),
        ({"network": "linear", "likelihood": "bernoulli"}, (6,), "use bernoulli-logits"),
        ({"width": 3 / 256}, (6,), "as many features as latents"),
    ],
)
def test_models_that_make_no_sense(changes: dict[str, Any], shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        build_model(config(**changes), shape)


def dataset(values: torch.Tensor) -> Dataset:
    return Dataset("toy", values, values[:2].clone(), {"kind": "standard"})


@pytest.mark.parametrize(
    ("changes", "values", "message"),
    [
        ({"batch_size": 11}, torch.rand(10, 3), "only 10 training data"),
        ({"batch_size": 1, "network": "paper"}, torch.rand(10, 1, 28, 28), "at least 2"),
        ({"batch_size": 2, "likelihood": "bernoulli"}, torch.rand(10, 3) + 0.5, r"outside \[0, 1\]"),
        ({"batch_size": 2, "likelihood": "bernoulli-logits"}, torch.rand(10, 3) - 0.5, r"outside \[0, 1\]"),
        ({"batch_size": 2, "likelihood": "poisson"}, torch.rand(10, 3), "no counts"),
        ({"batch_size": 2, "likelihood": "poisson"}, -torch.ones(10, 3), "no counts"),
        ({"batch_size": 2, "likelihood": "poisson"}, torch.ones(10, 3, dtype=torch.uint8), "pixels"),
    ],
)
def test_data_that_do_not_go_with_the_settings(changes: dict[str, Any], values: torch.Tensor, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_data(config(**changes), dataset(values))


@pytest.mark.parametrize("likelihood", ["gaussian", "bernoulli", "bernoulli-logits"])
def test_pixels_go_with_every_likelihood_on_the_unit_interval(likelihood: str) -> None:
    check_data(config(batch_size=2, likelihood=likelihood), dataset(torch.full((4, 3), 255, dtype=torch.uint8)))
