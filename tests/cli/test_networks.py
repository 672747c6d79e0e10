"""What is trained where nobody chose a network, and what is said where none fits."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from curvae.data import Dataset, as_float, load
from curvae.runs import Run, RunConfig
from curvae.training import train

Curvae = Callable[..., Any]
SMALL = ["--width", "0.02", "--latents", "2", "--batch-size", "8", "--device", "cpu", "--log-every", "1"]


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., Path]:
    def write(shape: tuple[int, ...], dtype: Any = np.float32) -> Path:
        rng = np.random.default_rng(0)
        whole = dtype == np.uint8
        np.save(tmp_path / "a.npy", rng.integers(0, 256, shape, dtype) if whole else rng.random(shape).astype(dtype))
        return tmp_path / "a.npy"

    return write


@pytest.mark.parametrize(
    ("shape", "dtype", "network", "told"),
    [
        ((40, 5), np.float64, "mlp", "note: network: mlp, for data of shape (5,)"),
        pytest.param(
            (40, 5, 4), np.float32, "mlp", "note: network: mlp, for data of shape (5, 4)", marks=pytest.mark.slow
        ),
        ((40, 28, 28), np.float32, "paper", "are taken as images and brought to (1, 28, 28)"),
        pytest.param(
            (40, 28, 28, 1),
            np.uint8,
            "paper",
            "with their channels last and brought to (1, 28, 28)",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_the_network_follows_the_data(
    curvae: Curvae, save: Callable[..., Path], tmp_path: Path, shape: Any, dtype: Any, network: str, told: str
) -> None:
    out = tmp_path / "run"
    answer = curvae("train", "--data", save(shape, dtype), "--out", out, "--steps", "2", *SMALL)
    assert answer.code == 0, answer.stderr
    assert told in answer.stderr
    run = Run.open(out)
    assert run.config.network == network
    assert run.dataset().shape == run.model().decode(run.model().encode(_batch(run))).shape[1:]
    assert curvae("train", "--resume", "--out", out).code == 0


def _batch(run: Run) -> Any:
    return as_float(run.dataset().test[:2])


@pytest.mark.parametrize(
    ("shape", "dtype", "message"),
    [
        ((20, 3, 32, 32), np.uint8, "no network was chosen and the paper's are made for data of shape (1, 28, 28) or"),
        pytest.param(
            (20, 3, 32, 32),
            np.uint8,
            "but the data has (3, 32, 32); use --size 64, or --network mlp or linear",
            marks=pytest.mark.slow,
        ),
        ((20, 32, 32), np.uint8, "use --size 28 or 64, or --network mlp or linear"),
        pytest.param(
            (20, 32, 32),
            np.float32,
            "but the data has (1, 32, 32); use --network mlp or linear",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_other_images_get_the_option_that_works(
    curvae: Curvae, save: Callable[..., Path], tmp_path: Path, shape: Any, dtype: Any, message: str
) -> None:
    source, out = save(shape, dtype), tmp_path / "run"
    answer = curvae("train", "--data", source, "--out", out, "--steps", "1", *SMALL)
    assert answer.code == 2
    assert message in answer.stderr.splitlines()[-1]
    assert not out.exists()
    size = "28" if shape[1] == 32 else "64"
    option = ["--size", size] if "--size" in message else ["--network", "mlp"]
    answer = curvae("train", "--data", source, "--out", out, "--steps", "1", *SMALL, *option)
    assert answer.code == 0, answer.stderr


def test_one_array_of_several_is_trained_on_and_found_again(
    curvae: Curvae, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.savez(tmp_path / "a.npz", first=np.random.default_rng(0).random((40, 3)), second=np.zeros((40, 3)))
    monkeypatch.chdir(tmp_path)
    assert curvae("train", "--data", "a.npz:first", "--out", "run", "--steps", "1", *SMALL).code == 0
    monkeypatch.chdir("/")
    assert len(Run.open(tmp_path / "run").dataset().train) == 36
    answer = curvae("train", "--data", tmp_path / "a.npz", "--out", tmp_path / "other", "--steps", "1", *SMALL)
    assert answer.code == 2
    assert "give one by its name, as in a.npz:first" in answer.stderr


def test_a_network_left_to_the_data_is_that_of_the_run(save: Callable[..., Path], tmp_path: Path) -> None:
    config = RunConfig(str(save((40, 5))), network="auto", width=0.02, latents=2, steps=1, batch_size=8, device="cpu")
    assert train(config, tmp_path / "run").run.config.network == "mlp"
    assert train(config, tmp_path / "run", resume=True).finished
    assert config.differences(Run.open(tmp_path / "run").config) == []


@pytest.mark.parametrize("shape", [(28, 28), (12, 9, 3)])
def test_runs_of_version_01_on_images_in_floats_find_their_data(
    save: Callable[..., Path], tmp_path: Path, shape: tuple[int, ...]
) -> None:
    source = save((40, *shape))
    config = RunConfig(str(source), network="mlp", width=0.02, latents=2, steps=1, batch_size=8, device="cpu")
    new = load(source)
    assert new.shape != shape
    raw = np.load(source)
    held_out = new.split["test_indices"]
    halves = (np.delete(raw, held_out, axis=0), raw[held_out])
    old = Dataset("a", *(torch.from_numpy(half) for half in halves), new.split)
    run = Run.create(tmp_path / "run", config, old, torch.device("cpu"))
    assert torch.equal(Run.open(run.path).dataset().train, old.train)
