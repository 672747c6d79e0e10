"""Sweeps: shared, resumed, spread over processes, refused."""

import dataclasses
import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
import torch
from filelock import FileLock
from rich.console import Console

from curvae.errors import InputError
from curvae.reproduce.sweep import launch
from curvae.reproduce.sweep.launch import Cluster, Local, Task
from curvae.reproduce.sweep.mnist import milestones
from curvae.reproduce.sweep.sweep import _shown, folder, last_step, sweep
from curvae.reproduce.sweep.training import TrainingSettings
from curvae.runs import Run, RunConfig, load_model
from curvae.training import Outcome, TrainingError, snapshot, train
from curvae.training.noise import step_generator


class Counted:
    """Trains as ``Local`` does, and remembers what it was given."""

    def __init__(self) -> None:
        self.tasks: list[Task] = []

    def train(self, tasks: list[Task]) -> None:
        self.tasks.extend(tasks)
        Local().train(tasks)


def same_weights(left: Run, right: Run) -> None:
    torch.testing.assert_close(left.model().state_dict(), right.model().state_dict(), rtol=0, atol=0)


def test_a_configuration_is_trained_once_and_shared(toy: TrainingSettings, tmp_path: Path) -> None:
    first, second = toy.beta_vae(0, 0.2, 4, 2), toy.autoencoder(0, 4)
    launcher = Counted()
    runs = sweep([first, second, first], tmp_path / "cache", launcher)
    assert [task.config for task in launcher.tasks] == [first, second]
    assert all(run.finished for run in runs.values())
    again = sweep([second, toy.beta_vae(0, 0.4, 4, 2), first], tmp_path / "cache", launcher)
    assert [task.config.beta for task in launcher.tasks[2:]] == [0.4]
    assert again[first].path == runs[first].path


def test_snapshots_lie_at_the_milestones_and_are_the_model_of_a_shorter_run(
    toy: TrainingSettings, tmp_path: Path
) -> None:
    config = toy.beta_vae(0, 0.2, 4, 2)
    assert milestones(config) == (2, 6)
    run = sweep([config], tmp_path / "cache", Local(), keep=milestones)[config]
    shorter = train(dataclasses.replace(config, steps=6), tmp_path / "shorter").run
    kept = load_model(snapshot(run.path, 6))
    torch.testing.assert_close(kept.state_dict(), shorter.model().state_dict(), rtol=0, atol=0)
    with pytest.raises(AssertionError):
        same_weights(run, shorter)


def test_an_interrupted_sweep_goes_on_to_the_same_weights(
    toy: TrainingSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configs = [toy.beta_vae(0, 0.2, 4, b) for b in (1, 2)]
    whole = sweep(configs, tmp_path / "whole", Local())

    def stop(seed: int, step: int, device: torch.device) -> torch.Generator:
        if step == 12:
            raise KeyboardInterrupt
        return step_generator(seed, step, device)

    with monkeypatch.context() as patch:
        patch.setattr("curvae.training.module.step_generator", stop)
        with pytest.raises((KeyboardInterrupt, TrainingError, SystemExit)):
            sweep(configs, tmp_path / "cache", Local())
    stopped = Run.open(folder(tmp_path / "cache", configs[0]))
    assert not stopped.finished
    assert stopped.checkpoint.exists()
    with pytest.raises(InputError, match=r"no config.json|not a folder"):
        Run.open(folder(tmp_path / "cache", configs[1]))
    resumed = sweep(configs, tmp_path / "cache", Local())
    for config in configs:
        same_weights(resumed[config], whole[config])


def test_a_run_that_another_command_trains_is_waited_for(
    toy: TrainingSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = toy.beta_vae(0, 0.2, 4, 2)
    path = folder(tmp_path, config)
    path.mkdir()
    other, waits = FileLock(path / ".lock"), list[float]()

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 2:
            other.release()

    monkeypatch.setattr(launch, "time", SimpleNamespace(sleep=sleep))
    with other:
        run = sweep([config], tmp_path, Local())[config]
    assert run.finished
    assert len(waits) == 2
    assert capsys.readouterr().err == f"note: {path} is being trained by another process, which is waited for\n"


def test_a_run_that_another_command_begins_meanwhile_is_gone_on_with(
    toy: TrainingSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, resumes = toy.beta_vae(0, 0.2, 4, 2), list[bool]()

    def begun(config: RunConfig, out: Path, *, resume: bool, keep: tuple[int, ...]) -> Outcome:
        resumes.append(resume)
        if not resume:
            train(config, out)
        return train(config, out, resume=resume, keep=keep)

    monkeypatch.setattr(launch, "train", begun)
    monkeypatch.setattr(launch, "_PAUSE", 0)
    assert sweep([config], tmp_path, Local())[config].finished
    assert resumes == [False, True]
    bad = dataclasses.replace(config, data=str(tmp_path / "nothing.npy"))
    with pytest.raises(InputError, match="does not exist"):
        sweep([bad], tmp_path, Local())
    assert resumes == [False, True, False]


def test_what_is_refused_while_a_run_is_trained_is_not_tried_again(
    toy: TrainingSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resumes = list[bool]()

    def refused(config: RunConfig, out: Path, *, resume: bool, keep: tuple[int, ...]) -> Outcome:
        resumes.append(resume)
        train(config, out)
        raise InputError("x has a NaN")

    monkeypatch.setattr(launch, "train", refused)
    with pytest.raises(InputError, match="x has a NaN"):
        sweep([toy.beta_vae(0, 0.2, 4, 2)], tmp_path, Local())
    assert resumes == [False]


def test_a_run_that_another_command_trained_meanwhile_has_the_snapshots(toy: TrainingSettings, tmp_path: Path) -> None:
    class Other:
        def train(self, tasks: Sequence[Task]) -> None:
            for task in tasks:
                train(task.config, task.path)

    with pytest.raises(InputError, match="lacks its snapshot of step 2; remove it to train it again"):
        sweep([toy.beta_vae(0, 0.2, 4, 2)], tmp_path, Other(), keep=milestones)


def test_what_is_noted_of_data_is_not_noted_again_for_each_run(
    toy: TrainingSettings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "images.npy", np.zeros((40, 4, 4), np.uint8) + np.arange(40, dtype=np.uint8)[:, None, None])
    config = dataclasses.replace(toy.beta_vae(0, 0.2, 4, 2), data=str(tmp_path / "images.npy"), steps=1)
    train(config, tmp_path / "one")
    assert "are taken as images" in capsys.readouterr().err
    sweep([config], tmp_path / "cache", Local())
    assert capsys.readouterr().err == ""


def test_a_run_that_diverges_is_named_in_the_words_of_the_sweep(toy: TrainingSettings, tmp_path: Path) -> None:
    configs = [toy.beta_vae(0, 0.2, 4, 2), dataclasses.replace(toy, lr=1e30).beta_vae(0, 0.2, 4, 2)]
    named = folder(tmp_path, configs[1]).name
    with pytest.raises(TrainingError, match=rf"^{named}: the loss is (nan|inf) at step \d+; lower lr "):
        sweep(configs, tmp_path, Local())


def test_every_choice_has_a_folder_of_its_own(toy: TrainingSettings) -> None:
    base = toy.beta_vae(0, 0.2, 4, 2)
    changed = [
        dataclasses.replace(base, **change) for change in ({"seed": 1}, {"beta": 0.3}, {"lr": 0.1}, {"steps": 9})
    ]
    assert len({folder(Path(), config) for config in [base, *changed]}) == 5
    assert folder(Path(), base) == folder(Path(), dataclasses.replace(base))


@pytest.mark.parametrize(
    ("network", "name"),
    [
        ("paper", "beta-vae-block2-beta0.4-d12-seed1-d33f88f7e9"),
        ("auto", "beta-vae-block2-beta0.4-d12-seed1-d33f88f7e9"),
        ("mlp", "beta-vae-block2-beta0.4-d12-seed1-dad0391493"),
    ],
)
def test_runs_keep_the_places_that_they_had_in_version_01(network: str, name: str) -> None:
    config = TrainingSettings(600, 0.125, seeds=(1,), network=network).beta_vae(1, 0.4, 12, 2)
    assert folder(Path("runs"), config) == Path("runs") / name


def test_a_foreign_or_incomplete_folder_is_refused(toy: TrainingSettings, tmp_path: Path) -> None:
    config = toy.beta_vae(0, 0.2, 4, 2)
    run = sweep([config], tmp_path, Local(), keep=milestones)[config]
    (snapshot(run.path, 6) / "model.json").unlink()
    with pytest.raises(InputError, match="lacks its snapshot of step 6"):
        sweep([config], tmp_path, Local(), keep=milestones)
    assert sweep([config], tmp_path, Local())[config].finished  # who needs no snapshots takes it
    other = dataclasses.replace(config, seed=5)
    run.path.rename(folder(tmp_path, other))
    with pytest.raises(InputError, match="another configuration .*seed"):
        sweep([other], tmp_path, Local())


@pytest.mark.slow
def test_processes_give_the_weights_of_one_process(toy: TrainingSettings, tmp_path: Path) -> None:
    configs = [toy.beta_vae(seed, 0.2, 4, 1) for seed in (0, 1)]
    one = sweep(configs, tmp_path / "one", Local())
    two = sweep(configs, tmp_path / "two", Local(workers=2))
    for config in configs:
        for name, value in one[config].model().state_dict().items():
            torch.testing.assert_close(two[config].model().state_dict()[name], value)


@pytest.mark.slow
def test_an_error_in_a_process_arrives_here(toy: TrainingSettings, tmp_path: Path) -> None:
    bad = dataclasses.replace(toy.beta_vae(0, 0.2, 4, 1), batch_size=1000)
    with pytest.raises(InputError, match="batch_size is 1000"):
        sweep([bad, toy.beta_vae(1, 0.2, 4, 1)], tmp_path / "cache", Local(workers=2))


@pytest.mark.slow
def test_jobs_through_submitit(toy: TrainingSettings, tmp_path: Path) -> None:
    pytest.importorskip("submitit")
    config = toy.beta_vae(0, 0.2, 4, 1)
    cluster = Cluster(tmp_path / "jobs", {"timeout_min": 2}, cluster="local")
    assert sweep([config], tmp_path / "cache", cluster)[config].finished
    assert list((tmp_path / "jobs").iterdir())
    bad = dataclasses.replace(config, batch_size=1000)
    with pytest.raises(TrainingError, match="job .* failed: .*batch_size is 1000"):
        sweep([bad], tmp_path / "cache", cluster)
    with pytest.raises(InputError, match="--cluster"):
        Cluster(tmp_path / "jobs", {"no_such_setting": 1}, cluster="local").train([])


def test_without_submitit_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(InputError, match=r'pip install "curvae\[cluster\]"'):
        Cluster(tmp_path, {}).train([])


def test_the_table_shows_how_far_each_run_is(tmp_path: Path) -> None:
    for name, text in (("under-way", '{"step": 10}\n{"step": 30}\n{"st'), ("finished", '{"step": 100}\n')):
        (tmp_path / name).mkdir()
        (tmp_path / name / "metrics.jsonl").write_text(text)
    (tmp_path / "finished" / "model.json").write_text("{}")
    assert last_step(tmp_path / "under-way") == 30
    assert last_step(tmp_path / "waiting") == 0
    stream = io.StringIO()
    names = ("waiting", "finished", "under-way")
    with _shown(dict.fromkeys((tmp_path / name for name in names), 100), Console(file=stream, width=120)):
        pass
    assert stream.getvalue().endswith("┘\n")  # what is printed next has a line of its own
    lines = stream.getvalue().splitlines()
    assert "1 of 3 runs" in lines[0]
    rows = [line for line in lines if "/100" in line]
    assert [next(n for n in names if n in row) for row in rows] == ["under-way", "waiting", "finished"]
    assert "30/100" in rows[0]


@pytest.mark.parametrize(("error", "end"), [(KeyboardInterrupt, "┘\n"), (TrainingError, "┘\n"), (InputError, "")])
def test_an_error_after_the_table_begins_a_line_of_its_own(
    error: type[BaseException], end: str, tmp_path: Path
) -> None:
    stream = io.StringIO()
    with pytest.raises(error), _shown({tmp_path / "run": 3}, Console(file=stream, width=120)):
        raise error
    assert stream.getvalue()[-2:] == end


def test_configuration_from_json_round_trips(toy: TrainingSettings) -> None:
    config = toy.autoencoder(0, 4)
    assert RunConfig.from_json(config.to_json()) == config


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_workers_end_with_their_parent_and_leave_checkpoints(
    number: int, toy: TrainingSettings, tmp_path: Path
) -> None:
    configs = [dataclasses.replace(toy.beta_vae(seed, 0.2, 4, 1), steps=500_000) for seed in range(4)]
    program = f"""
import signal
from pathlib import Path
from curvae.reproduce.sweep.launch import Local, Task
from curvae.reproduce.sweep.sweep import folder
from curvae.runs import RunConfig
if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    configs = [RunConfig.from_json(values) for values in {[config.to_json() for config in configs]!r}]
    Local(workers=2).train([Task(config, folder(Path({str(tmp_path)!r}), config)) for config in configs])
"""
    (tmp_path / "main.py").write_text(program)
    parent = subprocess.Popen([sys.executable, tmp_path / "main.py"], stderr=subprocess.DEVNULL)
    paths = [folder(tmp_path, config) for config in configs]
    wait_until(lambda: all(last_step(path) > 0 for path in paths[:2]))
    workers = children(parent.pid)
    assert len(workers) >= 2
    parent.send_signal(number)
    parent.wait(90)
    wait_until(lambda: not any(alive(worker) for worker in workers))
    reached = [last_step(path) for path in paths[:2]]
    assert all(0 < step < 500_000 for step in reached)
    assert all((path / "checkpoints" / "last.ckpt").exists() for path in paths[:2])


def wait_until(happened: Callable[[], bool]) -> None:
    begun = time.monotonic()
    while not happened():
        assert time.monotonic() - begun < 90
        time.sleep(0.2)


def children(parent: int) -> list[int]:
    """Linux's own list of a process's children."""
    return [int(text) for text in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]


def alive(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


class Killed(Task):
    """One whose process is gone, as one that the system stops for want of memory."""

    def __call__(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
def test_a_killed_worker_is_one_line(toy: TrainingSettings, tmp_path: Path) -> None:
    tasks = [Killed(toy.beta_vae(seed, 0.2, 4, 1), tmp_path) for seed in (0, 1)]
    with pytest.raises(TrainingError, match="a worker process was killed, .*; the same command goes on"):
        Local(workers=2).train(tasks)


def test_an_interruption_while_jobs_are_submitted_cancels_them(tmp_path: Path) -> None:
    class Job:
        cancelled = False

        def done(self) -> bool:
            return False

        def cancel(self) -> None:
            self.cancelled = True

    class Executor:
        jobs: ClassVar[list[Job]] = []

        def submit(self, task: Task) -> Job:
            if self.jobs:
                raise KeyboardInterrupt
            self.jobs.append(Job())
            return self.jobs[0]

    class Busy(Cluster):
        def _executor(self) -> Executor:
            return Executor()

    task = Task(RunConfig(data="mnist", objective="beta-vae"), tmp_path)
    with pytest.raises(KeyboardInterrupt):
        Busy(tmp_path, {}).train([task, task])
    assert [job.cancelled for job in Executor.jobs] == [True]


@pytest.mark.slow
@pytest.mark.parametrize(("number", "running"), [(signal.SIGTERM, True), (signal.SIGINT, False)])
def test_an_interrupted_command_ends_its_workers_and_says_that_it_goes_on(
    number: int, running: bool, tmp_path: Path
) -> None:
    """SIGTERM to the command alone, in the middle of training; Ctrl-C to all, while the workers start."""
    np.save(tmp_path / "toy.npy", np.random.default_rng(0).random((80, 12), dtype=np.float32))
    changes = ("network=mlp", "width=0.05", "batch_size=8", "steps=500000")
    places = {"--data": "toy.npy", "--out": "out", "--runs": "runs"}
    options = ["--scale=smoke", "--workers=2", *(f"{name}={tmp_path / place}" for name, place in places.items())]
    command = [sys.executable, "-m", "curvae", "reproduce", "fig7", *options]
    command += [word for change in changes for word in ("--set", change)]
    parent = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    wait_until(lambda: len(children(parent.pid)) > 2)  # two workers, and what keeps count of semaphores
    wait_until(lambda: not running or sum(last_step(path) > 0 for path in (tmp_path / "runs").glob("*")) == 2)
    workers = children(parent.pid)
    send = os.kill if running else os.killpg
    send(parent.pid, number)
    said, _ = parent.communicate(timeout=90)
    assert parent.returncode == 1
    assert said.endswith("error: fig7 was interrupted; the same command goes on where it stopped\n")
    assert "Traceback" not in said
    wait_until(lambda: not any(alive(worker) for worker in workers))
    begun = list((tmp_path / "runs").glob("*/checkpoints/last.ckpt"))
    assert len(begun) == 2 * running  # none of the runs that waited for a worker
