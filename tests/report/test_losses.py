"""Loss curves are what training wrote."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from curvae.errors import InputError
from curvae.likelihoods import Gaussian
from curvae.metrics import evaluate
from curvae.posteriors import Diagonal
from curvae.report import losses
from curvae.report.charts import Line
from curvae.report.losses import loss_charts, term_series
from curvae.report.subjects import open_subjects
from curvae.runs import Run

MakeRun = Callable[..., Run]


def test_series_are_the_logged_numbers(tmp_path: Path, digits: Path, make_run: MakeRun) -> None:
    run = make_run(tmp_path / "run", digits, objective="grae")
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    found = term_series(run)
    assert list(found) == ["total", "nll", "prior", "penalty"]
    np.testing.assert_array_equal(found["total"].steps, [10, 20, 30])
    np.testing.assert_array_equal(found["penalty"].values, [line["parts"]["penalty"] for line in lines])
    np.testing.assert_array_equal(found["total"].held_out_steps, [30])
    np.testing.assert_array_equal(found["nll"].held_out, [lines[2]["held_out"]["parts"]["nll"]])


def test_runs_with_other_terms_share_the_page(tmp_path: Path, digits: Path, make_run: MakeRun) -> None:
    make_run(tmp_path / "a", digits, objective="taylor", evaluated=False)
    make_run(tmp_path / "b", digits, objective="grae", evaluated=False)
    subjects = open_subjects([tmp_path / "a", tmp_path / "b"])
    charts, compared, terms = loss_charts(subjects)
    assert [subject.name for subject, _, _ in charts] == ["a", "b"]
    assert compared is not None
    assert terms == ["total", "nll", "curvature", "kl", "prior", "penalty"]
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
        {"step": 40, "total": None, "parts": {"nll": 1.0}},
        {"step": 40, "total": 1.0, "parts": {"nll": "x"}},
        {"step": 40, "total": 1.0, "parts": [1]},
        {"step": 40, "total": 1.0, "parts": {"nll": 1.0}, "held_out": {"total": 1.0}},
    ],
)
@pytest.mark.usefixtures("as_shipped")
def test_damaged_lines_are_an_input_error(
    tmp_path: Path, digits: Path, make_run: MakeRun, line: dict[str, object]
) -> None:
    run = make_run(tmp_path / "a", digits, evaluated=False)
    with (tmp_path / "a" / "metrics.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")
    with pytest.raises(InputError, match=r"metrics\.jsonl (has no number for|is damaged at line)") as caught:
        term_series(run)
    assert "\n" not in str(caught.value)


@pytest.mark.cases(2)
@pytest.mark.parametrize(("logged", "window"), [(3, 1), (79, 1), (80, 2), (400, 10)])
def test_the_words_below_a_chart_are_what_is_drawn(
    tmp_path: Path, digits: Path, make_run: MakeRun, monkeypatch: pytest.MonkeyPatch, logged: int, window: int
) -> None:
    make_run(tmp_path / "a", digits, evaluated=False)
    values = np.random.default_rng(0).random(logged)
    lines = [{"step": step, "seconds": 1.0, "total": v, "parts": {"nll": v}} for step, v in enumerate(values, 1)]
    lines[-1]["held_out"] = {"total": 1.0, "parts": {"nll": 1.0}}
    (tmp_path / "a" / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    drawn: list[list[Line]] = []
    real = losses.chart
    monkeypatch.setattr(losses, "chart", lambda lines, *rest: (drawn.append(list(lines)), real(lines, *rest))[1])
    subjects = open_subjects([tmp_path / "a"])
    [(_, _, words)], _, terms = loss_charts(subjects)
    held_out = min(256, subjects[0].run.data["test"])
    assert words.endswith(f"; dots: the first {held_out} held-out samples")
    *thin, thick, dots = drawn[0][: len(drawn[0]) // len(terms)]
    assert dots.width == 0
    if window == 1:
        assert words.startswith("line: single batches;")
        assert not thin
        np.testing.assert_array_equal(thick.y, values)
    else:
        assert words.startswith(f"thin: single batches; thick: their mean over {window} logged steps;")
        np.testing.assert_array_equal(thin[0].y, values)
        middle = len(values) // 2
        neighbours = [values[i : i + window].mean() for i in range(middle - window, middle + 1)]
        assert np.isclose(neighbours, thick.y[middle]).any()


def test_dots_are_of_as_many_data_as_the_page_says(tmp_path: Path, digits: Path, make_run: MakeRun) -> None:
    run = make_run(tmp_path / "a", digits, evaluated=False)
    data, last = run.dataset().test[: losses.HELD_OUT], run.metrics[-1]["held_out"]["parts"]["nll"]
    found = evaluate(run.model(), data, run.config.beta, Gaussian(), Diagonal(), generator=torch.Generator())
    assert found.reconstruction.mean == pytest.approx(last, rel=1e-3)
