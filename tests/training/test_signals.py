"""Real processes that are sent signals: a closed terminal, an impatient person."""

import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from curvae.runs import Run, RunConfig
from curvae.training import TrainingError, train
from curvae.training.checkpoint import Checkpoint
from curvae.training.interrupts import Interrupts

Configure = Callable[..., RunConfig]


def command(config: RunConfig, out: Path) -> list[str]:
    options = [f"--{name.replace('_', '-')}={value}" for name, value in config.chosen().items()]
    return [sys.executable, "-m", "curvae", "train", f"--out={out}", *options]


def wait_for_training(out: Path, process: subprocess.Popen[Any]) -> None:
    deadline = time.monotonic() + 120
    while not (out / "metrics.jsonl").exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_two_signals_shortly_after_another_end_with_a_checkpoint_and_a_line(
    configure: Configure, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    config = configure(steps=10**6, checkpoint_every=10**6, log_every=1)
    process = subprocess.Popen(command(config, out), stderr=subprocess.PIPE, text=True)
    wait_for_training(out, process)
    process.send_signal(signal.SIGINT)
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=120)
    assert process.returncode == 1
    assert Checkpoint.load(Run.open(out).checkpoint).step > 0
    assert "Traceback" not in told
    assert "stopped by SIGINT" in told


@pytest.mark.slow
def test_a_closed_terminal_saves(configure: Configure, tmp_path: Path) -> None:
    """The terminal is gone before the last lines are written to it."""
    out = tmp_path / "run"
    config = configure(steps=10**6, checkpoint_every=10**6, log_every=1)
    ours, theirs = pty.openpty()
    own = (
        "import fcntl, os, signal, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
        "signal.signal(signal.SIGHUP, signal.SIG_DFL); "  # which nohup before the tests would have ignored
        "os.execv(sys.argv[1], sys.argv[1:])"
    )
    arguments = [sys.executable, "-c", own, *command(config, out)]
    process = subprocess.Popen(arguments, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True)
    os.close(theirs)
    os.set_blocking(ours, False)
    deadline = time.monotonic() + 120
    while not (out / "metrics.jsonl").exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        try:
            os.read(ours, 2**16)
        except BlockingIOError:
            time.sleep(0.01)
    os.close(ours)
    process.wait(timeout=120)
    assert Checkpoint.load(Run.open(out).checkpoint).step > 0


def send(*numbers: int) -> None:
    for number in numbers:
        os.kill(os.getpid(), number)


@pytest.mark.slow
def test_signals_while_the_checkpoint_is_written(
    configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = Checkpoint.save

    def interrupted(self: Checkpoint, path: Path) -> None:
        monkeypatch.setattr("curvae.training.interrupts._IMPATIENCE", 0.0)
        send(signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
        save(self, path)
        send(signal.SIGINT)

    monkeypatch.setattr(Checkpoint, "save", interrupted)
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    outcome = train(configure(steps=30, checkpoint_every=10), tmp_path / "run")
    assert outcome.stopped_by == "SIGINT"
    assert outcome.step == Checkpoint.load(outcome.run.checkpoint).step == 10
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == before


@pytest.mark.slow
def test_signals_after_the_last_step_let_the_model_be_written(
    configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from curvae.training import engine

    save_model = engine.save_model

    def interrupted(*arguments: Any) -> None:
        send(signal.SIGINT, signal.SIGINT)
        save_model(*arguments)

    monkeypatch.setattr(engine, "save_model", interrupted)
    outcome = train(configure(), tmp_path / "run")
    assert (outcome.finished, outcome.stopped_by) == (True, "SIGINT")
    assert outcome.run.finished


@pytest.mark.slow
def test_a_long_step_is_given_up_at_a_second_signal(
    configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from curvae.training.noise import step_generator

    def waited(seed: int, step: int, device: Any) -> Any:
        if step == 15:
            send(signal.SIGINT, signal.SIGINT)  # an echo
            monkeypatch.setattr("curvae.training.interrupts._IMPATIENCE", 0.0)
            send(signal.SIGINT)
        return step_generator(seed, step, device)

    monkeypatch.setattr("curvae.training.module.step_generator", waited)
    with pytest.raises(TrainingError, match=r"second SIGINT, in the middle of a step; .*last\.ckpt keeps step 10$"):
        train(configure(), tmp_path / "run")


def test_an_ignored_hangup_stays_ignored() -> None:
    """As nohup wants it."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Interrupts() as interrupts:
            send(signal.SIGHUP)
            assert interrupts.received is None
            send(signal.SIGTERM)
            assert interrupts.received == "SIGTERM"
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
