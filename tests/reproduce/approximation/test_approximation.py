"""The measurement of (6), against torch.func and hand-made decoders."""

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import hessian, jacrev

from curvae import Autoencoder
from curvae.errors import InputError
from curvae.likelihoods import BernoulliLogits, Gaussian
from curvae.posteriors import Diagonal
from curvae.reproduce import approximation
from curvae.reproduce.approximation import CONFIGS, ApproximationConfig, Observation, plot, reproduce, run
from curvae.reproduce.approximation.numbers import load_rows, measure, save_rows


@pytest.fixture
def config(tmp_path: Path) -> ApproximationConfig:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 1, 6, 6), dtype=np.uint8)
    np.save(tmp_path / "pixels.npy", pixels)
    return dataclasses.replace(
        CONFIGS["approximation", "smoke"], data=str(tmp_path / "pixels.npy"), batch_size=8, points=4
    )


class Square(nn.Module):
    """g(z) = z², whose second derivative is 2: H = −(4z² + 2(z² − x))."""

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return z.square()


def test_6_is_exact_for_piecewise_linear_decoders_with_the_link_outside_and_only_then(
    config: ApproximationConfig,
) -> None:
    rows = run(config)
    assert len(rows) == 2 * 12
    for row in rows:
        exact = row["network"] != "elu" and "sigmoid" not in row["observation"]
        assert (row["error"]["mean"] < 1e-10) == exact, row
        assert (abs(row["taylor_difference"]["mean"]) < 1e-10) == exact, row
        if row["closed_difference"] is not None:
            assert (abs(row["closed_difference"]["mean"]) < 1e-10) == exact, row


@pytest.mark.slow
def test_training_moves_the_model_and_a_seed_repeats_it(config: ApproximationConfig) -> None:
    config = dataclasses.replace(config, activations=("elu",))
    first, again = run(config), run(config)
    assert first == again
    before, after = first[:2]
    assert (before["trained"], after["trained"]) == (False, True)
    assert before["error"]["mean"] != after["error"]["mean"]


def test_numbers_equal_dense_algebra(float64: None) -> None:
    beta, likelihood = 0.7, BernoulliLogits()
    decoder = nn.Sequential(nn.Linear(2, 6), nn.Tanh(), nn.Linear(6, 4))
    model = Autoencoder(nn.Linear(4, 3), decoder, latents=2, structure=Diagonal())
    x = torch.rand(5, 4)
    found = measure(model, x, Observation("", likelihood, sigmoid=False, beta=beta))
    q = model.posterior(x)
    errors, fourth, difference = [], [], []
    for h, sigma, kl, sample in zip(q.mean.detach(), q.covariance().detach(), q.kl().detach(), x, strict=True):

        def log_p(z: torch.Tensor, sample: torch.Tensor = sample) -> torch.Tensor:
            return (
                sample * nn.functional.logsigmoid(decoder(z)) + (1 - sample) * nn.functional.logsigmoid(-decoder(z))
            ).sum()

        exact, jacobian, s = hessian(log_p)(h), jacrev(decoder)(h), decoder(h).sigmoid()
        first = -jacobian.mT @ torch.diag(s * (1 - s)) @ jacobian
        errors.append(float(((exact - first).norm() / exact.norm()).detach()))
        fourth.append(float((-log_p(h) - 0.5 * (exact @ sigma).trace() + beta * kl).detach()))
        difference.append(float((0.5 * ((exact - first) @ sigma).trace()).detach()))
    for name, oracle in (("error", errors), ("taylor_exact", fourth), ("taylor_difference", difference)):
        assert found[name]["mean"] == pytest.approx(np.mean(oracle), rel=1e-9), name
        assert found[name]["se"] == pytest.approx(np.std(oracle, ddof=1) / math.sqrt(5), rel=1e-9), name


def test_where_the_closed_form_is_missing_is_counted_and_left_out(float64: None) -> None:
    model = Autoencoder(nn.Linear(2, 3), Square(), latents=2, structure=Diagonal())
    with torch.no_grad():
        model.mean_head.weight.zero_()
        model.mean_head.bias.fill_(0.5)
    beta = 1.0
    x = torch.tensor([[0.0, 0.0], [0.5, 0.5], [9.0, 9.0], [9.0, 0.0]])  # −H = 1 + 0.5 − 2x
    found = measure(model, x, Observation("", Gaussian(), sigmoid=False, beta=beta))
    assert found["missing"] == 0.5
    oracle = [
        0.5 * 2 * (0.25 - v) ** 2 + 0.5 * beta * 2 * 0.25 + 0.5 * beta * 2 * math.log(1 + (1.5 - 2 * v) / beta)
        for v in (0.0, 0.5)
    ]
    assert found["closed_exact"]["mean"] == pytest.approx(np.mean(oracle))
    shift = [math.log(2) - math.log(1 + 1.5 - 2 * v) for v in (0.0, 0.5)]
    assert found["closed_difference"]["mean"] == pytest.approx(np.mean(shift))
    nowhere = measure(model, x[2:], Observation("", Gaussian(), sigmoid=False, beta=beta))
    assert nowhere["missing"] == 1
    assert nowhere["closed_exact"] is None
    assert nowhere["closed_difference"] is None


def test_reproduce_writes_a_document_and_a_small_figure(
    config: ApproximationConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = dataclasses.replace(config, activations=("relu",))
    monkeypatch.setattr(approximation, "CONFIGS", {("approximation", "smoke"): small})
    reproduce("approximation", "smoke", tmp_path / "out")
    document = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert document["config"]["scale"] == document["scale"] == "smoke"
    assert document["figure"] == "approximation"
    assert len(document["rows"]) == 8
    assert set(document["environment"]) == {"commit", "curvae", "torch", "python", "device"}
    picture = (tmp_path / "out" / "approximation.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    assert len(picture) < 300_000


@pytest.mark.slow
def test_an_interrupted_run_goes_on_to_the_same_rows(config: ApproximationConfig, tmp_path: Path) -> None:
    config = dataclasses.replace(config, activations=("elu",))
    whole = run(config)
    path = tmp_path / "rows.json"
    assert load_rows(path, config) == ()
    save_rows(path, config, whole[:4], {})
    trained: list[int] = []
    result = run(config, load_rows(path, config), lambda rows: trained.append(len(rows)))
    assert trained == [6, 8]
    assert result == whole


def test_rows_of_another_experiment_or_damaged_ones_are_refused(config: ApproximationConfig, tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    save_rows(path, config, (), {})
    with pytest.raises(InputError, match="another experiment"):
        load_rows(path, dataclasses.replace(config, steps=4))
    document = json.loads(path.read_text())
    path.write_text(json.dumps({**document, "rows": [{"network": "elu"}]}))
    with pytest.raises(InputError, match="damaged"):
        load_rows(path, config)


def test_the_figure_has_a_mark_for_every_row_and_panel(config: ApproximationConfig) -> None:
    config = dataclasses.replace(config, activations=("relu",))
    rows = run(config)
    figure = plot(config, rows)
    labels = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert len(labels) == 4
    assert all(label.endswith("relu") for label in labels)
    assert [len(axes.containers) for axes in figure.axes] == [len(rows)] * 3


def test_paper_scale_and_quick_scale_include_the_papers_network() -> None:
    for scale in (CONFIGS["approximation", "quick"], CONFIGS["approximation", "paper"]):
        assert scale.paper_width is not None
        assert scale.steps >= 1000


def test_unknown_names_are_refused(tmp_path: Path) -> None:
    for name, scale in (("fig1", "smoke"), ("approximation", "huge")):
        with pytest.raises(InputError, match="expected approximation at smoke, quick, overnight, paper"):
            reproduce(name, scale, tmp_path)


def test_a_persons_own_picture_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "approximation.png").write_bytes(b"mine")
    with pytest.raises(InputError, match="no summary.json says that it is one"):
        reproduce("approximation", "smoke", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["approximation.png"]
