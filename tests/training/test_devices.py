"""Two processes train what one trains, and one of them alone writes."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from lightning.pytorch import Callback
from torch import nn

from curvae import Autoencoder
from curvae.errors import InputError
from curvae.objectives import BetaVAE
from curvae.posteriors import Diagonal
from curvae.runs import Run, RunConfig
from curvae.runs.builder import find_builder
from curvae.training import train
from curvae.training.checkpoint import Checkpoint
from curvae.training.devices import Group
from curvae.training.fit import fit
from curvae.training.launching import Launch
from curvae.training.snapshots import snapshot

Configure = Callable[..., RunConfig]
pytestmark = pytest.mark.timeout(900)  # several processes, perhaps on a busy machine
SCRIPT = Path(__file__).parent / "device_steps.py"
SPEC = importlib.util.spec_from_file_location("device_steps", SCRIPT)
assert SPEC is not None
assert SPEC.loader is not None
steps: ModuleType = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(steps)

OWN = {"model": "build", "objective": "beta-vae", "structure": "diagonal", "network": "auto", "width": 1.0}
RUNS: dict[str, dict[str, Any]] = {
    "columns": {"estimator": "fraction:1/2:columns:1", "batch_size": 7, "beta_warmup": 4, "log_every": 3},
    "conditional": {"condition": "labels", "estimator": "columns:1", "batch_size": 7},
    "own": OWN | {"accumulate": 2, "clip": 0.5, "ema": 0.9, "early_stop": 5, "schedule": "cosine"},
}
"""Trainings by two processes, and by one."""
CLOSE = 1e-7  # Adam makes much of a gradient that is rounding, as of a bias before batch normalisation
# one training without a stop, and in two parts
HALVES = ["unbroken", "half", "whole"]


@dataclass(frozen=True)
class Beside(Launch):
    """Instead of starting a process: one that is there already."""

    store: Any = None

    @contextmanager
    def start(self, devices: int) -> Iterator[Group]:
        """The pair, of which the other process knows the training by its name."""
        group = Group(dist.PrefixStore(self.name, self.store), 0, devices)
        yield group
        group.close()


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """What two processes find: cases, and run folders by name."""
    store = dist.TCPStore("127.0.0.1", 0, 2, is_master=True, wait_for_workers=False)
    names = [*RUNS, *HALVES]
    command = [sys.executable, str(SCRIPT), str(store.port), *names]
    other = subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": "1"})
    folder = tmp_path_factory.mktemp("pair")
    try:
        group = Group(dist.PrefixStore("cases", store), 0, 2)
        group.connect()
        found: dict[str, Any] = {"cases": steps.together(group)}
        group.close()
        for name, options in RUNS.items():
            found[name] = trained(small(folder, **options, devices=2), folder / name, Beside(name, store=store)).path
        config = small(folder, devices=2, network="paper", steps=8, estimator="columns:1")
        found["unbroken"] = trained(config, folder / "unbroken", Beside("unbroken", store=store), keep=(3,)).path
        assert (snapshot(found["unbroken"], 3) / "model.json").exists()  # to which all gave their batch statistics
        stopped = train(config, folder / "whole", launch=Beside("half", store=store), callbacks=[Stop()])
        assert (stopped.step, stopped.stopped_by) == (5, "SIGTERM")
        found["half"] = Path(shutil.copytree(folder / "whole", folder / "half"))
        found["whole"] = trained(config, folder / "whole", Beside("whole", store=store), resume=True).path
        assert other.wait(timeout=60) == 0
        yield found
    finally:
        other.kill()


class Stop(Callback):
    """A signal to one of the processes, between two checkpoints."""

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Once."""
        if pl_module.step == 5:
            os.kill(os.getpid(), signal.SIGTERM)


def small(folder: Path, **options: Any) -> RunConfig:
    """A run of a moment."""
    images = options.get("network") == "paper"
    path = folder / f"{images}.npy"
    if not path.exists():
        shape = (40, 1, 28, 28) if images else (80, 6)
        np.save(path, np.random.default_rng(0).random(shape))
    data = str(path)
    if options.get("condition"):
        x = np.load(path)
        np.savez(folder / "labelled.npz", x=x, labels=np.arange(len(x)) % 3)
        data = f"{folder / 'labelled.npz'}:x"
    values: dict[str, Any] = {
        "data": data, "network": "mlp", "width": 0.02, "latents": 2, "steps": 12, "batch_size": 8, "lr": 0.01,
        "checkpoint_every": 4, "log_every": 2, "device": "cpu", "precision": "64",
    }  # fmt: skip
    return RunConfig(**(values | options))


def trained(config: RunConfig, out: Path, launch: Any = None, resume: bool = False, keep: tuple[int, ...] = ()) -> Run:
    model = steps.build if config.model else None
    return train(config, out, model=model, launch=launch, resume=resume, keep=keep).run


def assert_close(one: Run, other: Run, tolerance: float, build: Any = None) -> None:
    """Weights, Adam's state, the exported model and every number of the log."""
    left, right = (Checkpoint.load(run.checkpoint) for run in (one, other))
    for part in ("step", "model", "optimizer", "average", "best"):
        torch.testing.assert_close(getattr(left, part), getattr(right, part), rtol=tolerance, atol=tolerance)
    lines = [[{k: v for k, v in line.items() if k != "seconds"} for line in run.metrics] for run in (one, other)]
    assert len(lines[0]) == len(lines[1])
    for two in zip(*lines, strict=True):
        torch.testing.assert_close(*two, rtol=tolerance, atol=tolerance)
    build = build or (steps.build if one.config.model else None)
    models = [run.model(build).state_dict() for run in (one, other)]
    torch.testing.assert_close(*models, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("case", list(steps.cases()), ids=", ".join)
def test_two_processes_give_what_one_gives(case: tuple[str, str], pair: dict[str, Any]) -> None:
    alone = steps.found(*case, None)
    assert max(float(gradient.abs().max()) for gradient in alone["gradients"].values()) > 1e-3
    torch.testing.assert_close(pair["cases"][case], alone, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("name", list(RUNS))
def test_a_training_by_two_is_that_by_one(name: str, pair: dict[str, Any], tmp_path: Path) -> None:
    together = Run.open(pair[name])
    alone = trained(small(pair[name].parent, **RUNS[name]), tmp_path / "alone")
    assert (together.config.devices, alone.config.devices) == (2, 1)
    assert_close(together, alone, CLOSE)


def test_a_run_goes_on_by_two_and_by_one(pair: dict[str, Any], tmp_path: Path) -> None:
    """By as many as before to the same bits."""
    unbroken, whole = Run.open(pair["unbroken"]), Run.open(pair["whole"])
    assert_close(unbroken, whole, 0.0)
    config = small(pair["whole"].parent, network="paper", steps=8, estimator="columns:1")
    assert_close(unbroken, trained(config, tmp_path / "alone"), CLOSE)
    later = trained(config, pair["half"], resume=True)
    assert [change["to"] for change in later.history] == [{"devices": 1}]
    assert_close(unbroken, later, CLOSE)


class Own(BetaVAE):
    """Might look at the whole batch."""


def _scripted(shape: tuple[int, ...]) -> Autoencoder:
    encoder, decoder = nn.Linear(*shape, 2), nn.Linear(2, *shape)
    return Autoencoder(torch.jit.trace(encoder, torch.zeros(1, *shape)), decoder, 2, Diagonal(), features=2)


@pytest.mark.parametrize(
    ("options", "objective", "message"),
    [
        ({"devices": 9}, None, "batch_size is 8 but devices is 9; expected at least one sample of each"),
        ({"devices": 2, "compile": True}, None, "devices is 2 and compile is true; compiled networks are for one"),
        ({"devices": 2}, Own(0.2), r"devices is 2 but Own is not curvae's, .*DistributedDataParallel\(objectives.Loss"),
        ({"devices": 2, "scripted": True}, None, "devices is 2 but encoder is compiled or scripted"),
        ({"devices": 2, "lambda": True}, None, "several devices need model, data and .* sent .*torchrun"),
    ],
)
def test_what_several_devices_cannot_do(
    options: dict[str, Any], objective: BetaVAE | None, message: str, tmp_path: Path
) -> None:
    options = dict(options)
    build = _scripted if options.pop("scripted", False) else steps.build
    if options.pop("lambda", False):
        build = lambda shape: steps.build(shape)  # noqa: E731
    config = small(tmp_path, **OWN, **options)
    with pytest.raises(InputError, match=message):
        train(config, tmp_path / "run", model=build, objective=objective, launch=_start(build))
    assert not (tmp_path / "run").exists()


def _start(build: Any) -> Launch | None:
    """Of builders of this file, which no new process could import, one only is to be found wanting."""
    return None if build.__name__ == "<lambda>" else Launch()


def test_several_devices_need_a_folder_that_all_see() -> None:
    with pytest.raises(InputError, match="several devices without out; say which run folder"):
        fit(steps.build((6,)), torch.rand(20, 6), BetaVAE(0.2), steps=2, devices=2)


def test_of_srun_s_tasks_the_first_tells_how_data_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``fit`` reads data before it trains; tasks of one device each are strangers, and each tells."""
    slurm = {"SLURM_STEP_NUM_TASKS": "2", "SLURM_PROCID": "1", "SLURM_LOCALID": "1", "SLURM_STEP_NODELIST": "127.0.0.1"}
    launcher = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    monkeypatch.setattr("curvae.training.fit._data", lambda *_: pytest.fail(f"as {os.environ.get('RANK')}"))
    for devices, rank in ((1, None), (2, "1")):
        with monkeypatch.context() as place:
            for name in launcher:
                place.setenv(name, "")  # so that what is set meanwhile is taken back
                place.delenv(name)
            for name, value in slurm.items():
                place.setenv(name, value)
            with pytest.raises(pytest.fail.Exception, match=f"as {rank}"):
                fit(steps.build((6,)), "x.npy", BetaVAE(0.2), steps=2, devices=devices, out=tmp_path / "run")


MODEL = """
import os
import numpy as np, torch
from torch import nn
import curvae
from curvae import Autoencoder, curvature, objectives, posteriors

class Centred(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.zeros(8))
    def forward(self, x):
        if self.training:
            self.mean.lerp_(x.detach().mean(0), 0.5)
        return x - self.mean

class Failing(nn.Module):
    def forward(self, x):
        if self.training and os.environ.get("RANK") == "1":
            raise ValueError("no such rows")
        return x

def build(shape, kind: str = "norm"):
    layer = {"norm": lambda: nn.BatchNorm1d(8), "centred": Centred, "failing": Failing}[kind]()
    encoder = nn.Sequential(nn.Linear(*shape, 8), layer, nn.Tanh(), nn.Linear(8, 2))
    return Autoencoder(encoder, nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, *shape)), 2)

def main():
    torch.manual_seed(0)
    objective = objectives.GRAE(0.2, structure=posteriors.Diagonal(), estimator=curvature.Columns(1))
    x = np.random.default_rng(0).random((80, 6))
    run = curvae.fit(build((6,)).double(), x, objective, steps=8, batch_size=7, device="cpu", out="run",
                     devices=int(os.environ["DEVICES"]), progress=False)
    print(run.metrics[-1]["total"], float(run.encode(x[:1]).mean.sum()))

if __name__ == "__main__":
    main()
"""
CURVAE = [sys.executable, "-m", "curvae", "train"]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
OPTIONS = [
    *("--data", "False.npy", "--model", "net.py:build", "--steps", "12", "--batch-size", "7", "--lr", "0.01"),
    *("--checkpoint-every", "4", "--log-every", "2", "--device", "cpu", "--precision", "64"),
    *("--estimator", "columns:1", "--out", "run"),
]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with data and a model of one's own."""
    small(tmp_path)
    (tmp_path / "net.py").write_text(MODEL)
    return tmp_path


def begin(command: list[str], place: Path, **environment: str) -> subprocess.Popen[str]:
    values = os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "300"} | environment
    return subprocess.Popen(command, cwd=place, env=values, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def end(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=300)
    return process.returncode, out, err


@pytest.mark.slow
def test_the_command_alone_and_under_launchers(place: Path) -> None:
    slurm = {"SLURM_STEP_NUM_TASKS": "2", "SLURM_JOB_ID": str(os.getpid()), "SLURM_STEP_NODELIST": "127.0.0.1"}
    starts: dict[str, list[tuple[list[str], dict[str, str]]]] = {
        "alone": [([*CURVAE, *OPTIONS], {})],
        "devices": [([*CURVAE, *OPTIONS, "--devices", "2"], {})],
        "torchrun": [([*TORCHRUN, *CURVAE[1:], *OPTIONS], {})],
        "srun": [
            ([*CURVAE, *OPTIONS, "--devices", "2"], slurm | {"SLURM_PROCID": rank, "SLURM_LOCALID": rank})
            for rank in "01"
        ],
    }
    for name, commands in starts.items():
        processes = [begin(command, place, **environment) for command, environment in commands]
        for code, out, err in map(end, processes):
            assert code == 0, (name, out, err)
        (place / "run").rename(place / name)
    runs = {name: Run.open(place / name, model=_own(place)) for name in starts}
    for name in ("devices", "torchrun", "srun"):
        assert runs[name].config.devices == 2
        assert_close(runs["alone"], runs[name], CLOSE, _own(place))
    assert_close(runs["devices"], runs["torchrun"], 0.0, _own(place))


def _own(place: Path) -> Any:
    return find_builder(f"{place / 'net.py'}:build")


@pytest.mark.slow
def test_a_script_that_fits(place: Path) -> None:
    said = {}
    for name, command in {
        "1": [sys.executable, "net.py"],
        "2": [sys.executable, "net.py"],
        "torchrun": [*TORCHRUN, "net.py"],
    }.items():
        code, out, err = end(begin(command, place, DEVICES="1" if name == "1" else "2"))
        assert code == 0, (name, err)
        shutil.rmtree(place / "run")
        said[name] = [[float(word) for word in line.split()] for line in out.splitlines()]
    assert (len(said["1"]), len(said["2"]), len(said["torchrun"])) == (1, 1, 2)
    for line in (*said["2"], *said["torchrun"]):
        assert line == pytest.approx(said["1"][0], rel=CLOSE)
    unguarded = MODEL.replace('if __name__ == "__main__":\n    main()', "main()")
    (place / "net.py").write_text(unguarded)
    code, _, err = end(begin([sys.executable, "net.py"], place, DEVICES="2"))
    assert code == 1
    assert not (place / "run").exists()
    assert 'ended before the training began; a script must keep what it runs under if __name__ == "__main__"' in err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("failing", "error: process 1 of 2 failed (ValueError: no such rows); no checkpoint was made"),
        ("centred", "error: after step 1 the 2 processes have different encoder.1.mean; the network holds something"),
    ],
)
def test_what_goes_wrong_in_one_of_them_is_said_in_one_line(kind: str, message: str, place: Path) -> None:
    code, _, err = end(begin([*CURVAE, *OPTIONS, "--devices", "2", "--set", f"kind={kind}"], place))
    assert code == 1
    assert err.count("\n") == 1
    assert err.startswith(message)


@pytest.mark.slow
def test_signals_and_a_lost_process(place: Path) -> None:
    options = [*OPTIONS, "--devices", "2", "--steps", "1000000"]
    first = begin([*CURVAE, *options], place)
    _until(lambda: (place / "run/checkpoints/last.ckpt").exists())
    first.send_signal(signal.SIGTERM)
    code, _, err = end(first)
    assert code == 1
    assert "stopped by SIGTERM after step" in err
    step = Checkpoint.load(place / "run/checkpoints/last.ckpt").step
    again = begin([*CURVAE, "--resume", "--model", "net.py:build", "--out", "run"], place)
    _until(lambda: Checkpoint.load(place / "run/checkpoints/last.ckpt").step > step)
    children = Path(f"/proc/{again.pid}/task/{again.pid}/children").read_text().split()
    (other,) = [pid for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    os.kill(int(other), signal.SIGKILL)
    code, _, err = end(again)
    assert code == 1
    assert "error: another process of the training is gone, perhaps killed or out of memory; run/checkpoints" in err


def _until(done: Callable[[], bool]) -> None:
    for _ in range(3000):
        if done():
            return
        time.sleep(0.1)
    pytest.fail("it took too long")
