"""Every name that a part of an objective has on the command line: trained, stopped, resumed, evaluated, sampled."""

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from curvae.posteriors import logdet
from curvae.report.subjects import open_subjects
from curvae.runs import Run
from curvae.training.checkpoint import Checkpoint
from curvae.training.noise import step_generator

Curvae = Callable[..., Any]
SMALL = [
    "--network",
    "mlp",
    "--width",
    "0.02",
    "--latents",
    "3",
    "--steps",
    "3",
    "--batch-size",
    "8",
    "--checkpoint-every",
    "2",
    "--log-every",
    "1",
]
# every part at least once; further combinations are slow
QUICK = [
    "--structure banded:1",
    "--structure shared:banded:1 --objective taylor",
    "--structure full --estimator lanczos:2:3",
    "--structure block:2 --estimator trace:2",
    "--objective rae --estimator columns:2 --decoder-weight 0.5",
    "--structure full --curvature hessian --beta 5",
    "--orthogonality 0.5 --estimator columns:2",
    "--likelihood student-t:4:0.2 --structure full",
    "--likelihood negative-binomial:2",
    "--likelihood gaussian:learned --structure full --estimator lanczos:2 --precision bf16",
]
FURTHER = [
    "--structure banded:2 --objective beta-vae",
    "--structure shared",
    "--structure shared:diagonal --objective beta-vae",
    "--structure full --estimator lanczos",
    "--objective rae",
    "--objective taylor --curvature hessian",
    "--orthogonality 0.5 --structure banded:1",
    "--likelihood laplace:0.1",
    "--likelihood continuous-bernoulli --objective beta-vae",
    "--likelihood gaussian:learned",
    "--likelihood gaussian:learned --objective beta-vae --precision 64",
    "--objective beta-vae --samples 2 --antithetic",
    "--objective taylor --estimator secants:1:central",
]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Counts that pass for numbers in [0, 1] as well."""
    path = tmp_path / "binary.npy"
    np.save(path, np.random.default_rng(0).integers(0, 2, (60, 6)).astype(np.float32))
    return path


def stop_at(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    done = []

    def interrupting(seed: int, number: int, device: torch.device) -> torch.Generator:
        if number == step and not done:
            done.append(number)
            os.kill(os.getpid(), signal.SIGINT)
        return step_generator(seed, number, device)

    monkeypatch.setattr("curvae.training.module.step_generator", interrupting)


@pytest.mark.cases(4)
@pytest.mark.parametrize("choice", [*QUICK, *(pytest.param(choice, marks=pytest.mark.slow) for choice in FURTHER)])
def test_choices(choice: str, curvae: Curvae, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ("train", "--data", data, *SMALL, *choice.split(), "--out")
    trained = curvae(*arguments, tmp_path / "run", "--json")
    assert trained.code == 0, trained.stderr
    assert np.isfinite(list(trained.json["last"]["parts"].values())).all()

    stop_at(1, monkeypatch)
    assert curvae(*arguments, tmp_path / "stopped").code == 1
    assert curvae("train", "--resume", "--out", tmp_path / "stopped").code == 0
    runs = [Run.open(tmp_path / name) for name in ("run", "stopped")]
    states = [Checkpoint.load(run.checkpoint) for run in runs]
    for name in ("model", "optimizer"):
        torch.testing.assert_close(getattr(states[0], name), getattr(states[1], name), rtol=0, atol=0)
    torch.testing.assert_close(runs[0].model().state_dict(), runs[1].model().state_dict(), rtol=0, atol=0)

    measured = curvae("evaluate", runs[0].path, "--nll", 5, "--json")
    assert measured.code == 0, measured.stderr
    numbers = [value["mean"] for value in measured.json.values() if isinstance(value, dict) and "mean" in value]
    assert len(numbers) > 10
    assert np.isfinite(numbers).all()
    for source in ("prior", "mixture:2"):
        sampled = curvae("sample", runs[0].path, "-n", 9, "--from", source, "--out", tmp_path / "s.npy")
        assert sampled.code == 0, sampled.stderr
        values = np.load(tmp_path / "s.npy")
        assert values.shape == (9, 6)
        assert np.isfinite(values).all()


@pytest.mark.parametrize(
    "choice",
    [
        "--likelihood gaussian:learned",
        pytest.param("--objective rae", marks=pytest.mark.slow),
        pytest.param("--structure shared", marks=pytest.mark.slow),
    ],
)
def test_a_report_of_them(choice: str, curvae: Curvae, data: Path, tmp_path: Path) -> None:
    assert curvae("train", "--data", data, *SMALL, *choice.split(), "--out", tmp_path / "run").code == 0
    assert curvae("evaluate", tmp_path / "run").code == 0
    answer = curvae("report", tmp_path / "run", "--out", tmp_path / "report.html")
    assert answer.code == 0, answer.stderr


def test_a_learned_scale_is_trained_and_kept(curvae: Curvae, data: Path, tmp_path: Path) -> None:
    """σ begins at the data's spread, and goes up: the networks are farther from the data than their mean at first."""
    arguments = ("--likelihood", "gaussian:learned", "--lr", "0.01", "--out", tmp_path / "run")
    assert curvae("train", "--data", data, *SMALL, *arguments).code == 0
    run = Run.open(tmp_path / "run")
    name = "likelihood.log_sigma"
    learned = float(run.model().state_dict()[name])
    x = run.dataset().train
    begun = 0.5 * float(x.double().var(0, correction=0).mean().log())
    assert learned == pytest.approx(begun + 0.03, abs=2e-3)  # three steps of Adam are at most three times its rate
    checkpoint = Checkpoint.load(run.checkpoint)
    assert float(checkpoint.model[name]) == learned
    assert len(checkpoint.optimizer["state"]) == len(list(run.model().parameters()))
    evaluated = curvae("evaluate", run.path, "--json").json
    assert evaluated["likelihood"] == f"LearnedGaussian(sigma={np.exp(learned):g})"
    (subject,) = open_subjects([run.path])
    assert subject.view is not None
    assert repr(subject.view.likelihood) == evaluated["likelihood"]  # the report takes it too
    x = run.dataset().test
    with torch.no_grad():
        squares = (run.model().reconstruct(x) - x).square().sum(1).mean()
    assert evaluated["reconstruction"]["mean"] == pytest.approx(
        float(squares / 2) * np.exp(-2 * learned) + 6 * learned, rel=1e-5
    )


def test_an_objective_that_ceases_to_exist_is_code_1(
    curvae: Curvae, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line, and the last good checkpoint stays."""
    # of I + M/β: before the start, two steps, a look at held-out data, a third step
    eigenvalues = iter([0.5, 0.5, 0.5, 0.5, -0.25])

    def check(_: torch.Tensor, beta: float) -> None:
        logdet.check_spectrum(torch.tensor([(next(eigenvalues) - 1) * beta]), beta)

    monkeypatch.setattr("curvae.objectives.grae.logdet.check_definite", check)
    arguments = ("--data", data, *SMALL, "--curvature", "hessian", "--beta", "5", "--out", tmp_path / "run")
    answer = curvae("train", *arguments)
    assert answer.code == 1
    (line,) = [line for line in answer.stderr.splitlines() if line.startswith("error: ")]
    assert "the objective does not exist at step 3: " in line
    assert "eigenvalue in the batch is -0.25" in line
    assert line.endswith("last.ckpt keeps step 2")


def test_a_run_from_before_these_settings(curvae: Curvae, run: Path, tmp_path: Path) -> None:
    for name in ("config.json", "model.json"):
        document = json.loads((run / name).read_text())
        for key in ("curvature", "orthogonality"):
            del document["config"][key]
        (run / name).write_text(json.dumps(document))
    checkpoint = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    del checkpoint["config"]["curvature"], checkpoint["config"]["orthogonality"], checkpoint["start"]
    torch.save(checkpoint, run / "checkpoints" / "last.ckpt")
    assert curvae("evaluate", run).code == 0
    assert curvae("sample", run, "--out", tmp_path / "s.npy").code == 0
    shutil.copy(run / "model.safetensors", tmp_path / "before.safetensors")
    (run / "model.json").unlink()
    assert curvae("train", "--resume", "--out", run).code == 0
    assert (run / "model.safetensors").read_bytes() == (tmp_path / "before.safetensors").read_bytes()
