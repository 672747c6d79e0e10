"""Tables say what the run folder says."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from curvae.metrics import Estimate
from curvae.report.subjects import ShownRun, open_subjects
from curvae.report.tables import measure_rows, objective_name, objective_rows, plus_minus, setting_rows
from curvae.runs import Run, RunConfig

MakeRun = Callable[..., Run]


def test_objectives_with_their_differences(tmp_path: Path, digits: Path, make_run: MakeRun) -> None:
    runs = [make_run(tmp_path / name, digits, objective=name, structure="block:2") for name in ("beta-vae", "grae")]
    measured = [(run.config, run.evaluation) for run in runs]
    rows = objective_rows(measured)
    assert [row.label for row in rows][:3] == ["(2) β-VAE", "(7) Taylor", "(13) GRAE"]
    for i, run in enumerate(runs):
        found = run.evaluation
        assert found is not None
        chosen = [found.beta_vae, found.taylor, found.grae_full, found.grae]
        assert [row.cells[i] for row in rows[:4]] == [plus_minus(estimate) for estimate in chosen]
        assert rows[0].details[i] == ""
        for row, estimate in zip(rows[1:4], chosen[1:], strict=True):
            percent = 100 * (estimate.mean / found.beta_vae.mean - 1)
            shown = float(row.details[i].removesuffix(" %").replace("−", "-"))
            assert abs(shown - percent) <= 0.051
    assert rows[-1].cells == ("20", "20")


def test_names_follow_structure_and_observation_model(tmp_path: Path, digits: Path, make_run: MakeRun) -> None:
    run = make_run(tmp_path / "a", digits, structure="full", likelihood="bernoulli-logits")
    rows = objective_rows([(run.config, run.evaluation)])
    assert [row.label for row in rows] == ["(2) β-VAE", "(7) Taylor", "(12) GRAE", "held-out samples"]
    settings = {row.label: row.cells for row in setting_rows(open_subjects([tmp_path / "a"]))}
    assert settings["objective"] == ("GRAE (12)",)


def test_every_number_of_the_evaluation_is_shown(tmp_path: Path, digits: Path, make_run: MakeRun) -> None:
    run = make_run(tmp_path / "a", digits, objective="beta-vae", structure="full")
    found = run.evaluation
    assert found is not None
    measured = [(run.config, found)]
    shown = {cell for row in [*objective_rows(measured), *measure_rows(measured)] for cell in row.cells}
    values = found.to_json()
    for name, value in values.items():
        if isinstance(value, dict) and name != "grae":  # the structure is full: the same as grae_full
            assert plus_minus(Estimate(**value)) in shown, name
    assert f"{found.alignment_correlation:.2f}".replace("-", "−") in shown


def test_settings_that_differ_are_marked(tmp_path: Path, digits: Path, make_run: MakeRun) -> None:
    make_run(tmp_path / "a", digits, objective="beta-vae", beta=0.2, evaluated=False)
    make_run(tmp_path / "b", digits, objective="grae", estimator="columns:1", beta=0.4, finished=False)
    rows = {row.label: row for row in setting_rows(open_subjects([tmp_path / "a", tmp_path / "b"]))}
    assert rows["objective"].cells == ("β-VAE (2)", "GRAE≈ (14)")
    assert rows["estimator"].cells == ("1 noisy sample of z", "columns:1")
    assert rows["β"].cells == ("0.2", "0.4")
    assert rows["β"].differs
    assert not rows["seed"].differs
    assert rows["steps"].cells == ("30", "30 of 30, not finished")
    assert rows["data shape"].cells == ("1 × 8 × 8; 180 to train, 20 held out",) * 2
    assert rows["training time"].cells == ("3 s", "3 s")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"objective": "taylor"}, "exact"),
        ({"objective": "taylor", "estimator": "secants:2"}, "secants:2"),
        ({"objective": "rae", "estimator": "columns:1"}, "columns:1"),
        ({"objective": "beta-vae", "samples": 3}, "3 noisy samples of z"),
        ({"objective": "python"}, "one's own"),
    ],
)
def test_estimator_is_that_of_the_objective(
    changes: dict[str, Any], said: str, tmp_path: Path, digits: Path, make_run: MakeRun
) -> None:
    run = make_run(tmp_path, digits, evaluated=False)
    run = replace(run, config=replace(run.config, **changes))
    rows = {row.label: row for row in setting_rows([ShownRun(run, "a", "#000000", None)])}
    assert rows["estimator"].cells == (said,)


def test_digits_follow_the_standard_error() -> None:
    assert plus_minus(Estimate(0.0196547, 0.00029787)) == "0.01965 ± 0.00030"
    assert plus_minus(Estimate(-3.0, 0.5)) == "−3.00 ± 0.50"
    assert plus_minus(Estimate(6641.2, 213.4)) == "6641 ± 213"
    assert plus_minus(Estimate(1e-9, 1e-10)) == "1e−09 ± 1e−10"
    assert plus_minus(Estimate(-3.0, None)) == "−3"


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"objective": "taylor", "curvature": "hessian"}, "Taylor (4)"),
        ({"objective": "grae", "curvature": "hessian"}, "GRAE (10)"),
        ({"objective": "grae", "structure": "full", "estimator": "lanczos:4"}, "GRAE (13)"),
        ({"objective": "grae", "estimator": "trace:1"}, "GRAE, first order"),
        ({"objective": "grae", "structure": "diagonal", "estimator": "secants:1:central"}, "GRAE, secants"),
        ({"objective": "grae", "estimator": "fraction:1/8:columns:1"}, "GRAE≈ (14)"),
        ({"objective": "grae", "estimator": "fraction:0.5:trace:2"}, "GRAE, first order"),
        ({"objective": "grae", "estimator": "fraction:1/2:exact"}, "GRAE (13)"),
        ({"objective": "rae"}, "RAE, first order"),
    ],
)
def test_objectives_by_name(changes: dict[str, Any], name: str) -> None:
    assert objective_name(RunConfig(data="mnist", **changes)) == name
