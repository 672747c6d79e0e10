"""The loop's options on the command line, and what is shown of a run that is at work."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from curvae.runs import Run
from curvae.training import progress
from curvae.training.progress import Bar

Curvae = Callable[..., Any]
SMALL = ("--network", "mlp", "--width", "0.02", "--latents", "2", "--batch-size", "8", "--device", "cpu")


@pytest.fixture
def vectors(tmp_path: Path) -> Path:
    np.save(tmp_path / "vectors.npy", np.random.default_rng(0).random((60, 6), dtype=np.float32))
    return tmp_path / "vectors.npy"


def test_options_reach_the_run_and_it_can_be_lengthened(curvae: Curvae, vectors: Path, tmp_path: Path) -> None:
    more = ["--accumulate", 2, "--beta-warmup", 2, "--clip", 1, "--ema", 0.9, "--logger", "csv", "--log-every", 1]
    out = ("--out", tmp_path / "run")
    answer = curvae("train", "--data", vectors, *SMALL, "--epochs", 2, "--early-stop", 9, *more, *out, "--json")
    assert answer.code == 0, answer.stderr
    run = Run.open(tmp_path / "run")
    assert (run.config.steps, run.config.epochs) == (6, None)  # 54 samples, 16 in each step
    chosen = {name: getattr(run.config, name) for name in ("accumulate", "beta_warmup", "clip", "ema", "early_stop")}
    assert chosen == {"accumulate": 2, "beta_warmup": 2, "clip": 1.0, "ema": 0.9, "early_stop": 9}
    assert "held_out/total" in (run.path / "logs" / "csv" / "metrics.csv").read_text().splitlines()[0]
    answer = curvae("train", "--resume", *out, "--epochs", 3, "--json")
    assert (answer.code, answer.json["step"]) == (0, 9)
    answer = curvae("train", "--resume", *out, "--clip", 2)
    assert (answer.code, answer.stderr.count("\n")) == (2, 1)
    assert "clip 2.0 (was 1.0)" in answer.stderr


def test_a_run_that_stops_early_says_so(curvae: Curvae, vectors: Path, tmp_path: Path) -> None:
    settings = ("--steps", 500, "--lr", 0.9, "--checkpoint-every", 1, "--early-stop", 2, "--out", tmp_path / "run")
    answer = curvae("train", "--data", vectors, *SMALL, *settings, "--json")
    assert answer.code == 0
    assert answer.json["finished"]
    assert answer.json["step"] < 500
    assert f"is finished: {answer.json['step']} steps of 500, stopped early" in answer.stderr
    assert json.loads((tmp_path / "run" / "config.json").read_text())["config"]["steps"] == 500


@pytest.mark.usefixtures("as_shipped")
def test_the_bar_fits_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    console = Console(file=io.StringIO(), width=80, force_terminal=True)
    recorder = SimpleNamespace(latest={"step": 1, "total": -12345.678, "parts": {}})
    bar = Bar(console, recorder, 1_000_000)  # type: ignore[arg-type]
    now[0] = 100.0
    assert len("step 999999/1000000 " + 16 * "━" + " " + bar._bar_text(999)) <= 80
    assert bar._bar_text(999).startswith("9.99/s  27.8 h left  total -1.235e+04")


@pytest.mark.usefixtures("as_shipped")
def test_the_whole_time_is_told_once_where_there_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    told = io.StringIO()
    bar = Bar(Console(file=told, width=80), None, 1000)  # type: ignore[arg-type]
    for now[0], step in ((1.0, 10), (6.0, 60), (7.0, 70)):
        bar._estimate(step)
    assert told.getvalue() == "about 94 s to go, 10 steps a second\n"
