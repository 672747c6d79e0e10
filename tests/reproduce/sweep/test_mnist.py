"""From the call to the files."""

import json
import re
import shutil
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from curvae.errors import InputError
from curvae.reproduce import SCALES, SWEEPS, fig2, fig3
from curvae.reproduce.fig3.numbers import MeasuredRun, runs, summarise
from curvae.reproduce.summary import rounded
from curvae.reproduce.sweep import context
from curvae.reproduce.sweep.training import TrainingSettings, overridden
from curvae.runs import Run

Make = Callable[..., dict[str, Any]]


def reproduce(figure: str, *arguments: Any, **options: Any) -> None:
    """As the command does."""
    import_module(SWEEPS[figure]).reproduce(figure, *arguments, **options)


@pytest.fixture
def make(toy: TrainingSettings, tmp_path: Path) -> Make:
    """Make a figure at smoke scale of the toy data, and read its summary."""
    smoke = {"network": "mlp", "batch_size": "8", "device": "cpu", "steps": "20", "width": "0.05"}

    def call(figure: str, **changes: str) -> dict[str, Any]:
        out = tmp_path / figure
        reproduce(figure, "smoke", out, data=toy.data, runs=tmp_path / "runs", changes={**smoke, **changes})
        for file in (*out.glob("*.png"), out / "summary.json"):
            assert file.stat().st_size < (300_000 if file.suffix == ".png" else 200_000)
        return json.loads((out / "summary.json").read_text(encoding="utf-8"))

    return call


@pytest.mark.slow
def test_figures_2_and_7_share_runs_and_say_under_what_they_were_made(make: Make, tmp_path: Path) -> None:
    summary = make("fig2")
    trained = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "runs").iterdir()}
    assert summary["runs"] == len(trained) == 3
    assert summary["test_points"] == 6
    assert summary["measured_under"]["torch"]
    assert summary["trained_under"][0].keys() == summary["measured_under"].keys()
    assert summary["changes"]["data"] == "toy.npy"
    assert str(tmp_path) not in json.dumps(summary)
    assert {path.name for path in (tmp_path / "fig2").iterdir()} == {
        "fig2.png", "fig2-shares.png", "fig2-training.png", "summary.json", "table.md",
    }  # fmt: skip
    other = make("fig7")
    now = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "runs").iterdir()}
    assert trained.items() <= now.items()
    assert len(now) == 5
    # the same runs at the same points: the setting that both show has the same numbers
    assert other["settings"][0] == summary["settings"][0]


def test_figure_3_holds_the_formula(make: Make) -> None:
    summary = make("fig3")
    assert summary["steps"] == [2, 6, 20]
    assert summary["formula_error"] < 1e-4
    for block in ("1", "2"):
        found = summary["blocks"][block]
        measured = [one["value"] for one in found["gaps"][-1]["(7) − (13)"]]
        assert measured == pytest.approx([one["value"] for one in found["objectives"][-1]["gap"]], rel=0.01, abs=1e-5)
        assert found["slopes"]["(7) − (13)"]["value"] is not None


@pytest.mark.slow
def test_comparison_without_images_has_no_frechet_distance_and_says_why(
    make: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    summary = make("comparison")
    about = summary["frechet_distances"]
    assert "need the labels of MNIST" in about["frechet"]["left_out"]
    assert "(12,)" in about["frechet_lite0"]["left_out"]
    assert not {"frechet", "frechet_lite0"} & set(summary["measures"])
    assert capsys.readouterr().err.count("a column is left out:") == 2
    assert all(one["nll"]["mean"] > 0 for one in summary["models"].values())


def test_runs_of_other_data_are_refused(make: Make, toy: TrainingSettings, tmp_path: Path) -> None:
    first = make("fig2", steps="1")
    assert make("fig2", steps="1")["settings"] == first["settings"]  # the same call may come again
    np.save(toy.data, np.random.default_rng(1).random((80, 12), dtype=np.float32))
    with pytest.raises(InputError, match="is of other data with the same name; use another folder"):
        make("fig2", steps="1")
    shutil.rmtree(tmp_path / "fig2")
    with pytest.raises(InputError, match="was trained on data other than"):
        make("fig2", steps="1")


def test_a_setting_may_be_typed_otherwise(make: Make) -> None:
    make("fig2", steps="1")
    assert make("fig2", steps="01")["changes"]["steps"] == "01"
    with pytest.raises(InputError, match="""is of 'fig2' .* "steps": "01".* but this is .* "steps": "2".*another"""):
        make("fig2", steps="2")


@pytest.mark.parametrize("name", ["fig2.png", "fig2-shares.png", "table.md"])
def test_a_file_that_is_no_result_is_not_replaced(name: str, make: Make, tmp_path: Path) -> None:
    own = tmp_path / "fig2" / name
    own.parent.mkdir()
    own.write_bytes(b"mine")
    with pytest.raises(
        InputError, match="has the name of a result, but no summary.json says that it is one; use another"
    ):
        make("fig2", steps="1")
    assert own.read_bytes() == b"mine"
    assert [*own.parent.iterdir()] == [own]


@pytest.mark.parametrize(
    ("there", "whose"),
    [
        ({"figure": "approximation"}, "of 'approximation'"),  # whose rows are nowhere else
        ({"environment": {}}, "of no figure"),  # a benchmark's
        ({"figure": "fig2", "scale": "quick", "changes": {}}, "of 'fig2' at scale 'quick'"),
        (
            {"figure": "fig2", "scale": "smoke", "changes": {"steps": "4"}},
            """of 'fig2' at scale 'smoke' with {"steps": "4"}""",
        ),
    ],
)
def test_results_of_something_else_are_not_overwritten(there: dict[str, Any], whose: str, tmp_path: Path) -> None:
    path = tmp_path / "summary.json"
    path.write_text(json.dumps(there))
    with pytest.raises(InputError, match=f"is {re.escape(whose)} but this is 'fig2' at scale 'smoke'; use"):
        reproduce("fig2", "smoke", tmp_path, runs=tmp_path / "runs")
    assert list(tmp_path.iterdir()) == [path]
    assert json.loads(path.read_text()) == there


def test_the_summary_names_the_device_that_measured(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(context, "environment", lambda device: asked.append(device) or {"device": "here"})
    chosen = torch.device("cpu")
    monkeypatch.setattr(context, "choose_device", lambda name: chosen if name == "cpu" else torch.device("cuda"))
    assert make("fig2", steps="1")["measured_under"] == {"device": "here"}
    assert asked == [chosen]


def test_bad_names_are_refused(tmp_path: Path) -> None:
    for figure, scale in (("fig9", "smoke"), ("fig2", "huge")):
        with pytest.raises(InputError, match="expected fig2, fig7 at smoke, quick, overnight, paper"):
            fig2.reproduce(figure, scale, tmp_path)
    with pytest.raises(InputError, match="--workers is 0"):
        reproduce("fig2", "smoke", tmp_path, workers=0)


def test_every_figure_has_every_scale() -> None:
    configs = {key for package in set(SWEEPS.values()) for key in import_module(package).CONFIGS}
    assert configs == {(figure, scale) for figure in SWEEPS for scale in SCALES}
    three = fig3.CONFIGS["fig3", "paper"]
    assert (three.points, three.latents, three.blocks, three.training.steps) == (5000, 12, (1, 2, 3), 20_000)


def test_the_papers_summary_fits_into_200_kb() -> None:
    config = fig3.CONFIGS["fig3", "paper"]
    small = overridden(config, {"resamples": "3"})
    generator = np.random.default_rng(0)
    table = {}
    for point in runs(small):
        names = ("beta_vae", "taylor", "grae", "grae_family", "gap")
        values = tuple({name: generator.normal(size=4) for name in names} for _ in range(4))
        exact = {name: generator.normal(size=2) for name in ("taylor", "grae")}
        table[point] = MeasuredRun((200, 2000, 6000, 20_000), values, exact)
    # hessian_points is of the four
    summary = summarise(table, overridden(small, {"hessian_points": "2"}), generator)
    assert len(json.dumps(rounded(summary), indent=1, ensure_ascii=False)) < 190_000


@pytest.mark.slow
@pytest.mark.parametrize("figure", ["fig2", "fig3", "fig7", "comparison"])
def test_smoke_on_mnist(figure: str, tmp_path: Path) -> None:
    reproduce(figure, "smoke", tmp_path / "out", runs=tmp_path / "runs")
    summary = json.loads((tmp_path / "out" / "summary.json").read_text(encoding="utf-8"))
    assert summary["scale"] == "smoke"
    assert all(file.stat().st_size < 300_000 for file in (tmp_path / "out").iterdir())
    if figure == "comparison":
        assert {"frechet", "frechet_lite0"} <= set(summary["measures"])


@pytest.mark.parametrize(
    ("figure", "changes", "message"),
    [
        ("fig3", {"draws": "3"}, "draws is 3; expected an even number"),
        ("fig3", {"hessian_points": "0"}, "--set hessian_points is '0'; expected no number below 1"),
        ("fig3", {"betas": "0.1,0.2,0.1"}, "--set betas is '0.1,0.2,0.1'; expected each beta once"),
        ("fig2", {"seeds": "0,0"}, "--set seeds is '0,0'; expected each seed once"),
        ("fig2", {"permutations": "0"}, "--set permutations is '0'"),
        ("fig2", {"resamples": "0"}, "--set resamples is '0'"),
        ("fig2", {"shown": "0"}, "--set shown is '0'"),
        ("comparison", {"samples": "0"}, "--set samples is '0'"),
    ],
)
def test_what_cannot_be_measured_is_refused_before_anything_is_trained(
    figure: str, changes: dict[str, str], message: str, make: Make, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message):
        make(figure, **changes)
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_one_beta_has_no_slope(make: Make) -> None:
    summary = make("fig3", betas="0.2")
    assert summary["blocks"]["1"]["slopes"]["(7) − (13)"] == {"value": None, "low": None, "high": None}
    assert summary["blocks"]["1"]["gaps"][-1]["(7) − (13)"][0]["value"] > 0


@pytest.mark.slow
def test_a_path_in_a_setting_means_the_same_from_elsewhere(
    toy: TrainingSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    smoke = {"network": "mlp", "batch_size": "8", "device": "cpu", "steps": "4", "width": "0.05"}
    monkeypatch.chdir(tmp_path)
    reproduce("fig2", "smoke", tmp_path / "out", runs=tmp_path / "runs", changes={**smoke, "data": "toy.npy"})
    runs = [Run.open(path) for path in (tmp_path / "runs").iterdir()]
    assert {run.config.data for run in runs} == {toy.data}
