"""The list of runs, several runs in one table, runs that are not finished, and completion."""

import fcntl
import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from curvae import metrics
from curvae.report.subjects import open_subjects
from curvae.runs import Run
from curvae.runs.taking import is_held, locked

Curvae = Callable[..., Any]


@pytest.fixture
def folder(run: Path, tmp_path: Path) -> Path:
    """A finished run, one that was stopped, one that cannot be read, and what is no run."""
    folder = tmp_path / "runs"
    shutil.copytree(run, folder / "b" / "finished")
    shutil.copytree(run, folder / "a")
    (folder / "a" / "model.json").unlink()
    lines = (folder / "a" / "metrics.jsonl").read_text().splitlines(keepends=True)
    (folder / "a" / "metrics.jsonl").write_text("".join(line for line in lines if json.loads(line)["step"] <= 5))
    shutil.copytree(run, folder / "damaged")
    (folder / "damaged" / "config.json").write_text("{")
    (folder / "empty").mkdir()
    return folder


def test_the_list(folder: Path, curvae: Curvae) -> None:
    found = curvae("runs", folder, "--json").json
    assert found["folder"] == str(folder)
    a, finished, damaged = found["runs"]
    assert [Path(one["run"]).name for one in found["runs"]] == ["a", "finished", "damaged"]
    assert (a["state"], a["step"], a["steps"], a["best_step"]) == ("stopped", 5, 10, 5)
    assert (finished["state"], finished["step"], finished["model"]) == ("finished", 10, "mlp")
    looks = {
        line["step"]: line["held_out"]["total"] for line in Run.open(finished["run"]).metrics if "held_out" in line
    }
    assert finished["best"] == min(looks.values()) == looks[finished["best_step"]]
    assert damaged["state"] == "damaged"
    assert "not valid JSON" in damaged["error"]
    shown = curvae("runs", folder)
    assert shown.code == 0
    assert all(word in shown.stdout for word in ("stopped", "finished", "damaged", "5 of 10"))
    assert f"damaged: {damaged['error']}" in shown.stdout.splitlines()  # whole, with the name of the file


def test_a_foreign_configuration_is_called_that(tmp_path: Path, curvae: Curvae) -> None:
    (tmp_path / "config.json").write_text('{"_class_name": "AutoencoderKL"}')
    (found,) = curvae("runs", tmp_path, "--json").json["runs"]
    assert found["error"] == f"{tmp_path / 'config.json'} is no document of curvae's; expected 'curvae-run'"


def test_links_are_followed_and_each_run_is_listed_once(folder: Path, curvae: Curvae) -> None:
    elsewhere = folder.parent / "elsewhere"
    shutil.copytree(folder / "b", elsewhere / "b")
    (folder / "disk").symlink_to(elsewhere)
    (folder / "latest").symlink_to(folder / "b" / "finished")
    (folder / "back").symlink_to(folder)
    (folder / "a_link_before_b").symlink_to(folder / "b")
    (elsewhere / "gone").symlink_to(elsewhere / "nothing")
    names = [f"x{number}" for number in range(8)]
    for name in names:  # 8 folders that each link to all: 8! ways through them
        (elsewhere / name).mkdir()
        for other in names:
            (elsewhere / name / other).symlink_to(elsewhere / other)
    found = curvae("runs", folder, "--json").json["runs"]
    expected = ["a", "b/finished", "damaged", "disk/b/finished"]
    assert [str(Path(one["run"]).relative_to(folder)) for one in found] == expected


def test_a_run_that_is_held_is_being_trained(folder: Path, curvae: Curvae) -> None:
    with locked(folder / "a"):
        states = [one["state"] for one in curvae("runs", folder, "--json").json["runs"]]
    assert states == ["training", "finished", "damaged"]
    with locked(folder / "a"):  # the list holds nothing
        pass


def test_two_lists_do_not_see_each_other(folder: Path, curvae: Curvae) -> None:
    (folder / "a" / ".lock").touch()
    with (folder / "a" / ".lock").open() as file:
        fcntl.flock(file, fcntl.LOCK_SH)  # another list, at the same time
        states = [one["state"] for one in curvae("runs", folder, "--json").json["runs"]]
    assert states == ["stopped", "finished", "damaged"]


def test_a_lock_that_is_removed_is_not_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "exists", lambda _: True)  # until now
    assert not is_held(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_run_that_is_removed_while_the_list_is_made_is_left_out(
    folder: Path, curvae: Curvae, monkeypatch: pytest.MonkeyPatch
) -> None:
    removed = [Path(shutil.copytree(folder / "a", folder / name)) for name in ("c", "d")]
    (removed[1] / "config.json").unlink()
    found = [folder / "a", *removed, folder / "gone"]
    monkeypatch.setattr(import_module("curvae.cli.runs"), "_folders", lambda _: found)
    answer = curvae("runs", folder, "--json")
    assert [Path(one["run"]).name for one in answer.json["runs"]] == ["a", "c"]


def test_no_runs(tmp_path: Path, curvae: Curvae) -> None:
    empty = curvae("runs", tmp_path)
    assert (empty.code, empty.stdout) == (0, "")
    assert "there are no runs in" in empty.stderr
    assert curvae("runs", tmp_path, "--json").json == {"folder": str(tmp_path), "runs": []}
    refused = curvae("runs", tmp_path / "nowhere")
    assert (refused.code, "is not a folder" in refused.stderr) == (2, True)


def test_several_runs_are_one_table(run: Path, tmp_path: Path, curvae: Curvae) -> None:
    other = Path(shutil.copytree(run, tmp_path / "other"))
    both = curvae("evaluate", run, other, "--json", "--limit", "4").json["runs"]
    alone = curvae("evaluate", run, "--json", "--limit", "4").json
    assert both == [alone, alone | {"run": str(other)}]
    assert Run.open(other).evaluation is not None
    shown = curvae("evaluate", run, other, "--limit", "4")
    assert shown.code == 0
    assert all(f" {name} " in shown.stdout for name in ("run", "other"))
    assert f"{alone['beta_vae']['mean']:.5g}" in shown.stdout


def test_no_digit_of_several_runs_is_cut_off(
    run: Path, tmp_path: Path, curvae: Curvae, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    names = ["other", "a-run-with-a-long-name-" + "x" * 80, "third", "fourth"]
    others = [Path(shutil.copytree(run, tmp_path / name)) for name in names]
    found = curvae("evaluate", run, "--json", "--limit", "4").json
    shown = curvae("evaluate", run, *others, "--limit", "4").stdout
    assert "…" not in shown
    assert max(map(len, shown.splitlines())) <= 80
    assert shown.count(f"{found['gap']['mean']:.5g} ± {found['gap']['se']:.2g}") == 5
    listed = curvae("runs", tmp_path).stdout
    assert "…" not in listed
    assert listed.count("x") >= 80


def test_one_bad_run_of_several_costs_no_work(run: Path, tmp_path: Path, curvae: Curvae) -> None:
    answer = curvae("evaluate", run, tmp_path / "nowhere")
    assert (answer.code, answer.stdout) == (2, "")
    assert not (run / "evaluation.json").exists()


def test_the_last_checkpoint_of_a_run_that_is_not_finished(run: Path, curvae: Curvae) -> None:
    """Here it is that of the last step, so that it is the finished model."""
    finished = curvae("evaluate", run, "--json", "--limit", "4").json
    (run / "evaluation.json").unlink()
    for name in ("model.json", "model.safetensors"):
        (run / name).unlink()
    answer = curvae("evaluate", run, "--json", "--limit", "4")
    assert answer.stderr == f"note: {run} is not finished: this is its checkpoint of step 10 of 10\n"
    assert answer.json == finished | {"checkpoint_step": 10}
    assert math.isfinite(answer.json["grae"]["mean"])
    assert not (run / "evaluation.json").exists()  # it would outlive the checkpoint
    page = run.parent / "report.html"
    assert curvae("report", run, "--out", page).code == 0
    assert "its checkpoint of step 10 of 10" in page.read_text()
    assert "Originals and reconstructions" in page.read_text()
    (subject,) = open_subjects([run])  # without being asked for
    assert subject.view is None


def test_a_run_that_ends_while_its_checkpoint_is_measured(
    run: Path, curvae: Curvae, monkeypatch: pytest.MonkeyPatch
) -> None:
    document, evaluate = (run / "model.json").read_text(), metrics.evaluate

    def then_ends(*arguments: Any, **options: Any) -> Any:
        (run / "model.json").write_text(document)
        return evaluate(*arguments, **options)

    (run / "model.json").unlink()
    monkeypatch.setattr(metrics, "evaluate", then_ends)
    answer = curvae("evaluate", run, "--json", "--limit", "4")
    assert (answer.code, answer.json["checkpoint_step"]) == (0, 10)
    assert not (run / "evaluation.json").exists()


def test_a_run_that_goes_on_while_it_is_measured(run: Path, curvae: Curvae, monkeypatch: pytest.MonkeyPatch) -> None:
    evaluate = metrics.evaluate

    def then_goes_on(*arguments: Any, **options: Any) -> Any:
        (run / "model.json").unlink()
        return evaluate(*arguments, **options)

    monkeypatch.setattr(metrics, "evaluate", then_goes_on)
    answer = curvae("evaluate", run, "--json", "--limit", "4")
    assert (answer.code, answer.json["data"]) == (1, 4)
    assert "printed but not kept: " in answer.stderr
    assert "was trained on after it was opened here" in answer.stderr
    assert not (run / "evaluation.json").exists()


def test_no_checkpoint_yet(stopped: Path, curvae: Curvae) -> None:
    (stopped / "checkpoints" / "last.ckpt").unlink()
    answer = curvae("evaluate", stopped)
    assert (answer.code, answer.stderr.count("\n")) == (2, 1)
    assert "has no checkpoint yet" in answer.stderr
    assert curvae("report", stopped, "--out", stopped.parent / "report.html").code == 0


def test_completion_in_a_shell() -> None:
    asked = {"_CURVAE_COMPLETE": "complete_bash", "COMP_WORDS": "curvae trai", "COMP_CWORD": "1"}
    code = "from curvae.cli import app; app(prog_name='curvae', args=[])"
    done = subprocess.run([sys.executable, "-c", code], env=os.environ | asked, capture_output=True, text=True)
    assert (done.returncode, done.stdout.split()) == (0, ["train"]), done.stderr
