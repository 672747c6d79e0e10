"""Options in a YAML file: read like the command line, printed so that they read back to the same run."""

import inspect
import json
from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from curvae.cli import train as train_command
from curvae.cli.settings_file import read_settings, write_settings
from curvae.runs import Run, RunConfig

Curvae = Callable[..., Any]
SMALL = ("--network", "mlp", "--width", "0.02", "--latents", "2", "--steps", "3", "--batch-size", "8")


def test_what_is_printed_reads_back_to_the_same_run(curvae: Curvae, vectors: Path, tmp_path: Path) -> None:
    options = ("--data", vectors, *SMALL, "--lr", "1e-3", "--precision", "64", "--structure", "block:2", "--seed", "7")
    printed = curvae("train", *options, "--out", tmp_path / "b", "--print-config")
    assert printed.code == 0
    assert not (tmp_path / "b").exists()
    (tmp_path / "run.yaml").write_text(printed.stdout)
    assert curvae("train", *options, "--out", tmp_path / "a").code == 0
    assert curvae("train", "--config", tmp_path / "run.yaml").code == 0
    once, again = Run.open(tmp_path / "a"), Run.open(tmp_path / "b")
    assert once.config == again.config
    assert all(
        np.array_equal(x, y) for x, y in zip(*(r.model().state_dict().values() for r in (once, again)), strict=True)
    )
    assert curvae("train", "--config", tmp_path / "run.yaml", "--print-config").stdout == printed.stdout


def test_every_field_reads_back_whatever_its_value() -> None:
    config = RunConfig(
        data="12", size=3, damaged="skip", model="1e5:true", model_set={"a": "null", "b": "0x1", "c": "a, b", "d": ""},
        encoder_weight=1e-12, lr=3e-05, beta=1e22, compile=True, precision="32", likelihood="gaussian:1e-3", seed=2**62,
    )  # fmt: skip
    assert {f.name for f in fields(RunConfig)} | {"out"} <= {*asdict(config), "out"}
    text = write_settings({name: value for name, value in asdict(config).items() if name != "condition_size"})
    assert RunConfig.from_json(_read(text)) == config
    assert yaml.safe_load(text)["lr"] == config.lr  # other readers see the same numbers


def _read(text: str, folder: Path | None = None) -> dict[str, Any]:
    import tempfile

    path = Path(folder or tempfile.mkdtemp()) / "run.yaml"
    path.write_text(text, encoding="utf-8")
    return read_settings(path)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("lr: 1e-3", {"lr": 0.001}),
        ("seed: 010", {"seed": 10}),
        ("precision: 32", {"precision": "32"}),
        ("compile: yes", {"compile": True}),
        ("size: null\nbeta: ~\nlatents:", {}),
        ("set: {a: 3, b: true, sizes: [64, 128]}", {"model_set": {"a": "3", "b": "true", "sizes": "64,128"}}),
        ("set:", {"model_set": {}}),
        ("out: 1", {"out": "1"}),
        ("{}", {}),
    ],
)  # fmt: skip
def test_values_are_read_as_on_the_command_line(text: str, found: dict[str, Any], tmp_path: Path) -> None:
    assert _read(text, tmp_path) == found


def test_every_option_of_the_command_line_may_stand_in_the_file(curvae: Curvae, vectors: Path, tmp_path: Path) -> None:
    values = {"batch_fraction": "1/4", "shared": True, "structure": "diagonal", "estimator": "columns:1"}
    names = set(inspect.signature(train_command).parameters) - {"config", "resume", "trust", "print_config", "as_json"}
    text = "\n".join(f"{'set' if name == 'model_set' else name}: {values.get(name, '')}" for name in sorted(names))
    assert _read(text, tmp_path) == {"batch_fraction": "1/4", "shared": True} | _read(
        "structure: diagonal\nestimator: columns:1", tmp_path
    ) | {"model_set": {}}
    (tmp_path / "run.yaml").write_text(f"data: {vectors}\nlatents: 2\nbatch_fraction: 1/4\n")
    printed = curvae("train", "--config", tmp_path / "run.yaml", "--print-config").stdout
    assert yaml.safe_load(printed)["estimator"] == "fraction:1/4:exact"
    (tmp_path / "run.yaml").write_text(f"data: {vectors}\nlatents: 2\nshared: true\n")
    printed = curvae("train", "--config", tmp_path / "run.yaml", "--print-config").stdout
    assert yaml.safe_load(printed)["structure"] == "shared:diagonal"


def test_the_command_line_wins_over_the_file(curvae: Curvae, vectors: Path, tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text(f"data: {vectors}\nbeta: 0.7\nlatents: 3\nout: {tmp_path / 'no'}\n")
    arguments = ("--config", tmp_path / "run.yaml", "--out", tmp_path / "yes", *SMALL)
    assert curvae("train", *arguments).code == 0
    config = Run.open(tmp_path / "yes").config
    assert (config.beta, config.latents) == (0.7, 2)
    assert not (tmp_path / "no").exists()
    longer = tmp_path / "longer.yaml"
    longer.write_text("steps: 5\n")
    assert curvae("train", "--resume", "--out", tmp_path / "yes", "--config", longer, "--json").json["step"] == 5
    longer.write_text("beta: 0.5\n")
    answer = curvae("train", "--resume", "--out", tmp_path / "yes", "--config", longer)
    assert (answer.code, "beta 0.5 (was 0.7)" in answer.stderr) == (2, True)


def deep(path: Path) -> None:
    path.write_text("data: " + "[" * 50_000)


BAD: list[tuple[str | bytes | Callable[[Path], object], str]] = [
    (lambda path: None, "cannot be read: No such file"),
    (lambda path: path.mkdir(), "a folder"),
    (deep, "run.yaml"),
    (b"\xff\xfe\x00beta", "is not valid YAML"),
    (b"x" * 1_000_001, "more than 1000000 bytes"),
    ("", "not a mapping of options"),
    ("- beta", "not a mapping of options"),
    ("beta", "not a mapping of options"),
    ("beta: [", "is not valid YAML at line"),
    ("beta: 0.2\nbeta: 0.3", "has 'beta' twice"),
    ("batch-size: 3", "has 'batch-size', which is not an option; did you mean batch_size?"),
    ("objectiv: grae", "did you mean objective?"),
    ("model_set: {a: 1}", "'model_set', which is not an option"),
    ("resume: true", "has 'resume'; say --resume on the command line"),
    ("print-config: true", "has 'print-config'; say --print-config on the command line"),
    ("condition_size: 3", "'condition_size', which is not an option"),
    ("shared: 2", "shared is '2'; expected true or false"),
    ("[1]: 2", "run.yaml"),
    ("beta: many", "beta is 'many'; expected a number"),
    ("beta: nan", "beta is nan"),
    ("log_every: 0", "error: log_every is 0"),
    ("accumulate: 99", "--batch-size is 8 and accumulate 99"),
    ("beta: [1, 2]", "beta is a list; expected one value"),
    ("steps: 1.5", "steps is '1.5'; expected a whole number"),
    ("steps: " + "9" * 5000, "steps is '999"),
    ("compile: maybe", "compile is 'maybe'; expected true or false"),
    ("objective: vae", "objective is 'vae'; expected one of"),
    ("set: 3", "set is '3'; expected names with a value each"),
    ("set: {a: {b: 1}}", "set has 'a' with something that is not a value"),
    ("set: {a: 1}", "--set is given without --model"),
    ("out: ''\nbeta: -1", "beta is -1.0"),
    ("beta: !!python/object/apply:os.system ['touch evil']", "run.yaml"),
    ("a: &a [x]\nbeta: *a", "'a', which is not an option"),
]


@pytest.mark.parametrize(("content", "message"), BAD, ids=range(len(BAD)))
def test_bad_files(
    content: Any, message: str, curvae: Curvae, vectors: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "run.yaml"
    if callable(content):
        content(path)
    else:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    before = sorted(tmp_path.rglob("*"))
    answer = curvae("train", "--config", path, "--data", vectors, "--out", tmp_path / "out", "--batch-size", "8")
    assert (answer.code, answer.stdout) == (2, ""), answer
    assert answer.stderr.startswith("error: ")
    assert answer.stderr.count("\n") == 1, answer.stderr
    assert message in answer.stderr
    assert sorted(tmp_path.rglob("*")) == before


def test_print_config_needs_data_and_right_values(curvae: Curvae, vectors: Path) -> None:
    assert "--data is missing" in curvae("train", "--print-config").stderr
    assert "beta is -1.0" in curvae("train", "--print-config", "--data", vectors, "--beta", "-1").stderr


def test_what_a_model_decides_is_left_open(curvae: Curvae, vectors: Path) -> None:
    printed = curvae("train", "--data", vectors, "--model", "net.py:build", "--set", "a=1", "--print-config").stdout
    values = yaml.safe_load(printed)
    assert (values["latents"], values["structure"], values["set"]) == (None, None, {"a": "1"})
    assert json.dumps(values)
    options = ("--data", vectors, "--model", "net.py:build", "--shared")
    assert yaml.safe_load(curvae("train", *options, "--print-config").stdout)["structure"] == "shared:diagonal"
