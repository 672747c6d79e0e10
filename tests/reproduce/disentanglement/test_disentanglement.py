"""The figure at smoke scale, and what it refuses."""

import json
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import scipy.stats
import torch
from torch import nn

from curvae import Autoencoder
from curvae.errors import InputError
from curvae.reproduce.disentanglement import reproduce
from curvae.reproduce.disentanglement.config import CONFIGS
from curvae.reproduce.disentanglement.numbers import MEASURES, Known, measure
from curvae.reproduce.disentanglement.scores import summarise
from curvae.runs import Run, RunConfig


@pytest.mark.slow
def test_smoke(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CURVAE_CACHE", str(tmp_path / "cache"))
    reproduce("disentanglement", "smoke", tmp_path / "out", runs=tmp_path / "runs")
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["runs"] == 6
    assert set(summary["models"]) == {"β-VAE, diagonal", "GRAE, diagonal", "GRAE, full"}
    assert set(summary["control"]) == {"β-VAE, diagonal", "GRAE, diagonal"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"summary.json", "table.md", "disentanglement.png"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"models": "vae"}, "--set models has 'vae'; expected any of vae-diagonal"),
        ({"predictor": "trees"}, "--set predictor is 'trees'; expected lasso or boosting"),
        ({"data": "toy.npy"}, "data is '.*toy.npy', whose factors are not known; expected sprites, tilted-sprites or"),
        ({"control": "mnist"}, "control is 'mnist', whose factors are not known; expected sprites, tilted-sprites or"),
    ],
)
def test_bad_settings(changes: dict[str, str], message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        reproduce("disentanglement", "smoke", tmp_path / "out", runs=tmp_path / "runs", changes=changes)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"points": "20"}, "there are 20 samples; expected at least 10 to train on and 10 to hold out"),
        ({"control": "tilted-sprites:700"}, "700' with 70 held-out samples of .* and the data have 80 .* control=none"),
        ({"data": "avatars:800"}, "factors, and the data have 80 held-out samples of .* factors; expected as many"),
    ],
)
def test_what_cannot_be_compared_is_refused_before_anything_is_trained(
    changes: dict[str, str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CURVAE_CACHE", str(tmp_path / "cache"))
    state = torch.get_rng_state()
    with pytest.raises(InputError, match=message):
        reproduce("disentanglement", "smoke", tmp_path / "out", runs=tmp_path / "runs", changes=changes)
    assert not (tmp_path / "runs").exists()
    assert torch.equal(torch.get_rng_state(), state)


def _linear(weight: torch.Tensor) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    layer.weight.data = weight
    return layer


def test_columns_of_collapsed_latents_are_not_compared() -> None:
    data, columns = torch.randn(60, 3), torch.randn(3, 3)
    factors = torch.arange(60).reshape(60, 1) % 3
    config = replace(CONFIGS["disentanglement", "smoke"], jacobians=20)

    def found(scale: tuple[float, float, float]) -> dict[str, float | None]:
        model = Autoencoder(_linear(torch.diag(torch.tensor(scale))), _linear(columns), latents=3)
        run = Mock(spec=Run, model=lambda: model, config=RunConfig(data="sprites", likelihood="gaussian"))
        return measure(run, Known(data, factors, ()), config, torch.device("cpu"))

    both = found((1.0, 1.0, 0.01))
    expected = torch.cosine_similarity(columns[:, 0], columns[:, 1], dim=0).abs().item()
    assert both["active"] == 2
    assert both["cosine"] == pytest.approx(expected, rel=1e-4)
    one = found((1.0, 0.01, 0.01))
    assert (one["active"], one["cosine"]) == (1, None)


def test_a_model_without_a_cosine_is_left_out() -> None:
    generator = np.random.default_rng()
    config = replace(CONFIGS["disentanglement", "smoke"], betas=(0.3, 3.0), control="none")
    config = replace(config, training=replace(config.training, seeds=(0, 1)))
    names = (*config.models, "autoencoder")
    found = {
        (name, beta, seed): dict(zip(MEASURES, generator.random(len(MEASURES)).tolist(), strict=True))
        for name in names
        for beta in ((None,) if name == "autoencoder" else config.betas)
        for seed in (0, 1)
    }
    found["vae-diagonal", 0.3, 1] = {**found["vae-diagonal", 0.3, 1], "cosine": None}
    for seed in (0, 1):
        found["vae-diagonal", 3.0, seed] = {**found["vae-diagonal", 3.0, seed], "cosine": None}
    summary = summarise(found, {}, config)
    low, high = summary["models"]["β-VAE, diagonal"]["cosine"]
    alone = found["vae-diagonal", 0.3, 0]["cosine"]
    assert low == {"values": [alone, None], "value": alone, "low": None, "high": None}
    assert high == {"values": [None, None], "value": None, "low": None, "high": None}
    kept = [one for (name, _, _), one in found.items() if name != "autoencoder" and one["cosine"] is not None]
    expected = scipy.stats.spearmanr([one["cosine"] for one in kept], [one["mig"] for one in kept]).statistic
    assert summary["orthogonality"]["mig"]["value"] == pytest.approx(expected)
