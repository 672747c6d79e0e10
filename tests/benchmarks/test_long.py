"""Long runs measured along training: what stands in the summary is what the library's own evaluation says."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks import continued, long, long_runs
from curvae.errors import InputError
from curvae.likelihoods import Gaussian
from curvae.metrics import Implied, evaluate
from curvae.posteriors import Diagonal
from curvae.runs import Run, RunConfig, load_model
from curvae.training import snapshot, train

pytestmark = pytest.mark.slow  # trains and measures runs

SCALE = long.Scale(snapshot=6, finished=8, draws=2, nll=4, nll_draws=3)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A β-VAE and a GRAE of the same seed, with the model after 5 of 10 steps."""
    folder = tmp_path_factory.mktemp("long")
    np.save(folder / "data.npy", np.random.default_rng(0).random((60, 6), dtype=np.float32))
    small = {"data": str(folder / "data.npy"), "network": "mlp", "width": 0.03, "latents": 2, "beta": 0.3}
    short = {"steps": 10, "batch_size": 8, "device": "cpu", "lr": 0.01, "checkpoint_every": 10}
    for objective in ("beta-vae", "grae"):
        config = RunConfig(objective=objective, structure="diagonal", **small, **short)
        train(config, folder / "runs" / objective, keep=(5,))
    return folder / "runs"


def test_values_and_differences_are_those_of_the_models(runs: Path, tmp_path: Path) -> None:
    long.evaluate(runs, tmp_path / "out", tmp_path / "values", SCALE)
    summary = json.loads((tmp_path / "out" / "summary.json").read_text(encoding="utf-8"))
    (ways,) = summary["settings"].values()
    data = torch.as_tensor(Run.open(runs / "grae").dataset().test[:])

    def expected(name: str, step: int, measure: str) -> float:
        model = load_model(snapshot(runs / name, 5) if step == 5 else runs / name)
        amount = SCALE.snapshot if step == 5 else SCALE.finished
        noise = torch.Generator().manual_seed(0)
        given = (model, data[:amount], 0.3, Gaussian(), Diagonal())
        return getattr(evaluate(*given, generator=noise, samples=1), measure).mean

    for measure in ("taylor", "grae_full"):
        for step in (5, 10):
            vae, grae = (expected(name, step, measure) for name in ("beta-vae", "grae"))
            found = ways["grae, exact"][str(step)]
            assert found[measure]["value"] == pytest.approx(grae, rel=1e-4)
            assert found["less_reference"][measure]["value"] == pytest.approx(grae - vae, abs=1e-3)
    assert found["less_reference"]["nll"]["low"] is None  # one seed says nothing about seeds
    assert {run["finished"] for run in summary["runs"]} == {True}
    assert (tmp_path / "out" / "curves.png").stat().st_size > 1000


def test_runs_join_a_summary_whose_runs_are_gone(runs: Path, tmp_path: Path) -> None:
    """One seed measured, stored and gone, and another measured later, are as both measured at once."""
    both, later = tmp_path / "both", tmp_path / "later"
    shutil.copytree(runs, both)
    for name in ("beta-vae", "grae"):
        train(replace(Run.open(runs / name).config, seed=1), both / f"{name}-1", keep=(5,))
        shutil.copytree(both / f"{name}-1", later / f"{name}-1")
    whole = long.evaluate(both, tmp_path / "whole", tmp_path / "values", SCALE)
    long.evaluate(runs, tmp_path / "first", tmp_path / "values", SCALE)
    stored = tmp_path / "first" / "summary.json"
    joined = long.evaluate(later, tmp_path / "joined", tmp_path / "values", SCALE, stored)

    (expected,), (found,) = whole["settings"].values(), joined["settings"].values()
    assert {row["run"] for row in joined["runs"]} == {row["run"] for row in whole["runs"]}
    for way, step in (("β-VAE", "5"), ("grae, exact", "5"), ("grae, exact", "10")):
        parts = [(expected[way][step], found[way][step])]
        if way != "β-VAE":
            parts += [(one["less_reference"], other["less_reference"]) for one, other in parts]
        for one, other in parts:
            for measure in long.MEASURES.keys() & one.keys():
                assert other[measure]["seeds"] == 2
                for key in ("value", "low", "high"):
                    assert other[measure][key] == pytest.approx(one[measure][key], rel=2e-3, abs=2e-3)

    # a way that nothing joins stays as it is stored, its standard error over samples too
    shutil.rmtree(later / "beta-vae-1")
    again = long.evaluate(later, tmp_path / "again", tmp_path / "values", SCALE, stored)
    kept = json.loads(stored.read_text(encoding="utf-8"))["settings"]
    for title, ways in again["settings"].items():
        assert ways["β-VAE"] == kept[title]["β-VAE"]
        assert ways["grae, exact"]["10"]["taylor"]["seeds"] == 2
    with pytest.raises(InputError, match="was measured at"):
        long.evaluate(later, tmp_path / "other", tmp_path / "values", replace(SCALE, draws=4), stored)


def one_run(name: str, seed: int, steps: int, value: float) -> Any:
    """A run that says no more than a summary asks for, and its values at its end."""
    config = RunConfig(data="toy", objective="grae", seed=seed, steps=steps)
    environment = dict.fromkeys(("commit", "device", "curvae", "torch"), "none")
    run = SimpleNamespace(path=Path(name), config=config, environment=environment, finished=True)
    measures = ("beta_vae", "taylor", "grae_full", "squared_error", "left_out")
    return run, {steps: dict.fromkeys(measures, np.array([value, value + 1]))}


def test_a_run_that_went_on_leaves_the_stored_way() -> None:
    first = long.summarise([one_run("a", 0, 10, 1.0), one_run("b", 1, 10, 5.0)], SCALE)
    joined = long.summarise([one_run("b", 1, 20, 5.0)], SCALE, first)
    found = {row["run"]: joined["settings"][row["setting"]]["grae, exact"] for row in joined["runs"]}
    assert {run: [*steps] for run, steps in found.items()} == {"a": ["10"], "b": ["20"]}
    assert (found["a"]["10"]["taylor"]["seeds"], found["a"]["10"]["taylor"]["value"]) == (1, 1.5)


def test_two_runs_of_one_seed_are_not_taken_for_one() -> None:
    with pytest.raises(InputError, match="a and b are both grae, exact with seed 0"):
        long.summarise([one_run("b", 0, 10, 1.0)], SCALE, long.summarise([one_run("a", 0, 10, 1.0)], SCALE))


def test_nothing_is_measured_twice_and_new_weights_are(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, taken = Run.open(runs / "grae"), []
    data = torch.as_tensor(run.dataset().test[:])

    def fake(*given: object) -> long_runs.Values:
        taken.append(given)
        return {"taylor": np.zeros(3)}

    monkeypatch.setattr(long, "measure", fake)
    assert list(long.measured(run, data, SCALE, tmp_path)) == [5, 10]
    long.measured(run, data, SCALE, tmp_path)
    assert len(taken) == 2
    long.measured(run, data, long.Scale(), tmp_path)
    assert len(taken) == 4


def test_a_folder_without_runs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no run"):
        long.evaluate(tmp_path, tmp_path / "out", tmp_path / "values", SCALE)


def test_without_lengths_nothing_is_continued() -> None:
    config = RunConfig(data="toy", objective="grae")
    assert list(continued.continuations(config, ())) == []
    assert len(list(continued.continuations(config, (3,)))) == 3


def test_continued_runs_are_measured_beside_their_ends(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(continued, "Scale", lambda: SCALE)
    folder = tmp_path / "runs"
    shutil.copytree(runs, folder)
    train(replace(Run.open(runs / "beta-vae").config, steps=12), folder / "longer")
    train(replace(Run.open(runs / "beta-vae").config, precision="bf16"), folder / "coarse")
    continued.evaluate(folder, tmp_path / "out", tmp_path / "values", (4, 2))
    summary = json.loads((tmp_path / "out" / "continued.json").read_text(encoding="utf-8"))
    ways = {(way["first"], way["then"], way["more_steps"], way.get("head")): way for way in summary["ways"]}
    grae, vae = "grae, exact", "β-VAE"
    assert ways.keys() == {
        (vae, None, 0, None),
        (vae, vae, 4, None),
        (vae, vae, 2, None),
        (grae, None, 0, None),
        (grae, vae, 4, "fitted"),
        (grae, vae, 2, "fitted"),
        (grae, vae, 4, "as initialised"),
        (grae, grae, 4, None),
    }
    for measure in ("beta_vae", "taylor", "nll"):
        end, more = ways[grae, None, 0, None], ways[grae, vae, 4, "fitted"]
        difference = more[measure]["value"] - end[measure]["value"]
        assert more["less_before"][measure]["value"] == pytest.approx(difference, abs=1e-4)
        assert difference != 0
        behind = end[measure]["value"] - ways[vae, None, 0, None][measure]["value"]
        assert end["less_reference"][measure]["value"] == pytest.approx(behind, abs=1e-4)
        longer = summary["longer"]["12"]
        gained = longer[measure]["value"] - ways[vae, None, 0, None][measure]["value"]
        assert gained != 0
        assert longer["less_reference"][measure]["value"] == pytest.approx(gained, abs=1e-4)
        assert end["less_longer"]["12"][measure]["value"] == pytest.approx(behind - gained, abs=1e-4)
        (coarse,) = summary["precisions"]
        assert (coarse["precision"], coarse["way"], coarse["seeds"]) == ("bf16", vae, [0])
        mine, theirs = (float(_last(tmp_path / "values", each)[measure].mean()) for each in ("coarse", "beta-vae"))
        assert mine != theirs
        assert coarse["less_main"][measure]["value"] == pytest.approx(mine - theirs, abs=1e-4)


def _last(values: Path, run: str) -> dict[str, np.ndarray]:
    """What was measured at the end of a run."""
    (path,) = (path for path in values.glob(f"{run}-10-*.npz"))
    return dict(np.load(path))


def test_a_new_head_has_the_widths_of_11(runs: Path) -> None:
    # features of 2 linear heads' input are more than samples, so that least squares can fit every width
    run = Run.open(runs / "grae")
    data = torch.as_tensor(run.dataset().train[:20])
    model = load_model(run.path)
    vae = continued.with_widths(model, data, run.config, fitted=True).eval()
    implied = Implied(load_model(run.path), 0.3, Gaussian(), structure=Diagonal())
    torch.testing.assert_close(
        vae.posterior(data).covariance(), implied.posterior(data).covariance(), rtol=1e-2, atol=1e-4
    )
    torch.testing.assert_close(vae.encode(data), load_model(run.path).encode(data))
