"""Likelihood, active units and ex-post sampling on the command line, against what they are by definition."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal
from sklearn.mixture import GaussianMixture

import curvae as package
from curvae.runs import Run

Curvae = Callable[..., Any]
LINEAR = [
    "--network",
    "linear",
    "--latents",
    "2",
    "--steps",
    "60",
    "--lr",
    "0.02",
    "--batch-size",
    "20",
    "--precision",
    "64",
    "--beta",
    "0.3",
]
CASES = {
    "grae": ("--objective grae --structure full", 1.0),
    "rae": ("--objective rae --structure diagonal", 1.0),
    "vae": ("--objective beta-vae --structure full --likelihood gaussian:0.5", 0.5),
    "learned": ("--objective grae --structure shared --likelihood gaussian:learned", None),
}


@pytest.mark.parametrize(
    "case", ["learned", *(pytest.param(case, marks=pytest.mark.slow) for case in CASES if case != "learned")]
)
def test_likelihood_of_a_linear_model(case: str, curvae: Curvae, vectors: Path, tmp_path: Path) -> None:
    r"""Its marginal is $\mathcal N(b,AA^\top+\beta\sigma^2I)$."""
    choice, sigma = CASES[case]
    assert curvae("train", "--data", vectors, *LINEAR, *choice.split(), "--out", tmp_path / "run").code == 0
    run = Run.open(tmp_path / "run")
    model = run.model()
    if sigma is None:
        sigma = math.exp(float(model.state_dict()["likelihood.log_sigma"]))
    with torch.no_grad():
        offset, *columns = model.decode(torch.cat([torch.zeros(1, 2), torch.eye(2)]).double()).numpy()
    weights = np.stack(columns, 1) - offset[:, None]
    covariance = weights @ weights.T + 0.3 * sigma**2 * np.eye(6)
    exact = -multivariate_normal(offset, covariance).logpdf(run.dataset().test.double().numpy()).mean()
    found = curvae("evaluate", run.path, "--nll", "4000", "--json").json["nll"]
    assert found["samples"] == 4000
    assert found["mean"] == pytest.approx(exact, abs=0.02)
    assert found["effective_samples"] > 500
    assert 0 <= found["bias"] < 1e-3


def test_likelihood_of_one_draw(curvae: Curvae, run: Path) -> None:
    """It has no spread between draws; the other numbers do not depend on it."""
    with_nll, without = curvae("evaluate", run, "--nll", 1, "--json").json, curvae("evaluate", run, "--json").json
    nll = with_nll.pop("nll")
    assert nll["bias"] is None
    assert math.isfinite(nll["mean"])
    assert with_nll == without


def test_one_sample_has_a_mean_and_no_error(curvae: Curvae, run: Path) -> None:
    assert curvae("evaluate", run, "--limit", 1, "--nll", 2, "--json").json["nll"]["se"] is None
    assert "± 0" not in curvae("evaluate", run, run, "--limit", 1).stdout
    evaluation = Run.open(run).evaluation
    assert evaluation is not None
    assert evaluation.taylor.se is None


def test_likelihood_in_the_table_and_the_folder(curvae: Curvae, run: Path) -> None:
    answer = curvae("evaluate", run, "--nll", 7)
    assert "−log p(x), 7 draws" in answer.stdout
    assert "effective draws" in answer.stdout
    assert "Gaussian(sigma=0.447214)" in " ".join(answer.stdout.split())
    assert json.loads((run / "evaluation.json").read_text())["nll"]["samples"] == 7
    assert Run.open(run).evaluation is not None


def test_a_model_without_a_likelihood_at_unit_beta(curvae: Curvae, vectors: Path, tmp_path: Path) -> None:
    """A power of Student's t that is no density is refused before anything is measured."""
    small = [
        "--network",
        "linear",
        "--latents",
        "2",
        "--steps",
        "2",
        "--batch-size",
        "8",
        "--likelihood",
        "student-t:1",
        "--beta",
        "3",
    ]
    assert curvae("train", "--data", vectors, *small, "--out", tmp_path / "run").code == 0
    assert curvae("evaluate", tmp_path / "run").code == 0
    kept = (tmp_path / "run" / "evaluation.json").read_bytes()
    answer = curvae("evaluate", tmp_path / "run", "--nll", 4)
    assert (answer.code, answer.stdout) == (2, "")
    assert answer.stderr.startswith("error: StudentT(dof=1, scale=1) has no normalised power")
    assert (tmp_path / "run" / "evaluation.json").read_bytes() == kept


def test_active_units(curvae: Curvae, vectors: Path, tmp_path: Path) -> None:
    assert curvae("train", "--data", vectors, *LINEAR, "--out", tmp_path / "run").code == 0
    run = Run.open(tmp_path / "run")
    with torch.no_grad():
        variance = run.model().encode(run.dataset().test.double()).numpy().var(0, ddof=1)
    found = curvae("evaluate", run.path, "--json").json["active_units"]
    np.testing.assert_allclose(found["variance"], variance, rtol=1e-9)
    assert (found["count"], found["latents"]) == (int((variance > 0.01).sum()), 2)
    assert f"{found['count']} of 2" in curvae("evaluate", run.path).stdout
    assert "active_units" not in curvae("evaluate", run.path, "--limit", 1, "--json").json  # one sample has no variance


SPATIAL = """
from torch import nn
from curvae import Autoencoder

def build(shape):
    return Autoencoder(nn.Conv2d(1, 2, 3, 2, 1), nn.ConvTranspose2d(2, 1, 2, 2), (2, 2, 2))
"""


def test_a_run_with_latents_of_several_axes_is_measured_sampled_and_shown(curvae: Curvae, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.random.default_rng(0).random((30, 1, 4, 4), dtype=np.float32))
    (tmp_path / "maps.py").write_text(SPATIAL)
    run, own = tmp_path / "run", ("--model", f"{tmp_path / 'maps.py'}:build")
    options = ("--estimator", "columns:1", "--steps", 2, "--batch-size", 8)
    assert curvae("train", "--data", tmp_path / "x.npy", *own, *options, "--out", run).code == 0
    assert curvae("evaluate", run, *own, "--json").json["active_units"]["latents"] == 8
    assert "of 8" in curvae("evaluate", run, *own).stdout
    drawn = tmp_path / "s.npy"
    assert curvae("sample", run, *own, "-n", 3, "--from", "mixture:1", "--out", drawn).code == 0
    assert np.load(drawn).shape == (3, 1, 4, 4)
    assert curvae("report", run, *own, "--out", tmp_path / "page.html").code == 0


def test_samples_from_a_mixture(curvae: Curvae, run: Path, tmp_path: Path) -> None:
    out = tmp_path / "s.npy"
    answer = curvae("sample", run, "-n", 400, "--from", "mixture:1", "--out", out, "--json")
    assert (answer.code, answer.json["from"]) == (0, "mixture:1")
    model, data = package.load(run), Run.open(run).dataset().train
    with torch.no_grad():
        codes = model.encode(data).double().numpy()
        # the decoder is all but linear on codes this close: the draws have the mean of the decoded training data
        expected = model.decode(torch.from_numpy(codes).float()).numpy()
    density = GaussianMixture(1).fit(codes)
    values = np.load(out)
    spread = expected.std(0) / np.sqrt(400)
    assert (np.abs(values.mean(0) - expected.mean(0)) < 6 * spread + 1e-4).all()
    ratio = values.std(0).mean() / expected.std(0).mean()
    assert ratio == pytest.approx(1, abs=0.15)
    assert density.covariances_[0].trace() < 1.5  # that is not the prior's spread, 3


def test_samples_from_a_mixture_are_seeded(curvae: Curvae, run: Path, tmp_path: Path) -> None:
    drawn = []
    for seed in (1, 1, 2, 2**63 - 1):
        assert curvae("sample", run, "--from", "mixture:3", "--seed", seed, "--out", tmp_path / "s.npy").code == 0
        drawn.append(np.load(tmp_path / "s.npy"))
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], drawn[2])
