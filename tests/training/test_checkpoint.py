"""Checkpoints that changed on disk, by chance or by hand."""

import hashlib
import os
import random
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from curvae.errors import InputError
from curvae.runs import Run, RunConfig
from curvae.training import train
from curvae.training.checkpoint import Checkpoint

Configure = Callable[..., RunConfig]
Tree = dict[Any, Any]


@pytest.fixture
def stopped(configure: Configure, tmp_path: Path) -> Run:
    """A run with a checkpoint at its last step and no exported model."""
    run = train(configure(steps=4, checkpoint_every=2), tmp_path / "run").run
    (run.path / "model.json").unlink()
    return run


def test_no_flipped_bit_goes_unnoticed(stopped: Run) -> None:
    whole = stopped.checkpoint.read_bytes()
    for _ in range(60):
        content = bytearray(whole)
        content[random.randrange(len(content))] ^= 1 << random.randrange(8)
        stopped.checkpoint.write_bytes(content)
        with pytest.raises(InputError, match=r"last\.ckpt is"):
            Checkpoint.load(stopped.checkpoint)
    for cut in (1, 40, 80):  # of the digest at the end, which then is no digest
        stopped.checkpoint.write_bytes(whole[:-cut])
        with pytest.raises(InputError, match=r"last\.ckpt is"):
            Checkpoint.load(stopped.checkpoint)
    stopped.checkpoint.write_bytes(whole)
    assert Checkpoint.load(stopped.checkpoint).step == 4


def without_digest(path: Path) -> None:
    """As curvae 0.1 wrote them."""
    content = torch.load(path, weights_only=True)
    torch.save({name: value for name, value in content.items() if name != "start"}, path)


def signed(content: Tree, path: Path) -> None:
    """A file whose digest is right, whatever it holds."""
    torch.save(content, path)
    whole = path.read_bytes()
    path.write_bytes(whole + b"\ncurvae-sha256 " + hashlib.sha256(whole).hexdigest().encode() + b"\n")


def test_checkpoints_from_before_there_was_a_digest(stopped: Run) -> None:
    without_digest(stopped.checkpoint)
    whole = stopped.checkpoint.read_bytes()
    with zipfile.ZipFile(stopped.checkpoint) as archive:
        weights = max(archive.infolist(), key=lambda entry: entry.file_size)
    content = bytearray(whole)
    content[weights.header_offset + weights.file_size // 2 + 128] ^= 4
    stopped.checkpoint.write_bytes(content)
    with pytest.raises(InputError, match="damaged"):
        Checkpoint.load(stopped.checkpoint)
    stopped.checkpoint.write_bytes(whole)
    assert train(stopped.config, stopped.path, resume=True).finished


def moments(content: Tree) -> Tree:
    return next(iter(content["optimizer"]["state"].values()))


def weights(content: Tree) -> str:
    return next(name for name, tensor in content["model"].items() if tensor.ndim == 2)


def overlapping(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.flatten()[:1].expand(tensor.numel()).reshape(tensor.shape)


# what to alter, and what the line must say
ALTERED: dict[str, tuple[Callable[[Tree], object], str]] = {
    "a weight that is not finite": (lambda c: c["model"][weights(c)].fill_(float("nan")), "not finite"),
    "a weight of another shape": (lambda c: c["model"].update({weights(c): torch.ones(3, 3)}), r"float32 \[3, 3\]"),
    "a weight in double": (lambda c: c["model"].update({weights(c): c["model"][weights(c)].double()}), "float64"),
    "no weight": (lambda c: c["model"].popitem(), "missing"),
    "a weight more": (lambda c: c["model"].update(w=torch.ones(1)), "unknown"),
    "a number for a weight": (lambda c: c["model"].update({weights(c): 1.0}), "not a plain tensor"),
    "a sparse weight": (
        lambda c: c["model"].update({weights(c): c["model"][weights(c)].to_sparse()}),
        "not a plain tensor|damaged",
    ),
    "no moments": (lambda c: c["optimizer"].update(state=None), "optimiser's state"),
    "a list of moments": (lambda c: c["optimizer"].update(state=[1]), "optimiser's state"),
    "moments of nothing": (lambda c: c["optimizer"]["state"].update({99: moments(c)}), "optimiser's state"),
    "moments of a name": (lambda c: c["optimizer"]["state"].update(x=moments(c)), "optimiser's state"),
    "moments of another shape": (lambda c: moments(c).update(exp_avg=torch.ones(2)), "exp_avg is float32"),
    "moments of another type": (lambda c: moments(c).update(exp_avg=torch.ones(2, dtype=torch.long)), "int64"),
    "one moment less": (lambda c: moments(c).pop("exp_avg_sq"), "exp_avg_sq'? missing"),
    "one moment more": (lambda c: moments(c).update(max_exp_avg_sq=torch.ones(2)), "unknown"),
    "a negative second moment": (lambda c: moments(c)["exp_avg_sq"].fill_(-1.0), "out of range"),
    "an infinite second moment": (lambda c: moments(c)["exp_avg_sq"].fill_(float("inf")), "not finite"),
    "steps of another run": (lambda c: moments(c)["step"].fill_(1e6), "out of range"),
    "a number of steps": (lambda c: moments(c).update(step=4), "step is not a plain tensor"),
    "groups of other parameters": (
        lambda c: c["optimizer"]["param_groups"][0].update(params=[0]),
        "optimiser.s state",
    ),
    "no groups": (lambda c: c["optimizer"].update(param_groups=[]), "optimiser.s state"),
    "a group that is a text": (lambda c: c["optimizer"].update(param_groups=["x"]), "param_groups"),
    "no optimiser": (lambda c: c.pop("optimizer"), "lacks optimizer"),
    "a negative time": (lambda c: c.update(seconds=-1.0), "seconds is -1.0"),
    "a time that is not finite": (lambda c: c.update(seconds=float("nan")), "seconds is nan"),
    "a step that is a tensor": (lambda c: c.update(step=torch.ones(2)), "step is"),
    "a format that is a tensor": (lambda c: c.update(format=torch.ones(2)), "not a checkpoint of this version"),
    "a start that is a text": (lambda c: c.update(start="x"), "start is 'x'"),
    "a configuration of nothing": (lambda c: c.update(config={}), "no data"),
    "a configuration with a huge number": (lambda c: c["config"].update(beta=10**400), "beta is"),
}


@pytest.mark.usefixtures("as_shipped")
def test_altered_checkpoints(stopped: Run) -> None:
    whole = stopped.checkpoint.read_bytes()
    for name, (alter, message) in ALTERED.items():
        stopped.checkpoint.write_bytes(whole)
        content = torch.load(stopped.checkpoint, weights_only=True)
        alter(content)
        signed(content, stopped.checkpoint)
        with pytest.raises(InputError, match=message) as caught:
            train(stopped.config, stopped.path, resume=True)
        assert "last.ckpt" in str(caught.value), name
        assert "\n" not in str(caught.value), name


def test_moments_that_share_memory_are_copied(stopped: Run) -> None:
    content = torch.load(stopped.checkpoint, weights_only=True)
    for one in content["optimizer"]["state"].values():
        one["exp_avg"] = overlapping(one["exp_avg"])
    signed(content, stopped.checkpoint)
    longer = RunConfig.from_json(stopped.config.to_json() | {"steps": 6})
    assert train(longer, stopped.path, resume=True).finished


@pytest.mark.cases(1)
@pytest.mark.parametrize("name", ["checkpoints/last.ckpt", "config.json", "metrics.jsonl"])
def test_what_is_no_file_does_not_hang(name: str, stopped: Run) -> None:
    path = stopped.path / name
    for make in (os.mkfifo, Path.mkdir, lambda place: place.symlink_to("/dev/zero")):
        path.unlink()
        make(path)
        with pytest.raises(InputError, match=path.name):
            train(stopped.config, stopped.path, resume=True)
        path.rmdir() if path.is_dir() else None
        path.touch()
