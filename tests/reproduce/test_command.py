"""The options of ``curvae reproduce`` that sweeps take."""

import json
import os
import signal
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from curvae.cli import app, main
from curvae.reproduce import approximation, fig2, fig3
from curvae.training import TrainingError


def call(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["reproduce", *(str(argument) for argument in arguments)])
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.exit_code, result.stdout, result.stderr


def test_options_reach_the_experiment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    monkeypatch.setattr(fig3, "reproduce", lambda *arguments, **options: calls.append((arguments, options)))
    options = ("--workers", 2, "--runs", tmp_path / "runs", "--set", "width=0.25", "--set", "seeds=0,1")
    cluster = ("--cluster", "slurm_partition=gpu", "--cluster", "timeout_min=60", "--data", "fashion-mnist")
    code, stdout, _ = call("fig3", "--scale", "paper", "--out", tmp_path / "out", "--json", *options, *cluster)
    assert code == 0
    assert json.loads(stdout)["figure"] == "fig3"
    assert calls == [
        (
            ("fig3", "paper", tmp_path / "out"),
            {
                "data": "fashion-mnist",
                "runs": tmp_path / "runs",
                "workers": 2,
                "cluster": {"slurm_partition": "gpu", "timeout_min": 60},
                "changes": {"width": "0.25", "seeds": "0,1"},
            },
        )
    ]


def test_what_goes_wrong_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = ("--out", tmp_path / "out")
    code, _, stderr = call("fig2", *out, "--set", "width")
    assert (code, stderr) == (2, "error: --set is 'width'; expected KEY=VALUE\n")
    code, _, stderr = call("fig2", *out, "--set", "width=1", "--set", "width=2")
    assert (code, stderr) == (2, "error: --set gives width twice; keep one of them\n")
    code, _, stderr = call("fig2", *out, "--set", "breadth=1", "--scale", "smoke")
    assert code == 2
    assert stderr.startswith("error: --set breadth is not known here; expected one of steps, width")

    def diverge(*_: Any, **__: Any) -> None:
        raise TrainingError("the loss is nan")

    monkeypatch.setattr(fig2, "reproduce", diverge)
    assert call("fig2", *out) == (1, "", "error: the loss is nan\n")


def run_main(folder: Path, monkeypatch: pytest.MonkeyPatch, reproduce: Callable[[], object]) -> object:
    """The command in this process, whose signals and warnings are given back."""
    monkeypatch.setattr(fig2, "reproduce", lambda *_, **__: reproduce())
    monkeypatch.setattr("sys.argv", ["curvae", "reproduce", "fig2", "--out", str(folder / "out")])
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with pytest.raises(SystemExit) as left:
            main()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return left.value.code


def test_sigterm_is_as_ctrl_c(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_main(tmp_path, monkeypatch, lambda: os.kill(os.getpid(), signal.SIGTERM)) == 1
    assert capsys.readouterr().err == "error: fig2 was interrupted; the same command goes on where it stopped\n"


def test_what_runs_remark_is_a_line_without_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def remark() -> None:
        warnings.warn("note: toy is small", RuntimeWarning, stacklevel=1)
        warnings.warn("is odd", UserWarning, stacklevel=1)

    assert run_main(tmp_path, monkeypatch, remark) == 0
    assert capsys.readouterr().err.splitlines()[:2] == ["note: toy is small", "warning: is odd"]
    monkeypatch.setattr(sys, "stderr", None)
    assert run_main(tmp_path, monkeypatch, remark) == 0
    assert "odd" not in capsys.readouterr().out


def test_other_experiments_do_not_take_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(approximation, "reproduce", lambda *arguments: pytest.fail("was called"))
    code, _, stderr = call("approximation", "--out", tmp_path / "out", "--workers", 2)
    assert code == 2
    assert "approximation takes only --scale and --out" in stderr
