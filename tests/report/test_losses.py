"""Loss curves are what training wrote."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from curvae.errors import InputError
from curvae.report.losses import loss_charts, term_series
from curvae.report.subjects import open_subjects
from curvae.runs import Run

MakeRun = Callable[..., Run]


def test_series_are_the_logged_numbers(tmp_path: Path, digits: Path, make_run: MakeRun) -> None:
    run = make_run(tmp_path / "run", digits, objective="grae")
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    found = term_series(run)
    assert list(found) == ["total", "energy", "prior", "penalty"]
    np.testing.assert_array_equal(found["total"].steps, [10, 20, 30])
    np.testing.assert_array_equal(found["penalty"].values, [line["parts"]["penalty"] for line in lines])
    np.testing.assert_array_equal(found["total"].held_out_steps, [30])
    np.testing.assert_array_equal(found["energy"].held_out, [lines[2]["held_out"]["parts"]["energy"]])


def test_runs_with_other_terms_share_the_page(tmp_path: Path, digits: Path, make_run: MakeRun) -> None:
    make_run(tmp_path / "a", digits, objective="taylor", evaluated=False)
    make_run(tmp_path / "b", digits, objective="grae", evaluated=False)
    subjects = open_subjects([tmp_path / "a", tmp_path / "b"])
    charts, compared, terms = loss_charts(subjects)
    assert [subject.name for subject, _ in charts] == ["a", "b"]
    assert compared is not None
    assert terms == ["total", "energy", "curvature", "kl", "prior", "penalty"]
    assert loss_charts(subjects[:1])[1] is None


def test_a_run_without_lines_has_no_chart(tmp_path: Path, digits: Path, make_run: MakeRun) -> None:
    make_run(tmp_path / "a", digits, evaluated=False)
    (tmp_path / "a" / "metrics.jsonl").unlink()
    assert loss_charts(open_subjects([tmp_path / "a"])) == ([], None, [])


@pytest.mark.parametrize(
    "line",
    [
        {"step": 40},
        {"step": 40, "total": 1.0},
        {"step": 40, "total": None, "parts": {"energy": 1.0}},
        {"step": 40, "total": 1.0, "parts": {"energy": "x"}},
        {"step": 40, "total": 1.0, "parts": [1]},
        {"step": 40, "total": 1.0, "parts": {"energy": 1.0}, "held_out": {"total": 1.0}},
    ],
)
@pytest.mark.usefixtures("as_shipped")
def test_damaged_lines_are_an_input_error(
    tmp_path: Path, digits: Path, make_run: MakeRun, line: dict[str, object]
) -> None:
    run = make_run(tmp_path / "a", digits, evaluated=False)
    with (tmp_path / "a" / "metrics.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")
    with pytest.raises(InputError, match=r"metrics\.jsonl has a line without") as caught:
        term_series(run)
    assert "\n" not in str(caught.value)
