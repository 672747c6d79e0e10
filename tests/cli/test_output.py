"""Where output goes, and what becomes of it there: encodings, names, full disks, places that cannot be written."""

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from curvae.autoencoder import Autoencoder
from curvae.cli import app
from curvae.files import write_atomic
from curvae.reproduce import fig2
from curvae.reproduce.sweep import context

Curvae = Callable[..., Any]
USING = ("encode", "reconstruct", "interpolate", "traverse")
COMMANDS = ("train", "evaluate", *USING, "sample", "report", "reproduce")
SMALL = ("--network", "mlp", "--width", "0.02", "--latents", "2", "--steps", "2", "--batch-size", "8")


def one_line(answer: Any, code: int) -> str:
    assert answer.code == code, answer.stderr
    assert answer.stderr.startswith("error: ")
    assert answer.stderr.count("\n") == 1, answer.stderr
    return str(answer.stderr)


@pytest.mark.cases(1)
@pytest.mark.parametrize("charset", ["ascii", "cp1252", "latin-1"])
def test_any_encoding(charset: str, run: Path) -> None:
    calls = [["--help"], *([name, "--help"] for name in COMMANDS), ["evaluate", str(run), "--limit=2"]]
    for words in calls:
        answer = CliRunner(charset=charset).invoke(app, words)
        assert answer.exit_code == 0, (words, answer.exception)
    assert "beta-VAE (2)" in answer.stdout
    assert "||Sigma^-" in answer.stdout


def test_help_has_nothing_that_rich_would_swallow() -> None:
    for command in typer.main.get_command(app).commands.values():  # type: ignore[attr-defined]
        for text in (command.help, *(getattr(parameter, "help", None) for parameter in command.params)):
            assert "[" not in (text or ""), text


@pytest.mark.parametrize("name", ["[/red]", "[bold]b[/bold]", ":smile:", "\\[x]"])
def test_names_that_look_like_markup(name: str, curvae: Curvae, run: Path, tmp_path: Path) -> None:
    there = tmp_path / "r" / name
    shutil.copytree(run, there)
    answer = curvae("evaluate", there, "--limit", 2)
    assert answer.code == 0
    assert f"{name}: 2 held-out samples" in "".join(answer.stdout.split("\n")[:4]).replace("  ", "")


@pytest.mark.cases(3)
@pytest.mark.parametrize("name", ["r\udcff", "new\nline", "esc\x1b[2J", "", "~nouser/x", "x" * 300])
def test_names_that_are_refused_before_anything_is_written(
    name: str, curvae: Curvae, vectors: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    calls = [
        ("train", "--data", vectors, *SMALL, "--out"), ("evaluate",), ("sample",), ("report",),
        *((name, "--out", "z.npz") for name in USING), *((name, "run", "--out") for name in USING),
        ("reproduce", "fig2", "--out"), ("reproduce", "fig2", "--out", "out", "--runs"),
    ]  # fmt: skip
    for words in calls:
        answer = curvae(*words, name)
        assert one_line(answer, 2).startswith("error: Invalid value for ")
        assert answer.stdout == ""
        assert all(letter.isprintable() for letter in answer.stderr[:-1])
    assert sorted(tmp_path.rglob("*")) == before


def test_data_whose_name_is_not_utf8(curvae: Curvae, vectors: Path, tmp_path: Path) -> None:
    odd = tmp_path / "v\udcff.npy"
    shutil.copy(vectors, odd)
    assert curvae("train", "--data", odd, "--out", tmp_path / "odd", *SMALL).code == 0
    assert curvae("evaluate", tmp_path / "odd").code == 0
    assert curvae("report", tmp_path / "odd", "--out", tmp_path / "r.html").code == 0
    assert "v\\udcff.npy" in (tmp_path / "r.html").read_text(encoding="utf-8")


def test_what_was_measured_is_printed_where_it_cannot_be_kept(curvae: Curvae, run: Path) -> None:
    (run / "evaluation.json").mkdir()
    answer = curvae("evaluate", run, "--json", "--limit", 3)
    assert answer.json["data"] == 3
    assert "printed but not kept" in one_line(answer, 1)
    table = curvae("evaluate", run, "--limit", 3)
    assert "Taylor (7)" in table.stdout
    assert str(run) in one_line(table, 1)


def test_the_summary_is_printed_where_it_cannot_be_kept(
    curvae: Curvae, vectors: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    made = context.FigureResult({"measured": 3}, "", {"a.png": Image.new("L", (2, 2))}, ())
    monkeypatch.setattr(fig2, "reproduce", context.Sweep(fig2.CONFIGS, lambda *_: made))
    monkeypatch.setattr(context, "save_png", full)
    monkeypatch.chdir(tmp_path)
    answer = curvae("reproduce", "fig2", "--scale", "smoke", "--out", "out", "--data", vectors)
    assert answer.json["measured"] == 3
    assert "out cannot be written: No space left on device" in one_line(answer, 1)


def test_the_summary_of_another_figure_that_came_meanwhile_is_not_replaced(
    curvae: Curvae, vectors: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def make(*_: object) -> context.FigureResult:
        context.write_text(tmp_path / "out" / "summary.json", '{"figure": "fig7", "scale": "smoke"}')
        return context.FigureResult({"measured": 3}, "", {}, ())

    monkeypatch.setattr(fig2, "reproduce", context.Sweep(fig2.CONFIGS, make))
    monkeypatch.chdir(tmp_path)
    answer = curvae("reproduce", "fig2", "--scale", "smoke", "--out", "out", "--data", vectors)
    assert answer.json["measured"] == 3
    assert "summary.json is of 'fig7' at scale 'smoke' but this is 'fig2'" in one_line(answer, 1)
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["figure"] == "fig7"
    assert not (tmp_path / "out" / "table.md").exists()


def test_the_folder_that_a_link_leads_to_is_tried(
    curvae: Curvae, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "z.npz").symlink_to(Path("disk") / "z.npz")
    monkeypatch.setattr(os, "access", lambda place, _: Path(place).name != "disk")
    answer = curvae("encode", run, "--out", tmp_path / "z.npz")
    assert f"z.npz, which cannot be written: no permission to write in {tmp_path / 'disk'}" in one_line(answer, 2)
    monkeypatch.undo()
    assert curvae("encode", run, "--out", tmp_path / "z.npz").code == 0
    assert (tmp_path / "z.npz").is_symlink()
    assert [path.name for path in (tmp_path / "disk").iterdir()] == ["z.npz"]


@pytest.mark.parametrize("refusal", ["permission", "length"])
def test_a_place_is_tried_before_the_work(
    refusal: str, curvae: Curvae, run: Path, vectors: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def work(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr(Autoencoder, "sample", work)
    monkeypatch.setattr("curvae.reproduce.fig2.reproduce", work)
    monkeypatch.setattr("curvae.runs.Run.dataset", work)
    for name in ("curvae.report.write_report", "curvae.training.train"):
        monkeypatch.setattr(name, work)
    stem = "new/" + ("x" * 300 if refusal == "length" else "x")
    if refusal == "permission":
        monkeypatch.setattr("curvae.cli.places.os.access", lambda *_: False)
    calls = [
        *((name, run, "--out", tmp_path / f"{stem}.npz") for name in ("sample", *USING)),
        ("report", run, "--out", tmp_path / f"{stem}.html"),
        ("train", "--data", vectors, *SMALL, "--out", tmp_path / stem), ("reproduce", "fig2", "--out", tmp_path / stem),
        ("reproduce", "fig2", "--out", tmp_path / "o", "--runs", tmp_path / stem),
    ]  # fmt: skip
    for words in calls:
        option = words[-2]
        line = one_line(curvae(*words), 2)
        assert f"{option} is {tmp_path / 'new'}" in line or (refusal == "permission" and "no permission" in line)
    assert not (tmp_path / "new").exists()


def test_a_name_just_short_enough(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 251 + ".npy")
    write_atomic(path, lambda to: to.write_text("whole"))
    assert path.read_text() == "whole"


@pytest.mark.parametrize(
    "error",
    [MemoryError(), RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory: you tried to allocate 8")],
)
def test_too_little_memory(error: Exception, curvae: Curvae, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def greedy(*_: object) -> None:
        raise error

    monkeypatch.setattr(Autoencoder, "sample", greedy)
    assert "not enough memory" in one_line(curvae("sample", run, "--out", run.parent / "s.npy"), 1)


def test_a_fault_in_curvae_is_one_line_too(curvae: Curvae, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def faulty(*_: object) -> None:
        raise KeyError("x")

    monkeypatch.setattr(Autoencoder, "sample", faulty)
    with pytest.raises(KeyError):
        curvae("sample", run, "--out", run.parent / "s.npy")
    monkeypatch.delenv("CURVAE_TRACEBACK")
    line = one_line(curvae("sample", run, "--out", run.parent / "s.npy"), 1)
    assert "a fault in curvae, KeyError: 'x'" in line


def test_a_full_disk_and_a_closed_pipe_behind_stdout() -> None:
    words = [sys.executable, "-m", "curvae", "--help"]
    if Path("/dev/full").exists():
        with Path("/dev/full").open("w") as full:
            done = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
        assert (done.returncode, done.stderr) == (1, "error: reading or writing failed: No space left on device\n")
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(words, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")


def test_the_line_to_go_on_is_quoted_for_a_shell(curvae: Curvae, run: Path, tmp_path: Path) -> None:
    there = tmp_path / "s p; touch Y"
    run.rename(there)
    (there / "model.json").unlink()
    assert f"curvae train --resume --out '{there}'" in one_line(curvae("sample", there, "--out", tmp_path / "s.npy"), 2)


# sizes that would never end or fit: what is typed, and what the line says
SIZES: list[tuple[tuple[str, ...], str]] = [
    (
        ("evaluate", "run", "--samples", "10000000000"),
        "--samples is 10000000000; expected a whole number >= 1 and at mo",
    ),
    (("evaluate", "run", "--nll", "1000000000000"), "at most 1000000"),
    (("sample", "run", "-n", "1000000000000"), "a .png shows at most 10000 samples"),
    (("sample", "run", "-n", "1000000000000", "--out", "s.npy"), "fits in the memory of this machine"),
    (("encode", "run", "--out", "z.npz", "--limit", "-1"), "--limit is -1"),
    (("interpolate", "run", "--out", "z.npz", "--steps", "1000000000000"), "ask for less at a time"),
    (("interpolate", "run", "--out", "z.png", "--steps", "100000"), "a .png shows at most 10000"),
    (("interpolate", "run", "--out", "z.npz", "--pairs", "9" * 5000 + ":1"), "--pairs is '999"),
    (("traverse", "run", "--out", "z.npz", "--latents", "9" * 5000), "--latents is '999"),
    (("sample", "run", "--from", "mixture:" + "9" * 5000), "--from is 'mixture:999"),
    (("train", "--steps", "1000000000000"), "steps is 1000000000000; expected at most 1000000000"),
    (("train", "--width", "1e9"), "width is 1000000000.0; expected at most 1000.0"),
    (("train", "--width", "900"), "which makes networks of"),
    (("train", "--estimator", "columns:" + "9" * 150), "expected a whole number from 1 to 10000"),
    (("train", "--estimator", "columns:" + "9" * 5000), "expected at most"),
    (("train", "--estimator", "lanczos:1000000000:1", "--structure", "full"), "from 1 to 10000"),
    (("train", "--objective", "beta-vae", "--samples", "1000000000"), "samples is 1000000000; expected at most"),
    (("reproduce", "fig2", "--workers", "100000"), "--workers is 100000; expected a whole number >= 1 and at most"),
    (("reproduce", "fig2", "--set", "resamples=1000000000000"), "expected no number above 1000000"),
]


@pytest.mark.parametrize(("words", "message"), SIZES, ids=lambda value: " ".join(value)[:60])
def test_sizes(
    words: tuple[str, ...], message: str, curvae: Curvae, run: Path, vectors: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(run.parent)
    before = sorted(run.parent.rglob("*"))
    beside = {"train": (*SMALL, "--data", vectors, "--out", "out"), "reproduce": ("--scale", "smoke", "--out", "out")}
    command, *rest = words
    line = one_line(curvae(command, *beside.get(command, ()), *rest), 2)
    assert message in line
    assert len(line) < 1100
    assert sorted(run.parent.rglob("*")) == before


# reproductions that are refused: beside what would work, what is wrong, and what the line says
REFUSED: list[tuple[tuple[str, ...], str]] = [
    (("fig2", "--set", "batch_size=1000"), "batch_size is 1000"),
    (("fig2", "--data", "vectors.npy"), "latents is 8 but a sample has only 6 numbers"),
    (("fig2", "--runs", "vectors.npy"), "--runs is vectors.npy, which is a file; expected a folder"),
    (("fig2", "--runs", "vectors.npy/x"), "--runs is vectors.npy/x, which cannot be written"),
    (("fig4", "--data", "vectors.npy"), "fig4 is made of images"),
    (("fig2", "--data", ""), "data source is empty"),
    (("fig5", "--workers", "2"), "fig5 takes only --scale and --out"),
]


@pytest.mark.parametrize(("words", "message"), REFUSED, ids=lambda value: " ".join(value))
def test_a_refused_reproduction_leaves_nothing(
    words: tuple[str, ...], message: str, curvae: Curvae, vectors: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("images.npy", np.random.default_rng(0).random((60, 1, 8, 8), dtype=np.float32))
    figure, *wrong = words
    data = () if figure == "fig5" else ("--data", "images.npy", "--set", "network=mlp")
    if data and "batch_size=1000" not in wrong:
        data = (*data, "--set", "batch_size=8")
    line = one_line(curvae("reproduce", figure, "--scale", "smoke", "--out", "out", *data, *wrong), 2)
    assert message in line
    assert "--out" not in line or "fig5" in line
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images.npy", "vectors.npy"]
