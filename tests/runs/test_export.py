"""Models on disk."""

import hashlib
import json
import pickle
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

import curvae
from curvae import Autoencoder
from curvae.curvature import Exact
from curvae.errors import InputError
from curvae.likelihoods import Gaussian, LearnedGaussian, Likelihood, Masked
from curvae.objectives import GRAE, BetaVAE
from curvae.posteriors import Full, Structure
from curvae.runs import Run, RunConfig, build_model, load_model, save_model
from curvae.training.latest import latest_model

CONFIGS = [
    RunConfig(data="toy", network="paper", width=0.03, latents=4, objective="beta-vae", structure="full"),
    RunConfig(data="toy", network="mlp", width=0.05, latents=4, objective="grae", structure="full"),
    RunConfig(data="toy", network="linear", latents=4, objective="taylor", precision="64"),
]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.network)
def test_round_trip_gives_identical_outputs(config: RunConfig, tmp_path: Path) -> None:
    model = build_model(config, (1, 28, 28))
    x = torch.rand(5, 1, 28, 28, dtype=next(model.parameters()).dtype)
    model.train()
    model.reconstruct(x)  # moves the running statistics, which are part of the model
    save_model(model, config, (1, 28, 28), tmp_path)
    again = curvae.load(tmp_path)
    model.eval()
    assert not again.training
    assert torch.equal(again.reconstruct(x), model.reconstruct(x))
    samples = [each.sample(3, torch.Generator().manual_seed(0)) for each in (again, model)]
    assert torch.equal(*samples)
    if model.structure is not None:
        assert torch.equal(again.posterior(x).covariance(), model.posterior(x).covariance())


def test_loading_leaves_global_randomness_alone(finished: Run) -> None:
    before = torch.get_rng_state()
    curvae.load(finished.path)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.fixture
def copy(finished: Run, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished.path, tmp_path / "copy"))


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-3] ^= 4
    path.write_bytes(content)


def foreign_weights(path: Path) -> None:
    save_file({"weight": torch.ones(3)}, path)
    describe_anew(path)


def a_layer_less(path: Path) -> None:
    tensors = load_file(path)
    tensors.pop("mean_head.weight")
    save_file(tensors, path)
    describe_anew(path)


def a_pickle(path: Path) -> None:
    path.write_bytes(pickle.dumps({"weight": 1}))
    describe_anew(path)


def describe_anew(path: Path) -> None:
    document = json.loads((path.parent / "model.json").read_text())
    document["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    (path.parent / "model.json").write_text(json.dumps(document))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.unlink(), "does not exist"),
        (lambda path: path.write_bytes(path.read_bytes()[:-100]), "is damaged"),
        (flip_a_bit, "is damaged"),
        (foreign_weights, "does not fit the model"),
        (a_layer_less, "does not fit the model"),
        (a_pickle, "cannot be read"),
    ],
)
def test_damaged_weights(damage: object, message: str, copy: Path) -> None:
    assert callable(damage)
    damage(copy / "model.safetensors")
    with pytest.raises(InputError, match=message):
        curvae.load(copy)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not valid JSON"),
        ('{"format": "curvae-model", "ver', "not valid JSON"),
        ("[]", "expected 'curvae-model'"),
        ('{"format": "onnx"}', "'onnx' document"),
        ('{"format": "curvae-model", "version": 9}', "version 9"),
        ('{"format": "curvae-model", "version": 1, "config": {}}', "lacks shape, sha256"),
    ],
)
def test_damaged_description(text: str, message: str, copy: Path) -> None:
    (copy / "model.json").write_text(text)
    with pytest.raises(InputError, match=message):
        curvae.load(copy)


def test_no_such_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a folder"):
        curvae.load(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"model\.json does not exist"):
        curvae.load(tmp_path)


def test_weights_of_an_observation_model_find_their_place_in_the_model_of_the_function(tmp_path: Path) -> None:
    def build() -> Autoencoder:
        return Autoencoder(nn.Linear(4, 2), nn.Linear(2, 4), latents=2)

    def with_likelihood() -> Autoencoder:
        model = build()
        model.likelihood = LearnedGaussian(torch.ones(4))
        return model

    learned = LearnedGaussian(torch.arange(1.0, 5.0))
    objective = GRAE(0.2, learned)
    curvae.fit(build(), torch.randn(20, 4), objective, steps=1, out=tmp_path / "run", progress=False)
    with pytest.raises(InputError, match="log_sigma. unknown; .* set model.likelihood to one like it"):
        load_model(tmp_path / "run", build)
    again = load_model(tmp_path / "run", with_likelihood)
    assert torch.equal(again.likelihood.log_sigma, learned.log_sigma)


def test_a_builder_that_takes_a_structure_is_not_given_that_of_the_objective(tmp_path: Path) -> None:
    """Of an objective without a name nobody knows whether its models have a posterior: the weights say it."""

    def build(*, structure: Structure | None = None) -> Autoencoder:
        return Autoencoder(nn.Linear(4, 3), nn.Linear(2, 4), latents=2, structure=structure)

    class Own(Exact):
        pass

    x, options = torch.randn(20, 4), {"steps": 2, "checkpoint_every": 1, "progress": False}
    for name, objective in (("grae", GRAE(0.2, estimator=Own())), ("vae", BetaVAE(0.2, Masked(Gaussian())))):
        structure = Full() if name == "vae" else None
        run = curvae.fit(build(structure=structure), x, objective, out=tmp_path / name, **options)
        assert (run.config.objective, run.config.structure) == ("python", "full")
        assert type(load_model(tmp_path / name, build).structure) is type(structure)
        assert type(latest_model(run, build)[0].structure) is type(structure)


def test_a_builder_that_takes_an_observation_model_is_not_given_one_without_a_name(tmp_path: Path) -> None:
    def build(*, likelihood: Likelihood | None = None) -> Autoencoder:
        assert likelihood is None
        return Autoencoder(nn.Linear(4, 2), nn.Linear(2, 4), latents=2)

    def needing(*, likelihood: Likelihood) -> Autoencoder:
        return build()

    class Own(Gaussian):
        pass

    curvae.fit(build(), torch.randn(20, 4), GRAE(0.2, Own()), steps=1, out=tmp_path / "run", progress=False)
    load_model(tmp_path / "run", build)
    with pytest.raises(InputError, match="needing takes a likelihood, but that of the run was handed to curvae.fit"):
        load_model(tmp_path / "run", needing)
