"""Lines of metrics."""

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curvae.runs.lines import append_line, cut_lines, read_lines


@given(st.lists(st.integers(1, 100), unique=True), st.integers(0, 100))
def test_cut_keeps_what_is_not_later(steps: list[int], last: int) -> None:
    path = Path(tempfile.mkdtemp()) / "metrics.jsonl"
    for step in sorted(steps):
        append_line(path, {"step": step, "total": step / 7})
    cut_lines(path, last)
    assert read_lines(path) == [{"step": step, "total": step / 7} for step in sorted(steps) if step <= last]


def test_no_file_is_no_lines(tmp_path: Path) -> None:
    cut_lines(tmp_path / "none.jsonl", 5)
    assert read_lines(tmp_path / "none.jsonl") == []
    assert list(tmp_path.iterdir()) == []


def test_a_line_cut_short_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    append_line(path, {"step": 1})
    with path.open("a") as file:
        file.write('{"step": 2')
    assert read_lines(path) == [{"step": 1}]
    cut_lines(path, 9)
    append_line(path, {"step": 2})
    assert [json.loads(line) for line in path.read_text().splitlines()] == [{"step": 1}, {"step": 2}]


def test_not_a_number_is_no_json(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        append_line(tmp_path / "metrics.jsonl", {"step": 1, "total": float("nan")})


def test_terms_of_curvae_0_1_have_their_present_names(tmp_path: Path) -> None:
    parts = {"energy": 1.0, "kl": 2.0}
    append_line(tmp_path / "metrics.jsonl", {"step": 1, "parts": parts, "held_out": {"total": 3.0, "parts": parts}})
    (line,) = read_lines(tmp_path / "metrics.jsonl")
    assert line["parts"] == line["held_out"]["parts"] == {"nll": 1.0, "kl": 2.0}
