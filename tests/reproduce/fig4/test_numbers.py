"""What an evaluator measures, against the models' own functions."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from curvae import Autoencoder
from curvae.data import as_float, load
from curvae.likelihoods import Gaussian
from curvae.metrics import evaluate
from curvae.metrics.frechet import FrechetDistance
from curvae.metrics.sharpness import sharpness
from curvae.posteriors import Diagonal
from curvae.reproduce.fig4.config import CONFIGS, Quality, ablation_runs, ablations
from curvae.reproduce.fig4.numbers import MEASURES, SampleEvaluator, ablation, against_beta, answer, sentence
from curvae.reproduce.sweep.faces import reconstruction_error, sweep_runs
from curvae.reproduce.sweep.frechet import FrechetReference
from curvae.reproduce.sweep.launch import Local
from curvae.reproduce.sweep.sweep import sweep
from curvae.reproduce.sweep.training import TrainingSettings
from curvae.runs import build_objective


class Pixels(nn.Flatten):
    num_features = 192


@pytest.fixture
def config(images) -> Quality:
    training = TrainingSettings(20, 0.05, (0, 1), str(images), "mlp", batch_size=8, device="cpu", size=8)
    return Quality(
        training, (0.1, 1.0), 3, images=8, points=8, objective_points=4, codes=30, components=2, ablation=("k4",)
    )


def test_an_evaluator_measures_the_finished_model(config: Quality, tmp_path) -> None:
    wanted = sweep_runs(config.training, config.betas, config.latents, (0,))
    runs = sweep(wanted.values(), tmp_path, Local())
    dataset = load(config.training.data, size=8)
    reference = FrechetReference(FrechetDistance(Pixels(), [as_float(dataset.test)]), 8, {}, {8: 0.0})
    evaluator = SampleEvaluator(dataset, config, reference, torch.device("cpu"))
    for key in wanted.values():
        run = runs[key]
        found, model = evaluator(run), run.model()
        assert set(found) == set(MEASURES)
        x = as_float(dataset.test[:8])
        z = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            samples = model.decode(z).clamp(0, 1)
            assert found["mse"] == pytest.approx(float((model.reconstruct(x) - x).square().mean()), rel=1e-4)
        assert found["frechet_prior"] == pytest.approx(reference.distance([samples]), rel=1e-4, abs=1e-6)
        assert found["sharpness_prior"] == pytest.approx(float(sharpness(samples).mean()), rel=1e-4)
        drawn = model.reconstruct(as_float(dataset.train[:8])).detach().clamp(0, 1)
        assert found["frechet_reconstruction"] == pytest.approx(reference.distance([drawn]), rel=1e-4, abs=1e-6)
        own = evaluate(model, dataset.test[:4], key.beta, Gaussian(), Diagonal(), generator=torch.Generator())
        assert found["grae"] == pytest.approx(own.grae.mean, rel=1e-4)
        assert found["grae_full"] == pytest.approx(own.grae_full.mean, rel=1e-4)
        assert found["grae_full"] <= found["grae"] + 1e-4
        assert found["frechet_mixture"] > 0
    assert evaluator(run) == found  # the same noise again


def test_reconstruction_error_is_of_pixels_as_numbers() -> None:
    class Zero(nn.Module):
        def forward(self, z: torch.Tensor) -> torch.Tensor:
            return torch.zeros(len(z), 1, 2, 2)

    model = Autoencoder(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), Zero(), latents=2)
    pixels = torch.randint(0, 256, (150, 1, 2, 2), dtype=torch.uint8)
    expected = float((pixels.double() / 255).square().mean())
    assert reconstruction_error(model, pixels) == pytest.approx(expected, rel=1e-6)


def test_both_models_share_everything_but_the_objective(config: Quality) -> None:
    wanted = sweep_runs(config.training, config.betas, config.latents, config.training.seeds)
    assert len(set(wanted.values())) == 2 * 2 * 2
    for (name, beta, seed), run in wanted.items():
        assert (run.beta, run.seed, run.latents, run.size) == (beta, seed, 3, 8)
        assert set(run.differences(wanted["β-VAE", beta, seed])) <= {"objective", "estimator"}
        build_objective(run)
        assert (run.objective == "beta-vae") == (name == "β-VAE")


def test_ablations_differ_in_one_thing_each() -> None:
    config = CONFIGS["fig4", "paper"]
    assert isinstance(config, Quality)
    config = dataclasses.replace(config, ablation=tuple(ablations(0.1)))
    runs = ablation_runs(config)
    allowed = {"estimator", "structure", "decoder_weight", "network"}
    for (name, seed), run in runs.items():
        build_objective(run)
        base = runs["β-VAE" if name.startswith("β-VAE") else "GRAE≈", seed]
        changed = set(run.differences(base))
        assert changed <= allowed
        assert bool(changed) == (name not in ("β-VAE", "GRAE≈"))
        assert len(changed - {"estimator"} if "full" in name else changed) <= 1
    # those that are in the figure already are not trained twice
    again = sweep_runs(config.training, (config.ablation_beta,), config.latents, (0,))
    assert runs["GRAE≈", 0] == again["GRAE≈", 0.1, 0]
    assert not ablation_runs(dataclasses.replace(config, ablation=("none",)))


def test_summaries_have_every_seed_and_paired_differences(config: Quality) -> None:
    rng = np.random.default_rng()
    places = sweep_runs(config.training, config.betas, config.latents, config.training.seeds)
    found = {place: {key: float(rng.random()) for key in MEASURES} for place in places}
    made = against_beta(found)
    for k, beta in enumerate(config.betas):
        values = [[found[name, beta, seed]["mse"] for seed in (0, 1)] for name in ("β-VAE", "GRAE≈")]
        assert made["models"]["β-VAE"]["mse"][k]["values"] == values[0]
        assert made["models"]["GRAE≈"]["mse"][k]["sd"] == pytest.approx(np.std(values[1], ddof=1))
        difference = np.array(values[1]) - values[0]
        assert made["differences"]["mse"][k]["value"] == pytest.approx(difference.mean())
        half = 12.7062 * difference.std(ddof=1) / np.sqrt(2)  # Student's quantile with one degree of freedom
        assert made["differences"]["mse"][k]["high"] - difference.mean() == pytest.approx(half, rel=1e-4)
    varied = {(name, seed): {key: float(rng.random()) for key in MEASURES} for name, seed in ablation_runs(config)}
    changed = ablation(varied, 0.1)
    assert changed["seeds"] == [0, 1]
    expected = np.mean([varied["GRAE≈, four columns", s]["mse"] - varied["GRAE≈", s]["mse"] for s in (0, 1)])
    assert changed["models"]["GRAE≈, four columns"]["mse"]["difference"]["value"] == pytest.approx(expected)


def test_one_seed_has_no_answer() -> None:
    found = answer(np.array([1.0]), np.array([2.0]))
    assert found == {"gap": 1.0, "spread": None, "ratio": None, "within": None}
    assert sentence([found], [0.1]) == "no answer: one seed has no spread"
    far = answer(np.array([5.0, 5.2]), np.array([1.0, 1.2]))
    assert far["ratio"] == pytest.approx(4 / np.sqrt(0.02))
    assert sentence([far], [0.1]) == "within the spread of the seeds at 0 of 1 β: no at 0.1"
