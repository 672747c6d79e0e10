"""A run that goes on longer, with its data at another place, or on another device, and says so."""

import io
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from curvae.errors import InputError
from curvae.runs import Run, RunConfig, load_model
from curvae.runs.evaluated import read_evaluation
from curvae.training import snapshot, train
from curvae.training.checkpoint import Checkpoint

Configure = Callable[..., RunConfig]
EVERY = {"checkpoint_every": 5, "log_every": 5}


def same(left: Run, right: Run, since: int = 0) -> None:
    """Weights, Adam's state and every number logged from a step on, held-out values included."""
    states = [Checkpoint.load(run.checkpoint) for run in (left, right)]
    for name in ("model", "optimizer"):
        torch.testing.assert_close(getattr(states[0], name), getattr(states[1], name), rtol=0, atol=0)
    torch.testing.assert_close(left.model().state_dict(), right.model().state_dict(), rtol=0, atol=0)
    logs = [
        [{k: v for k, v in line.items() if k != "seconds"} for line in run.metrics if line["step"] > since]
        for run in (left, right)
    ]
    assert logs[0] == logs[1]


@pytest.mark.parametrize(
    "case",
    [
        {"objective": "beta-vae"},
        pytest.param({"objective": "grae", "network": "paper", "estimator": "columns:1"}, marks=pytest.mark.slow),
    ],
    ids=lambda case: case["objective"],
)
def test_a_lengthened_run_is_the_long_one(case: dict[str, str], configure: Configure, tmp_path: Path) -> None:
    config = configure(**case, **EVERY, steps=10)
    longer = replace(config, steps=20)
    run = train(config, tmp_path / "run").run
    weights = run.model().state_dict()
    outcome = train(longer, tmp_path / "run", resume=True)
    assert (outcome.finished, outcome.done_before, outcome.step) == (True, 10, 20)
    # the shorter run's end took its batch-norm statistics over more data than the middle of the long one
    since = 10 if case.get("network") == "paper" else 0
    same(outcome.run, train(longer, tmp_path / "whole").run, since)
    (entry,) = Run.open(tmp_path / "run").history
    assert (entry["step"], entry["from"], entry["to"]) == (10, {"steps": 10}, {"steps": 20})
    assert entry["date"].startswith("20")
    assert entry["environment"]["torch"] == torch.__version__
    assert Run.open(tmp_path / "whole").history == ()
    torch.testing.assert_close(load_model(snapshot(run.path, 10)).state_dict(), weights, rtol=0, atol=0)


@pytest.mark.slow
def test_lengthened_twice_and_while_unfinished(configure: Configure, tmp_path: Path) -> None:
    config = configure(**EVERY, steps=10)
    out = tmp_path / "run"
    train(config, out)
    for name in ("model.json", "model.safetensors"):
        (out / name).unlink()
    for steps in (15, 20):
        train(replace(config, steps=steps), out, resume=True)
    assert [entry["to"]["steps"] for entry in Run.open(out).history] == [15, 20]
    same(Run.open(out), train(replace(config, steps=20), tmp_path / "whole").run)


@pytest.mark.slow
def test_an_evaluation_stays_with_the_model_it_is_of(configure: Configure, tmp_path: Path) -> None:
    config = configure(**EVERY, steps=10)
    out = tmp_path / "run"
    train(config, out)
    (out / "evaluation.json").write_text("{}")
    run = train(replace(config, steps=15), out, resume=True).run
    assert run.evaluation is None
    assert (snapshot(out, 10) / "evaluation.json").read_text() == "{}"


def test_a_kill_while_the_finished_model_is_set_aside_leaves_no_evaluation_of_it(
    configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, unlink = configure(**EVERY, steps=5), Path.unlink
    run = train(config, tmp_path / "run").run
    found = run.evaluate(limit=2)

    def then_killed(path: Path, **options: bool) -> None:
        unlink(path, **options)
        if path.parent == run.path:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", then_killed)
        with pytest.raises(KeyboardInterrupt):
            train(replace(config, steps=10), run.path, resume=True)
    again = train(replace(config, steps=10), run.path, resume=True).run
    assert again.evaluation is None
    assert read_evaluation(snapshot(run.path, 5)) == found


@pytest.mark.slow
def test_fewer_steps_than_are_done_are_refused(configure: Configure, tmp_path: Path) -> None:
    config = configure(**EVERY, steps=10)
    train(config, tmp_path / "run")
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    with pytest.raises(InputError, match=r"^steps is 9 but .*run has already done 10; expected at least that many$"):
        train(replace(config, steps=9), tmp_path / "run", resume=True)
    assert {path: path.read_bytes() for path in before} == before


def test_a_finished_run_stays_so_where_its_log_is_damaged(configure: Configure, tmp_path: Path) -> None:
    run = train(configure(**EVERY, steps=5), tmp_path / "run").run
    with (run.path / "metrics.jsonl").open("a") as file:
        file.write("damaged\n")
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    with pytest.raises(InputError, match=r"line 2 of .* is not a JSON object"):
        train(replace(run.config, steps=10), run.path, resume=True)
    assert {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()} == before
    assert Run.open(run.path).finished


@pytest.mark.cases(1)
@pytest.mark.parametrize("finished", [True, False])
def test_the_same_data_at_another_place(finished: bool, configure: Configure, tmp_path: Path) -> None:
    config = configure(**EVERY, steps=10)
    out = tmp_path / "run"
    train(config, out)
    if not finished:
        (out / "model.json").unlink()
    moved, other = tmp_path / "moved.npy", tmp_path / "other.npy"
    shutil.move(config.data, moved)
    np.save(other, np.load(moved) * 0.5)
    with pytest.raises(InputError, match=r"if they were moved, .*curvae train --resume --out .*run --data PLACE"):
        Run.open(out).dataset()
    with pytest.raises(InputError, match="has changed since"):
        train(replace(config, data=str(other)), out, resume=True)
    assert Run.open(out).config.data == config.data
    outcome = train(replace(config, data=str(moved)), out, resume=True)
    assert (outcome.finished, outcome.done_before) == (True, 10)
    assert Run.open(out).config.data == str(moved)
    assert [entry["to"] for entry in Run.open(out).history] == [{"data": str(moved)}]
    assert len(Run.open(out).dataset().test) == 8
    assert Run.open(out).model().latents == 2


@pytest.mark.slow
def test_another_device(configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    config = configure(**EVERY, steps=10, device="auto")
    train(config, tmp_path / "run")
    run = train(replace(config, steps=15, device="cpu"), tmp_path / "run", resume=True).run
    assert run.history[0]["from"] == {"steps": 10, "device": "auto"}
    with pytest.raises(InputError, match="finds no GPU"):
        train(replace(config, steps=20, device="cuda"), tmp_path / "run", resume=True)
    assert Run.open(tmp_path / "run").config.steps == 15


def test_a_lengthened_cosine_says_where_its_rate_goes_on(configure: Configure, tmp_path: Path) -> None:
    config = configure(**EVERY, steps=10, schedule="cosine", lr=0.02)
    train(config, tmp_path / "run")
    said = Console(file=io.StringIO())
    train(replace(config, steps=20), tmp_path / "run", resume=True, console=said)
    told = (
        "continues after step 10 with steps 20 (was 10); the learning rate goes on from 0.01, on a cosine of 20 steps"
    )
    assert said.file.getvalue().splitlines()[0] == told  # type: ignore[attr-defined]


def test_what_makes_another_training_is_refused_still(configure: Configure, tmp_path: Path) -> None:
    config = configure(**EVERY, steps=10)
    train(config, tmp_path / "run")
    with pytest.raises(InputError, match=r"another configuration: lr 0\.5 \(was 0\.01\); leave"):
        train(replace(config, steps=20, lr=0.5), tmp_path / "run", resume=True)
    with pytest.raises(InputError, match=r"init_from a \(was none\), clip 1\.0 \(was none\); leave"):
        train(replace(config, init_from="a", clip=1.0), tmp_path / "run", resume=True)
    document = json.loads((tmp_path / "run" / "config.json").read_text())
    document["config"]["beta"] = 0.9
    (tmp_path / "run" / "config.json").write_text(json.dumps(document))
    with pytest.raises(InputError, match=r"belong to different runs \(they differ in beta\)"):
        Run.open(tmp_path / "run").model()
