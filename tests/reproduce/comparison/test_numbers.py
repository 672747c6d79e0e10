"""The comparison: its variants, what an evaluator measures, and its summary."""

import dataclasses

import pytest
import torch

from curvae.likelihoods import Gaussian
from curvae.objectives import GRAE, Taylor
from curvae.reproduce.comparison.config import REFERENCE, Comparison, variants
from curvae.reproduce.comparison.numbers import MEASURES, ModelEvaluator, runs, summarise
from curvae.reproduce.comparison.picture import plot
from curvae.reproduce.comparison.section import table
from curvae.reproduce.sweep.launch import Local
from curvae.reproduce.sweep.sweep import sweep
from curvae.reproduce.sweep.training import TrainingSettings
from curvae.runs import build_objective


@pytest.fixture
def config(toy: TrainingSettings) -> Comparison:
    training = dataclasses.replace(toy, seeds=(0, 1), steps=60)
    return Comparison(
        training, points=8, draws=4, samples=20, generated=10, lite0_images=10, classifier_steps=1, latents=3
    )


def test_all_variants_differ_in_the_objective_alone(config: Comparison) -> None:
    config = dataclasses.replace(
        config, models=(*config.models, "vae-antithetic", "sixteenth", "full-sixteenth", "secant")
    )
    configs = runs(config)
    assert len(set(configs.values())) == len(configs) == 2 * len(variants(config))
    reference = configs[REFERENCE, 0]
    allowed = {"objective", "structure", "estimator", "orthogonality", "samples", "antithetic"}
    for (_, seed), one in configs.items():
        assert set(one.differences(reference)) <= allowed | ({"seed"} if seed else set())
        build_objective(one)


@pytest.mark.slow
def test_an_evaluator_measures_the_objectives_of_a_trained_model(config: Comparison, tmp_path) -> None:
    configs = {name: run for (name, seed), run in runs(config).items() if seed == 0}
    wanted = [configs[REFERENCE], configs["GRAE, full"]]
    trained = sweep(wanted, tmp_path, Local())
    data = trained[wanted[0]].dataset().test
    evaluator = ModelEvaluator(data, config, {}, torch.device("cpu"))
    noisy, plain = (evaluator(trained[run]) for run in wanted)
    assert set(noisy) == set(MEASURES)
    assert noisy["frechet"] is noisy["frechet_lite0"] is None
    model = trained[wanted[0]].model()
    with torch.no_grad():
        assert noisy["taylor"] == pytest.approx(float(Taylor(0.2)(model, data).mean()), rel=1e-5)
        assert noisy["grae_full"] == pytest.approx(float(GRAE(0.2, Gaussian())(model, data).mean()), rel=1e-5)
        assert noisy["mse"] == pytest.approx(float((model.reconstruct(data) - data).square().mean()), rel=1e-5)
    # a GRAE's own best posterior has no gap
    assert plain["taylor"] == pytest.approx(plain["grae_full"], rel=1e-5)
    assert evaluator(trained[wanted[0]]) == noisy


def made_up(config: Comparison) -> dict[tuple[str, int], dict[str, float | None]]:
    found: dict[tuple[str, int], dict[str, float | None]] = {}
    for index, name in enumerate(variants(config)):
        for seed in config.training.seeds:
            values: dict[str, float | None] = dict.fromkeys(MEASURES, 10.0 + seed - 0.5 * index * (1 + seed))
            found[name, seed] = values | {"frechet_lite0": None}
    return found


def test_differences_are_paired_by_seed(config: Comparison) -> None:
    summary = summarise(made_up(config), config)
    second = summary["models"]["β-VAE, full"]["mse"]
    assert second["values"] == [9.5, 10.0]
    assert second["difference"]["value"] == pytest.approx(-0.75)
    assert summary["models"][REFERENCE]["nll"]["difference"]["value"] == 0
    assert summary["models"]["GRAE, full"]["frechet_lite0"]["mean"] is None
    assert set(MEASURES) - set(summary["measures"]) == {"frechet_lite0"}
    text = table(summary)
    assert len(text.splitlines()) == 2 + len(variants(config))
    assert "9.75 (-0.75)" in text
    assert MEASURES["frechet"] in text
    assert MEASURES["frechet_lite0"] not in text
    figure = plot(summary)
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == list(variants(config))
    titles = [axes.get_title() for axes in figure.axes]
    assert MEASURES["frechet"].replace(" (", "\n(") in titles
    assert not any("Lite0" in title for title in titles)
