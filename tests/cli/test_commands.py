"""What the commands do when all is well, and when training does not end well."""

import inspect
import json
import math
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import pytest
import torch
from PIL import Image

import curvae as package
from curvae.cli.pictures import grid
from curvae.cli.train import train as train_command
from curvae.runs import Run, RunConfig
from curvae.training.noise import step_generator

Curvae = Callable[..., Any]
SMALL = ("--network", "mlp", "--width", "0.02", "--latents", "2", "--steps", "6", "--batch-size", "8")


def test_train_evaluate_sample(curvae: Curvae, vectors: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    trained = curvae("train", "--data", vectors, "--objective", "taylor", "--out", out, *SMALL, "--json")
    assert trained.code == 0
    assert (trained.json["run"], trained.json["step"], trained.json["finished"]) == (str(out), 6, True)
    assert trained.json["last"] == Run.open(out).metrics[-1]

    evaluated = curvae("evaluate", out, "--json", "--limit", "5")
    assert evaluated.code == 0
    assert evaluated.json["data"] == 5
    kept = Run.open(out).evaluation
    assert kept is not None
    measured = evaluated.json
    beside = {name: measured.pop(name) for name in ("active_units", "likelihood")}
    assert measured == {"run": str(out), **kept.to_json()}
    assert beside["likelihood"] == "Gaussian(sigma=1)"
    document = json.loads((out / "evaluation.json").read_text())
    assert {name: document[name] for name in beside} == beside
    assert math.isfinite(evaluated.json["beta_vae"]["mean"])

    sampled = curvae("sample", out, "-n", "7", "--out", tmp_path / "s.npy", "--json")
    assert sampled.json == {
        "run": str(out),
        "out": str(tmp_path / "s.npy"),
        "n": 7,
        "shape": [6],
        "from": "prior",
        "seed": 0,
    }
    assert np.load(tmp_path / "s.npy").shape == (7, 6)


def test_options_reach_the_configuration(curvae: Curvae, vectors: Path, tmp_path: Path) -> None:
    options = {
        "split_seed": 4,
        "damaged": "skip",
        "objective": "grae",
        "structure": "block:2",
        "estimator": "exact",
        "likelihood": "gaussian:0.5",
        "network": "linear",
        "beta": 0.7,
        "encoder_weight": 0.1,
        "decoder_weight": 0.3,
        "curvature": "gauss-newton",
        "orthogonality": 0.2,
        "latents": 3,
        "steps": 4,
        "batch_size": 9,
        "lr": 0.02,
        "seed": 11,
        "precision": "64",
        "device": "cpu",
        "checkpoint_every": 3,
        "log_every": 2,
    }
    arguments = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
    assert curvae("train", "--data", vectors, "--out", tmp_path / "run", *arguments).code == 0
    assert Run.open(tmp_path / "run").config == RunConfig(data=str(vectors), **options)


def test_help_tells_the_true_defaults() -> None:
    """They are written in the help, for the configuration must not be imported to show it."""
    hints = get_type_hints(train_command, include_extras=True)
    for field in fields(RunConfig):
        if field.name == "condition_size":  # which the data say
            continue
        shown = hints[field.name].__metadata__[0].show_default
        if field.name in (
            "data",
            "size",
            "model",
            "init_from",
            "model_set",
            "epochs",
            "clip",
            "logger",
            "labels",
            "drop",
            "condition",
        ):
            continue
        names = {None: "beta", False: f"no-{field.name}"}  # a flag shows the option that is its default
        default = names[field.default] if field.default is None or field.default is False else str(field.default)
        assert shown.partition(";")[0] == default, field.name
    assert set(inspect.signature(train_command).parameters) - {f.name for f in fields(RunConfig)} == {
        "out",
        "config",
        "resume",
        "trust",
        "print_config",
        "as_json",
        "batch_fraction",
        "shared",
    }


def test_signal_leaves_a_line_that_tells_how_to_go_on(
    curvae: Curvae, vectors: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupting(seed: int, step: int, device: torch.device) -> torch.Generator:
        if step == 3:
            os.kill(os.getpid(), signal.SIGINT)
        return step_generator(seed, step, device)

    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr("curvae.training.module.step_generator", interrupting)
        answer = curvae("train", "--data", vectors, "--out", out, *SMALL, "--json")
    assert answer.code == 1
    assert f"stopped by SIGINT after step 4 of 6; continue with: curvae train --resume --out {out}\n" in answer.stderr
    assert answer.json["finished"] is False
    resumed = curvae("train", "--resume", "--out", out)
    assert resumed.code == 0
    assert f"{out} is finished: 6 steps" in resumed.stderr
    again = curvae("train", "--resume", "--out", out, "--json")
    assert (again.code, again.json["step"]) == (0, 6)
    assert "was finished already" in again.stderr


def test_resume_takes_settings_that_agree(curvae: Curvae, run: Path) -> None:
    assert curvae("train", "--resume", "--out", run, "--latents", "3", "--structure", "full").code == 0


def test_divergence_is_code_1_and_one_line(curvae: Curvae, vectors: Path, tmp_path: Path) -> None:
    answer = curvae("train", "--data", vectors, "--out", tmp_path / "run", *SMALL, "--lr", "1e30")
    assert answer.code == 1
    assert answer.stderr.startswith("error: the loss is ")
    assert answer.stderr.count("\n") == 1


def test_data_without_a_finite_objective_are_code_2_and_one_line(curvae: Curvae, tmp_path: Path) -> None:
    np.save(tmp_path / "huge.npy", np.full((60, 6), 1e30, np.float32))
    answer = curvae("train", "--data", tmp_path / "huge.npy", "--out", tmp_path / "run", *SMALL)
    assert answer.code == 2
    assert "before the first step: likelihood is gaussian" in answer.stderr
    assert "huge has features of root mean square up to 1e+30" in answer.stderr
    assert answer.stderr.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_evaluation_table(curvae: Curvae, run: Path) -> None:
    answer = curvae("evaluate", run)
    assert answer.code == 0
    for name in ("β-VAE (2)", "Taylor (7)", "GRAE (12), Full()", "correlation off the diagonal"):
        assert name in answer.stdout


def test_same_seed_same_evaluation(curvae: Curvae, run: Path) -> None:
    one, again, other = (curvae("evaluate", run, "--seed", seed, "--json").json for seed in (1, 1, 2))
    assert one == again
    assert one["beta_vae"] != other["beta_vae"]
    assert one["taylor"] == other["taylor"]


def test_sample_formats_hold_the_same_values(curvae: Curvae, run: Path, tmp_path: Path) -> None:
    for suffix in ("npy", "npz", "png"):
        assert curvae("sample", run, "-n", "5", "--seed", "3", "--out", tmp_path / f"s.{suffix}").code == 0
    values = np.load(tmp_path / "s.npy")
    assert values.shape == (5, 1, 8, 8)
    np.testing.assert_array_equal(np.load(tmp_path / "s.npz")["samples"], values)
    with torch.no_grad():
        oracle = package.load(run).sample(5, torch.Generator().manual_seed(3))
    np.testing.assert_array_equal(values, oracle.numpy())
    picture = np.asarray(Image.open(tmp_path / "s.png"))
    assert picture.shape == (18, 28)  # three by two pictures of 8 pixels, 2 apart
    np.testing.assert_array_equal(picture[:8, 10:18], (values[1, 0].clip(0, 1) * 255).round())


def test_an_existing_picture_is_replaced_whole(curvae: Curvae, run: Path, tmp_path: Path) -> None:
    path = tmp_path / "s.png"
    path.write_text("an older picture")
    assert curvae("sample", run, "--out", path).code == 0
    assert Image.open(path).size == (78, 78)
    assert {entry.name for entry in tmp_path.iterdir()} == {"run", "s.png"}


def test_grid_in_colour() -> None:
    picture = grid(np.stack([np.full((3, 2, 2), value) for value in (0.0, 0.5, 2.0)]))
    assert picture.shape == (6, 6, 3)
    assert picture[0, 0].tolist() == [0, 0, 0]
    assert picture[0, 5].tolist() == [128, 128, 128]
    assert picture[5, 0].tolist() == [255, 255, 255]


def test_report(curvae: Curvae, run: Path, tmp_path: Path) -> None:
    out = tmp_path / "report.html"
    answer = curvae("report", run, "--out", out, "--json")
    assert answer.code == 0, answer.stderr
    assert answer.json == {"runs": [str(run)], "out": str(out)}
    assert "<html" in out.read_text(encoding="utf-8")


def test_reproduce_calls_the_experiment(curvae: Curvae, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from curvae.reproduce import uniqueness

    calls = []
    monkeypatch.setattr(uniqueness, "reproduce", lambda *arguments: calls.append(arguments))
    answer = curvae("reproduce", "fig6", "--scale", "smoke", "--out", tmp_path / "out", "--json")
    assert calls == [("fig6", "smoke", tmp_path / "out")]
    assert answer.json == {"figure": "fig6", "scale": "smoke", "out": str(tmp_path / "out")}


def test_every_experiment_of_the_table_exists() -> None:
    from importlib import import_module

    from curvae.reproduce import FIGURES

    for module in FIGURES.values():
        assert callable(import_module(module).reproduce)


def test_version(curvae: Curvae) -> None:
    answer = curvae("--version")
    assert (answer.code, answer.stdout) == (0, f"curvae {package.__version__}\n")


def test_help_does_not_import_torch() -> None:
    program = "import sys; from curvae.cli import app; print('torch' in sys.modules, 'numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False False\n"


def test_unexpected_errors_are_code_1(run: Path) -> None:
    """With their traceback: those are for us."""
    program = (
        "import sys, curvae.runs.folder as folder\n"
        "def broken(*_): raise ZeroDivisionError('a defect')\n"
        "folder.load_model = broken\n"
        "from curvae.cli import main\n"
        f"sys.argv = ['curvae', 'sample', {str(run)!r}]\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=run)
    assert done.returncode == 1
    assert "ZeroDivisionError: a defect" in done.stderr


def test_names_of_the_package() -> None:
    assert package.Autoencoder.__name__ == "Autoencoder"
    assert {"Autoencoder", "curvature", "likelihoods", "load", "objectives", "posteriors"} <= set(dir(package))
    assert all(getattr(package, name) is not None for name in package.__all__)
    with pytest.raises(AttributeError, match="nothing_of_the_kind"):
        _ = package.nothing_of_the_kind


def test_config_file_is_json_with_provenance(run: Path) -> None:
    document = json.loads((run / "config.json").read_text())
    assert set(document) == {"format", "version", "config", "data", "environment"}
