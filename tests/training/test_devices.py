"""Two processes train what one trains, and one of them alone writes."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import torch.distributed as dist

from curvae.runs import Run, RunConfig
from curvae.training import train
from curvae.training.checkpoint import Checkpoint
from curvae.training.devices import Group
from curvae.training.launching import Launch

Configure = Callable[..., RunConfig]
SCRIPT = Path(__file__).parent / "device_steps.py"
SPEC = importlib.util.spec_from_file_location("device_steps", SCRIPT)
assert SPEC is not None
assert SPEC.loader is not None
steps: ModuleType = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(steps)

OWN = {"model": "build", "objective": "beta-vae", "structure": "diagonal", "network": "auto", "width": 1.0}
RUNS: dict[str, dict[str, Any]] = {
    "columns": {"estimator": "fraction:1/2:columns:1", "batch_size": 7, "beta_warmup": 4, "log_every": 3},
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
        found["unbroken"] = trained(config, folder / "unbroken", Beside("unbroken", store=store)).path
        trained(replace(config, steps=4), folder / "whole", Beside("half", store=store))
        found["half"] = Path(shutil.copytree(folder / "whole", folder / "half"))
        found["whole"] = trained(config, folder / "whole", Beside("whole", store=store), resume=True).path
        assert other.wait(timeout=60) == 0
        yield found
    finally:
        other.kill()


def small(folder: Path, **options: Any) -> RunConfig:
    """A run of a moment."""
    images = options.get("network") == "paper"
    path = folder / f"{images}.npy"
    if not path.exists():
        import numpy as np

        shape = (40, 1, 28, 28) if images else (80, 6)
        np.save(path, np.random.default_rng(0).random(shape))
    values: dict[str, Any] = {
        "data": str(path), "network": "mlp", "width": 0.02, "latents": 2, "steps": 12, "batch_size": 8, "lr": 0.01,
        "checkpoint_every": 4, "log_every": 2, "device": "cpu", "precision": "64",
    }  # fmt: skip
    return RunConfig(**(values | options))


def trained(config: RunConfig, out: Path, launch: Any = None, resume: bool = False) -> Run:
    model = steps.build if config.model else None
    return train(config, out, model=model, launch=launch, resume=resume).run


def assert_close(one: Run, other: Run, tolerance: float) -> None:
    """Weights, Adam's state, the exported model and every number of the log."""
    left, right = (Checkpoint.load(run.checkpoint) for run in (one, other))
    for part in ("step", "model", "optimizer", "average", "best"):
        torch.testing.assert_close(getattr(left, part), getattr(right, part), rtol=tolerance, atol=tolerance)
    lines = [[{k: v for k, v in line.items() if k != "seconds"} for line in run.metrics] for run in (one, other)]
    assert len(lines[0]) == len(lines[1])
    for two in zip(*lines, strict=True):
        torch.testing.assert_close(*two, rtol=tolerance, atol=tolerance)
    models = [run.model(steps.build if run.config.model else None).state_dict() for run in (one, other)]
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
    assert [change["to"] for change in whole.history] == [{"steps": 8}]
    assert_close(unbroken, whole, 0.0)
    config = small(pair["whole"].parent, network="paper", steps=8, estimator="columns:1")
    assert_close(unbroken, trained(config, tmp_path / "alone"), CLOSE)
    later = trained(config, pair["half"], resume=True)
    assert later.history[-1]["to"] == {"steps": 8, "devices": 1}
    assert_close(unbroken, later, CLOSE)
