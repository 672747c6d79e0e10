"""A run that was stopped, killed or crashed ends with the bits of one that was not."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from curvae.errors import InputError
from curvae.runs import Run, RunConfig
from curvae.training import train
from curvae.training.checkpoint import Checkpoint
from curvae.training.noise import step_generator

Configure = Callable[..., RunConfig]


class Crash(BaseException):
    """As sudden as a kill, as far as Python can be."""


def at_step(monkeypatch: pytest.MonkeyPatch, step: int, act: Callable[[], None]) -> None:
    """Do something in the middle of a step, once."""
    done = []

    def instead(seed: int, number: int, device: torch.device) -> torch.Generator:
        if number == step and not done:
            done.append(number)
            act()
        return step_generator(seed, number, device)

    monkeypatch.setattr("curvae.training.module.step_generator", instead)


def crash() -> None:
    raise Crash


def assert_same(left: Run, right: Run) -> None:
    """Weights, buffers, Adam's state and every logged number are the same; only the times differ."""
    states = [Checkpoint.load(run.checkpoint) for run in (left, right)]
    assert states[0].step == states[1].step
    for name in ("model", "optimizer"):
        torch.testing.assert_close(getattr(states[0], name), getattr(states[1], name), rtol=0, atol=0)
    torch.testing.assert_close(left.model().state_dict(), right.model().state_dict(), rtol=0, atol=0)
    logs = [[{k: v for k, v in line.items() if k != "seconds"} for line in run.metrics] for run in (left, right)]
    assert logs[0] == logs[1]


CASES: list[Any] = [
    {"objective": "grae", "estimator": "columns:1"},
    {"objective": "grae", "structure": "full"},
    {"objective": "beta-vae", "structure": "block:2"},
    {"objective": "taylor", "precision": "64"},
    {"objective": "beta-vae", "network": "paper"},
    pytest.param({"objective": "beta-vae", "network": "paper", "precision": "bf16"}, marks=pytest.mark.slow),
    pytest.param({"objective": "grae", "estimator": "columns:1", "network": "paper"}, marks=pytest.mark.slow),
]
SHORT = {"steps": 16, "checkpoint_every": 6, "log_every": 4}


@pytest.mark.cases(1)
@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(case.values()))
def test_crashed_and_resumed_is_the_unbroken_run(
    case: dict[str, Any], configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configure(**case, **SHORT)
    unbroken = train(config, tmp_path / "unbroken").run
    step = random.randrange(1, config.steps)
    at_step(monkeypatch, step, crash)
    with pytest.raises(Crash):
        train(config, tmp_path / "crashed")
    crashed = Run.open(tmp_path / "crashed")
    assert not crashed.finished
    outcome = train(config, crashed.path, resume=True)
    assert outcome.finished
    assert outcome.done_before == step // config.checkpoint_every * config.checkpoint_every
    assert_same(unbroken, outcome.run)


@pytest.mark.cases(1)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_stops_after_the_step_and_saves(
    number: signal.Signals, configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configure()
    before = signal.getsignal(number)
    at_step(monkeypatch, 16, lambda: os.kill(os.getpid(), number))
    stopped = train(config, tmp_path / "stopped")
    assert not stopped.finished
    assert stopped.stopped_by == number.name
    assert stopped.step == Checkpoint.load(stopped.run.checkpoint).step == 17
    assert signal.getsignal(number) == before
    resumed = train(config, tmp_path / "stopped", resume=True)
    assert (resumed.done_before, resumed.step) == (17, 30)
    assert_same(resumed.run, train(config, tmp_path / "unbroken").run)


@pytest.mark.slow
@pytest.mark.parametrize("network", ["paper", pytest.param("mlp", marks=pytest.mark.slow)])
def test_killed_process_and_resumed_is_the_unbroken_run(network: str, configure: Configure, tmp_path: Path) -> None:
    """SIGKILL at a random moment of a real process, in the middle of whatever it does."""
    config = configure(network=network, steps=100_000, log_every=1, checkpoint_every=2)
    out = tmp_path / "killed"
    options = [f"--{name.replace('_', '-')}={value}" for name, value in config.chosen().items()]
    process = subprocess.Popen([sys.executable, "-m", "curvae", "train", f"--out={out}", *options])
    wait_for_lines(out / "metrics.jsonl", random.randrange(3, 30), process)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    # the process was to be killed wherever it was; now let the run end soon, in both tellings
    shorten(out, 10 + Checkpoint.load(Run.open(out).checkpoint).step)
    resumed = train(Run.open(out).config, out, resume=True)
    assert resumed.done_before > 0
    assert [line["step"] for line in resumed.run.metrics] == list(range(1, resumed.step + 1))
    unbroken = train(resumed.run.config, tmp_path / "unbroken")
    assert_same(resumed.run, unbroken.run)


def wait_for_lines(path: Path, count: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while not path.exists() or path.read_text().count("\n") < count:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.002)


def shorten(out: Path, steps: int) -> None:
    document = json.loads((out / "config.json").read_text())
    document["config"]["steps"] = steps
    (out / "config.json").write_text(json.dumps(document))
    last = Checkpoint.load(Run.open(out).checkpoint)
    Checkpoint(Run.open(out).config, last.digest, last.step, last.seconds, last.model, last.optimizer).save(
        Run.open(out).checkpoint
    )


def test_a_half_written_line_is_dropped(configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = configure()
    at_step(monkeypatch, 25, crash)
    with pytest.raises(Crash):
        train(config, tmp_path / "run")
    with (tmp_path / "run" / "metrics.jsonl").open("a") as file:
        file.write('{"step": 25, "sec')
    run = train(config, tmp_path / "run", resume=True).run
    assert [line["step"] for line in run.metrics] == [5, 10, 15, 20, 25, 30]


def test_killed_between_last_step_and_export(configure: Configure, tmp_path: Path) -> None:
    config = configure()
    run = train(config, tmp_path / "run").run
    weights = run.model().state_dict()
    (run.path / "model.json").unlink()
    (run.path / "model.safetensors").unlink()
    assert train(config, run.path, resume=True).finished
    torch.testing.assert_close(run.model().state_dict(), weights, rtol=0, atol=0)


def test_finished_run_is_left_as_it_is(configure: Configure, tmp_path: Path) -> None:
    config = configure()
    train(config, tmp_path / "run")
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    outcome = train(config, tmp_path / "run", resume=True)
    assert (outcome.finished, outcome.done_before) == (True, 30)
    assert {path: path.read_bytes() for path in before} == before


def test_resume_refuses_another_configuration(configure: Configure, tmp_path: Path) -> None:
    train(configure(), tmp_path / "run")
    with pytest.raises(InputError, match=r"beta 0\.7 \(was 0\.2\), seed 1 \(was 0\)"):
        train(configure(beta=0.7, seed=1), tmp_path / "run", resume=True)


def test_resume_refuses_other_data(configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = configure()
    at_step(monkeypatch, 15, crash)
    with pytest.raises(Crash):
        train(config, tmp_path / "run")
    np.save(config.data, np.load(config.data) * 0.5)
    with pytest.raises(InputError, match="has changed since"):
        train(config, tmp_path / "run", resume=True)


def test_resume_refuses_a_checkpoint_of_another_run(
    configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = train(configure(seed=5), tmp_path / "other").run
    at_step(monkeypatch, 15, crash)
    with pytest.raises(Crash):
        train(configure(), tmp_path / "run")
    (tmp_path / "run" / "checkpoints" / "last.ckpt").write_bytes(other.checkpoint.read_bytes())
    with pytest.raises(InputError, match=r"belongs to another run \(it differs in seed\)"):
        train(configure(), tmp_path / "run", resume=True)


def test_what_a_killed_writer_left_is_cleared(
    configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_step(monkeypatch, 15, crash)
    with pytest.raises(Crash):
        train(configure(), tmp_path / "run")
    leftover = tmp_path / "run" / "checkpoints" / ".last-abc123.ckpt"
    leftover.write_bytes(b"half a checkpoint")
    train(configure(), tmp_path / "run", resume=True)
    assert not leftover.exists()


@pytest.mark.parametrize("likelihood", ["gaussian:learned", "mixed:continuous:6"])
def test_killed_before_the_first_checkpoint(likelihood: str, configure: Configure, tmp_path: Path) -> None:
    config = configure(likelihood=likelihood, steps=4)
    whole = train(config, tmp_path / "whole").run
    train(config, tmp_path / "run")
    for path in (tmp_path / "run").iterdir():
        if path.name == "checkpoints":
            shutil.rmtree(path)
        elif path.name != "config.json":
            path.unlink()
    again = train(config, tmp_path / "run", resume=True).run
    torch.testing.assert_close(again.model().state_dict(), whole.model().state_dict(), rtol=0, atol=0)


def test_a_learned_noise_begins_at_the_spread_of_the_data(configure: Configure, tmp_path: Path) -> None:
    for scale in (0.01, 30.0):
        config = configure(likelihood="gaussian:learned", steps=1, lr=1e-9, beta=1.0)
        np.save(config.data, scale * (5 + np.random.default_rng(0).normal(size=(80, 6)).astype("float32")))
        run = train(config, tmp_path / f"run-{scale}").run
        train_half = run.dataset().train.numpy()
        expected = np.sqrt(train_half.astype(float).var(0).mean())
        assert run.model().likelihood.sigma.item() == pytest.approx(expected, rel=1e-4)
