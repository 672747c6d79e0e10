"""Bad input of any kind: exit code 2, one clear line that names the thing, nothing written or changed."""

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from curvae.cli.group import as_typed
from curvae.errors import InputError

Curvae = Callable[..., "Answer"]
USING = ("encode", "reconstruct", "interpolate", "traverse")
SMALL = ("--network", "mlp", "--width", "0.02", "--latents", "2", "--steps", "3", "--batch-size", "8")


def snapshot(folder: Path) -> dict[str, bytes | None]:
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def refused(curvae: Curvae, folder: Path, *arguments: object) -> str:
    """Call, and hold the command line to its promise."""
    before = snapshot(folder)
    answer = curvae(*arguments)
    assert snapshot(folder) == before
    assert answer.code == 2, answer.stderr
    assert answer.stdout == ""
    assert answer.stderr.startswith("error: ")
    assert answer.stderr.count("\n") == 1, answer.stderr
    assert len(answer.stderr) < 600
    return answer.stderr


# settings: (arguments for train, what the line must say)
SETTINGS: list[tuple[list[str], str]] = [
    (["--beta", "0"], "beta is 0.0; expected a finite number > 0"),
    (["--beta", "-0.2"], "beta is -0.2"),
    (["--beta", "nan"], "beta is nan"),
    (["--beta", "inf"], "beta is inf"),
    (["--beta", "many"], "--beta"),
    (["--latents", "0"], "latents is 0"),
    (["--latents", "7"], "latents is 7 but a sample has only 6 numbers"),
    (["--latents", "2.5"], "--latents"),
    (["--steps", "0"], "steps is 0"),
    (["--steps", "-3"], "steps is -3"),
    (["--batch-size", "0"], "--batch-size is 0"),
    (["--batch-size", "1000"], "--batch-size is 1000 but vectors has only 54 training samples; take a smaller --batch"),
    (["--lr", "0"], "lr is 0.0"),
    (["--lr", "nan"], "lr is nan"),
    (["--devices", "0"], "devices is 0"),
    (["--devices", "9"], "--batch-size is 8 but devices is 9; expected at least one sample of each batch"),
    (["--devices", "2", "--compile"], "devices is 2 and compile is true; compiled networks are for one device"),
    (["--seed", "-1"], "seed is -1; expected a whole number"),
    (["--split-seed", "-1"], "--split-seed is -1"),
    (["--samples", "0"], "samples is 0"),
    (["--width", "0"], "width is 0.0"),
    (["--checkpoint-every", "0"], "--checkpoint-every is 0"),
    (["--log-every", "0"], "--log-every is 0"),
    (["--encoder-weight", "-1"], "--encoder-weight is -1.0"),
    (["--decoder-weight", "inf"], "--decoder-weight is inf"),
    (["--objective", "vae"], "objective is 'vae'; expected one of beta-vae, taylor, grae, rae"),
    (["--structure", "blocks"], "structure is 'blocks'"),
    (["--structure", "block:0"], "structure is 'block:0'"),
    (["--structure", "block:5"], "structure is block:5 but there are only 2 latents"),
    (["--estimator", "columns:x"], "estimator is 'columns:x'"),
    (["--structure", "banded:2"], "structure is banded:2 but there are only 2 latents"),
    (["--structure", "shared:block:5"], "structure is shared:block:5 but there are only 2 latents"),
    (["--structure", "shared:"], "structure is 'shared:'"),
    (["--estimator", "columns:1", "--structure", "full"], "estimator is columns:1 but structure is full"),
    (["--estimator", "lanczos:2"], "estimator is lanczos:2 but structure is diagonal"),
    (["--estimator", "fraction:1/4:exact", "--structure", "shared:diagonal"], "not a mean over samples"),
    (["--batch-fraction", "1/4", "--shared"], "not a mean over samples"),
    (["--batch-fraction", "5/4"], "expected a batch fraction above 0 and up to 1"),
    (["--batch-fraction", "1/4", "--estimator", "lanczos"], "and with a batch fraction"),
    (["--estimator", "lanczos:2:0", "--structure", "full"], "estimator is 'lanczos:2:0'"),
    (["--estimator", "trace:x"], "estimator is 'trace:x'"),
    (["--objective", "rae", "--estimator", "lanczos"], "estimator is lanczos but objective rae"),
    (["--curvature", "newton"], "curvature is 'newton'; expected one of gauss-newton, hessian"),
    (["--curvature", "hessian", "--objective", "beta-vae"], "curvature is hessian"),
    (["--curvature", "hessian", "--estimator", "trace:1"], "curvature is hessian, which needs estimator exact"),
    (["--curvature", "hessian", "--likelihood", "laplace"], "likelihood is laplace, which has a kink"),
    (["--curvature", "hessian", "--likelihood", "student-t:1:0.01", "--beta", "1e-6"], "smallest eigenvalue"),
    (["--orthogonality", "-1"], "orthogonality is -1.0"),
    (["--orthogonality", "1", "--structure", "full"], "leaves no pair of them to make orthogonal"),
    (["--orthogonality", "1", "--estimator", "columns:1"], "needs pairs of columns"),
    (["--objective", "beta-vae", "--estimator", "columns:1"], "estimator is columns:1"),
    (["--objective", "taylor", "--samples", "3"], "samples is 3"),
    (["--likelihood", "categorical"], "likelihood is 'categorical'"),
    (["--likelihood", "laplace:0"], "scale is 0.0"),
    (["--likelihood", "student-t"], "likelihood is 'student-t'"),
    (["--likelihood", "student-t:0"], "dof is 0.0"),
    (["--likelihood", "negative-binomial:2"], "vectors: the data have"),
    (["--likelihood", "gaussian:learnt"], "or gaussian:learned"),
    (["--likelihood", "gaussian:0"], "sigma is 0.0"),
    (["--likelihood", "poisson"], "but Poisson() is for counts"),
    (["--network", "linear", "--likelihood", "bernoulli"], "use bernoulli-logits"),
    (["--network", "unet"], "network is 'unet'"),
    (["--network", "paper"], "network is paper"),
    (["--precision", "16"], "precision is '16'"),
    (["--device", "tpu"], "device is 'tpu'"),
    (["--size", "0"], "size is 0"),
    (["--size", "8"], "size"),
    (["--betta", "0.2"], "--betta"),
    (["--epochs", "0"], "epochs"),
    (["--epochs", "2"], "steps is 3 and epochs is 2; expected one of the two"),
    (["--accumulate", "0"], "accumulate is 0"),
    (["--accumulate", "8"], "--batch-size is 8 and accumulate 8 but vectors has only 54 training samples"),
    (["--beta-warmup", "3"], "--beta-warmup is 3 but steps is 3; expected a warm-up of fewer steps"),
    (["--beta-warmup", "-1"], "--beta-warmup is -1"),
    (["--beta-warmup", "2", "--objective", "rae"], "--beta-warmup is 2 but objective rae does not use it"),
    (["--clip", "0"], "clip is 0.0; expected a finite number > 0"),
    (["--ema", "1"], "ema is 1.0; expected a number in [0, 1)"),
    (["--ema", "nan"], "ema is nan"),
    (["--early-stop", "-1"], "--early-stop is -1"),
    (["--logger", "wandb"], "logger is 'wandb'; expected one of tensorboard, csv"),
]


@pytest.mark.parametrize(
    ("arguments", "message"), SETTINGS, ids=lambda value: "=".join(value) if isinstance(value, list) else ""
)
def test_settings(arguments: list[str], message: str, curvae: Curvae, vectors: Path, tmp_path: Path) -> None:
    line = refused(curvae, tmp_path, "train", "--data", vectors, "--out", tmp_path / "out", *SMALL, *arguments)
    assert message in line


@pytest.mark.parametrize(
    "said",
    [
        "t.csv: column 'batch_size' holds no numbers; leave it out with --drop batch_size",
        "likelihood is 'mixed:batch_size=counts', of 2 columns",
        "the folder 'my batch_size data' is not curvae's",
        "build takes no setting 'batch_sizes'; did you mean batch_size?; it takes 'batch_size'",
        "--set batch_size is 'x'; expected a whole number",
    ],
)
def test_names_of_a_persons_own_are_no_options(said: str) -> None:
    with pytest.raises(InputError) as caught, as_typed(["batch_size", "beta"]):
        raise InputError(f"{said}; batch_size is curvae's")
    assert str(caught.value) == f"{said}; --batch-size is curvae's"


def not_finite(path: Path) -> None:
    values = np.ones((20, 3), np.float32)
    values[7, 1] = np.nan
    np.save(path, values)


# data: how to make them bad at a path of this name, and what the line must say
DATA: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing.npy": (lambda path: None, "does not exist"),
    "empty.npy": (lambda path: path.write_bytes(b""), "empty.npy"),
    "noise.npy": (lambda path: path.write_bytes(os.urandom(500)), "noise.npy"),
    "truncated.npy": (
        lambda path: (np.save(path, np.ones((50, 4))), path.write_bytes(path.read_bytes()[:-7])),
        "truncated.npy",
    ),
    "nan.npy": (not_finite, "nan.npy"),
    "flat.npy": (lambda path: np.save(path, np.ones(9)), "flat.npy"),
    "none.npy": (lambda path: np.save(path, np.ones((0, 4))), "none.npy"),
    "one.npy": (lambda path: np.save(path, np.ones((1, 4))), "one.npy"),
    "text.npy": (lambda path: np.save(path, np.array([["a", "b"], ["c", "d"]])), "text.npy"),
    "objects.npy": (lambda path: np.save(path, np.array([[{}]], object), allow_pickle=True), "objects.npy"),
    "pickle.npz": (lambda path: path.write_bytes(pickle.dumps({"x": 1})), "pickle.npz"),
    "table.csv": (lambda path: path.write_text("1,2\n3,4\n"), "table.csv"),
    "folder": (lambda path: path.mkdir(), "folder"),
}


@pytest.mark.parametrize("name", DATA)
def test_data(name: str, curvae: Curvae, tmp_path: Path) -> None:
    make, message = DATA[name]
    make(tmp_path / name)
    line = refused(curvae, tmp_path, "train", "--data", tmp_path / name, "--out", tmp_path / "out", *SMALL)
    assert message in line


def test_bernoulli_with_values_beyond_one(curvae: Curvae, tmp_path: Path) -> None:
    np.save(tmp_path / "wide.npy", np.full((30, 4), 1.5, np.float32))
    arguments = ("--data", tmp_path / "wide.npy", "--likelihood", "bernoulli", "--out", tmp_path / "out", *SMALL)
    assert "wide: the data have 1.5, but Bernoulli() is for values in [0, 1]" in refused(
        curvae, tmp_path, "train", *arguments
    )


def test_settings_are_looked_at_before_the_data(curvae: Curvae, tmp_path: Path) -> None:
    arguments = ("--data", tmp_path / "nowhere.npy", "--estimator", "lanczos", "--out", tmp_path / "out", *SMALL)
    assert "structure is diagonal" in refused(curvae, tmp_path, "train", *arguments)


def test_cuda_without_a_gpu(curvae: Curvae, vectors: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    line = refused(curvae, tmp_path, "train", "--data", vectors, "--out", tmp_path / "out", "--device", "cuda", *SMALL)
    assert "finds no GPU" in line


def test_no_data_at_all(curvae: Curvae, tmp_path: Path) -> None:
    line = refused(curvae, tmp_path, "train", "--out", tmp_path / "out")
    assert "--data is missing; expected mnist, fashion-mnist, avatars, sprites, tilted-sprites, orl or a path" in line


def test_no_out(curvae: Curvae, vectors: Path, tmp_path: Path) -> None:
    assert "--out" in refused(curvae, tmp_path, "train", "--data", vectors)


def test_out_holds_a_run(curvae: Curvae, vectors: Path, run: Path, tmp_path: Path) -> None:
    assert "already holds a run" in refused(curvae, tmp_path, "train", "--data", vectors, "--out", run, *SMALL)


def test_out_is_not_empty(curvae: Curvae, vectors: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years of work")
    line = refused(curvae, tmp_path, "train", "--data", vectors, "--out", tmp_path / "mine", *SMALL)
    assert "is not empty" in line


def test_out_is_a_file(curvae: Curvae, vectors: Path, tmp_path: Path) -> None:
    assert "is a file" in refused(curvae, tmp_path, "train", "--data", vectors, "--out", vectors, *SMALL)


def test_out_below_a_file(curvae: Curvae, vectors: Path, tmp_path: Path) -> None:
    line = refused(curvae, tmp_path, "train", "--data", vectors, "--out", vectors / "run", *SMALL)
    assert "cannot be written" in line


def test_resume_nothing(curvae: Curvae, tmp_path: Path) -> None:
    assert "is not a folder" in refused(curvae, tmp_path, "train", "--resume", "--out", tmp_path / "out")
    (tmp_path / "empty").mkdir()
    assert "holds no run" in refused(curvae, tmp_path, "train", "--resume", "--out", tmp_path / "empty")


def test_resume_with_another_configuration(curvae: Curvae, stopped: Path, tmp_path: Path) -> None:
    line = refused(curvae, tmp_path, "train", "--resume", "--out", stopped, "--beta", "0.9", "--latents", "2")
    assert "beta 0.9 (was 0.2), latents 2 (was 3)" in line


class Evil:
    def __reduce__(self) -> tuple[object, ...]:
        return (Path.write_text, (Path("evil"), "executed"))


# checkpoints: what to do to a good one
CHECKPOINTS: dict[str, Callable[[Path], object]] = {
    "truncated": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "empty": lambda path: path.write_bytes(b""),
    "noise": lambda path: path.write_bytes(os.urandom(3000)),
    "a pickle that takes from an empty stack": lambda path: path.write_bytes(b"\x80\x02a."),
    "pickled code": lambda path: torch.save({"format": Evil()}, path),
    "plain pickle": lambda path: path.write_bytes(pickle.dumps(Evil())),
    "foreign dictionary": lambda path: torch.save({"state_dict": {"w": torch.ones(2)}, "epoch": 3}, path),
    "foreign list": lambda path: torch.save([torch.ones(2)], path),
    "another model": lambda path: change(path, model={"w": torch.ones(2)}),
    "another optimiser": lambda path: change(path, optimizer={"state": {}, "param_groups": []}),
    "no step": lambda path: change(path, step="many"),
    "a step too far": lambda path: change(path, step=11),
    "other data": lambda path: change(path, digest="0" * 64),
    "a later version": lambda path: change(path, version=2),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
}


def change(path: Path, **changes: object) -> None:
    content = torch.load(path, weights_only=True) | changes
    del content["start"]  # as in files of version 0.1, which carry no digest
    torch.save(content, path)


@pytest.mark.parametrize("damage", CHECKPOINTS)
def test_checkpoints(
    damage: str, curvae: Curvae, stopped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    CHECKPOINTS[damage](stopped / "checkpoints" / "last.ckpt")
    line = refused(curvae, tmp_path, "train", "--resume", "--out", stopped)
    assert "last.ckpt" in line
    assert not (tmp_path / "evil").exists()


def rewrite(path: Path, **changes: object) -> None:
    document = json.loads(path.read_text())
    document["config"] |= changes
    path.write_text(json.dumps(document))


# configurations in a run folder
CONFIGS: dict[str, tuple[Callable[[Path], object], str]] = {
    "truncated": (lambda path: path.write_text(path.read_text()[:200]), "config.json is not valid JSON"),
    "foreign": (lambda path: path.write_text('{"model_type": "bert"}'), "expected 'curvae-run'"),
    "a list": (lambda path: path.write_text("[1, 2]"), "expected 'curvae-run'"),
    "binary": (lambda path: path.write_bytes(os.urandom(100)), "config.json"),
    "unknown key": (lambda path: rewrite(path, dropout=0.5), "unknown configuration key dropout"),
    "bad value": (lambda path: rewrite(path, beta=-1.0), "beta is -1.0"),
    "parts missing": (
        lambda path: path.write_text('{"format": "curvae-run", "version": 1, "config": {}}'),
        "lacks data, environment",
    ),
    "parts of another kind": (
        lambda path: path.write_text(
            '{"format": "curvae-run", "version": 1, "config": 1, "data": 2, "environment": 3}'
        ),
        "is damaged",
    ),
}


@pytest.mark.parametrize("damage", CONFIGS)
@pytest.mark.parametrize("command", ["train", "evaluate", "sample", *USING])
def test_configs(damage: str, command: str, curvae: Curvae, run: Path, tmp_path: Path) -> None:
    make, message = CONFIGS[damage]
    make(run / "config.json")
    arguments = {
        "train": ("train", "--resume", "--out", run),
        "evaluate": ("evaluate", run),
        "sample": ("sample", run, "--out", tmp_path / "samples.png"),
    } | {name: (name, run, "--out", tmp_path / "z.npz") for name in USING}
    assert message in refused(curvae, tmp_path, *arguments[command])


@pytest.mark.parametrize("command", ["evaluate", "sample", *USING])
def test_models(command: str, curvae: Curvae, run: Path, tmp_path: Path) -> None:
    extra = () if command == "evaluate" else ("--out", tmp_path / "z.npz")
    weights = (run / "model.safetensors").read_bytes()
    (run / "model.safetensors").write_bytes(weights[:-1])
    assert "model.safetensors is damaged" in refused(curvae, tmp_path, command, run, *extra)
    (run / "model.safetensors").unlink()
    assert "model.safetensors does not exist" in refused(curvae, tmp_path, command, run, *extra)
    (run / "model.json").write_text("{")
    assert "model.json is not valid JSON" in refused(curvae, tmp_path, command, run, *extra)
    (run / "model.json").unlink()
    (run / "checkpoints" / "last.ckpt").unlink()
    assert "is not finished" in refused(curvae, tmp_path, command, run, *extra)
    assert "is not a folder" in refused(curvae, tmp_path, command, tmp_path / "nowhere", *extra)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--limit", "0"], "--limit is 0"),
        (["--samples", "-1"], "--samples is -1"),
        (["--columns", "0"], "--columns is 0"),
        (["--nll", "0"], "--nll is 0"),
        (["--nll", "many"], "--nll"),
        (["--batch-size", "0"], "--batch-size is 0"),
        (["--seed", "-1"], "seed is -1"),
        (["--device", "tpu"], "device is 'tpu'"),
    ],
)
def test_evaluate_settings(arguments: list[str], message: str, curvae: Curvae, run: Path, tmp_path: Path) -> None:
    assert message in refused(curvae, tmp_path, "evaluate", run, *arguments)


def test_evaluate_data_that_are_gone_or_changed(curvae: Curvae, run: Path, tmp_path: Path) -> None:
    path = tmp_path / "data.npy"
    rewrite(run / "config.json", data=str(path))
    assert "does not exist" in refused(curvae, tmp_path, "evaluate", run)
    np.save(path, np.zeros((60, 1, 8, 8), np.float32))
    assert "has changed since" in refused(curvae, tmp_path, "evaluate", run)


def test_a_mixture_needs_the_data(curvae: Curvae, run: Path, tmp_path: Path) -> None:
    path, out = tmp_path / "data.npy", tmp_path / "samples.npy"
    rewrite(run / "config.json", data=str(path))
    assert "data.npy' does not exist" in refused(curvae, tmp_path, "sample", run, "--from", "mixture:2", "--out", out)
    np.save(path, np.zeros((60, 1, 8, 8), np.float32))
    assert "has changed since" in refused(curvae, tmp_path, "sample", run, "--from", "mixture:2", "--out", out)
    assert curvae("sample", run, "--out", out).code == 0  # the prior does not


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-n", "0"], "-n is 0"),
        (["-n", "x"], "-n"),
        (["--from", "posterior"], "--from is 'posterior'; expected prior or mixture:K"),
        (["--from", "mixture"], "--from is 'mixture'"),
        (["--from", "mixture:0"], "--from is 'mixture:0'"),
        (["--from", "mixture:1000"], "54 codes for 1000 components"),
        (["--seed", "-1"], "seed is -1"),
        (["--out", "samples.jpg"], "samples.jpg"),
        (["--out", "folder.png"], "a folder"),
        (["--out", "file/samples.png"], "cannot be written"),
    ],
)
def test_sample_settings(
    arguments: list[str], message: str, curvae: Curvae, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "file").write_text("mine")
    assert message in refused(curvae, tmp_path, "sample", run, *arguments)


def test_no_picture_of_vectors(curvae: Curvae, vectors: Path, tmp_path: Path) -> None:
    assert curvae("train", "--data", vectors, "--out", tmp_path / "plain", *SMALL).code == 0
    for command in ("sample", *USING[1:]):
        line = refused(curvae, tmp_path, command, tmp_path / "plain", "--out", tmp_path / "samples.png")
        assert "shape (6,) and are not images" in line


# beside what would work: arguments, and what the line must say
USES: list[tuple[str, list[str], str]] = [
    *((command, ["--out", "z.txt"], "z.txt; expected a name that ends in") for command in USING),
    *((command, ["--out", "folder.npz"], "a folder") for command in USING),
    *((command, ["--out", "file/z.npz"], "cannot be written") for command in USING),
    *((command, ["--out", "images.npz"], "which holds the data; choose another") for command in USING),
    *((command, ["--data", "images.npz:arr_0", "--out", "images.npz"], "which holds the data") for command in USING),
    *((command, ["--part", "held-out"], "--part is 'held-out'; expected all, train or test") for command in USING),
    *((command, ["--device", "tpu"], "device is 'tpu'") for command in USING),
    *((command, ["--data", "missing.npy"], "does not exist") for command in USING),
    *((command, ["--data", "wide.npy"], "wide.npy, whose samples have shape (7,)") for command in USING),
    *((command, ["--data", "nan.npy"], "sample 2 holds NaN") for command in USING),
    ("encode", ["--out", "z.png"], "expected a name that ends in .npz"),
    ("encode", ["--structure", "blocks"], "structure is 'blocks'"),
    ("encode", ["--batch-size", "0"], "--batch-size is 0"),
    ("reconstruct", ["--batch-size", "-3"], "--batch-size is -3"),
    ("reconstruct", ["--limit", "0"], "--limit is 0"),
    ("interpolate", ["--steps", "1"], "--steps is 1; expected at least 2"),
    ("interpolate", ["--steps", "2", "--geodesic"], "--steps is 2; expected at least 3"),
    ("interpolate", ["--pairs", "1"], "--pairs is '1'; expected pairs"),
    ("interpolate", ["--pairs", "1:x"], "--pairs is 'x'"),
    ("interpolate", ["--pairs", "0:60"], "--pairs has 60; expected positions from 0 to 59"),
    ("traverse", ["--latents", "3"], "--latents has 3; expected whole numbers from 0 to 2"),
    ("traverse", ["--index", "0,61"], "--index has 61"),
    ("traverse", ["--index", ""], "--index is ''"),
    ("traverse", ["--values", "1,nan"], "--values is '1,nan'"),
]


@pytest.mark.parametrize(("command", "arguments", "message"), USES, ids=lambda value: "=".join(value)[:40])
def test_uses_of_a_model(
    command: str,
    arguments: list[str],
    message: str,
    curvae: Curvae,
    run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.npz").mkdir()
    (tmp_path / "file").write_text("mine")
    images = np.random.default_rng(0).random((60, 1, 8, 8), dtype=np.float32)
    np.savez("images.npz", images)
    np.save("wide.npy", np.zeros((9, 7), np.float32))
    images[2] = np.nan
    np.save("nan.npy", images)
    beside = ["--index", "0"] if command == "traverse" and "--index" not in arguments else []
    line = refused(curvae, tmp_path, command, run, "--data", "images.npz", "--out", "z.npz", *beside, *arguments)
    assert message in line


def test_a_traversal_of_data_needs_positions(curvae: Curvae, run: Path, vectors: Path, tmp_path: Path) -> None:
    line = refused(curvae, tmp_path, "traverse", run, "--data", vectors, "--out", tmp_path / "z.npz")
    assert "--data is given but --index is not" in line


def test_report_of_nothing(curvae: Curvae, tmp_path: Path) -> None:
    assert "nowhere" in refused(curvae, tmp_path, "report", tmp_path / "nowhere", "--out", tmp_path / "report.html")
    assert "FOLDER" in refused(curvae, tmp_path, "report")


def test_report_to_another_kind_of_file(curvae: Curvae, run: Path, tmp_path: Path) -> None:
    assert "report.pdf" in refused(curvae, tmp_path, "report", run, "--out", tmp_path / "report.pdf")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fig99"], "figure is 'fig99'; expected one of fig1"),
        (["fig5", "--scale", "huge"], "--scale is 'huge'; expected one of smoke, quick, overnight, paper"),
    ],
)
def test_reproduce(arguments: list[str], message: str, curvae: Curvae, tmp_path: Path) -> None:
    assert message in refused(curvae, tmp_path, "reproduce", *arguments, "--out", tmp_path / "out")


def test_unknown_command(curvae: Curvae, tmp_path: Path) -> None:
    assert "No such command 'trian'" in refused(curvae, tmp_path, "trian")


@pytest.mark.cases(1)
@pytest.mark.parametrize("arguments", [["--bogus"], ["train", "--data", "nowhere.npy", "--out", "out"]])
def test_the_real_process_keeps_the_promise(arguments: list[str], tmp_path: Path) -> None:
    """Without a test runner between: code 2, one line, no traceback, an empty stdout."""
    done = subprocess.run(
        [sys.executable, "-m", "curvae", *arguments], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
