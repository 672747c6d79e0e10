"""The prepared script for a GPU, its smallest part on a CPU."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks import gpu


@pytest.mark.slow
def test_the_table_of_steps_says_its_device_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "WAYS", {"β-VAE": gpu.WAYS["β-VAE"]})
    job = gpu.Job(replace(gpu.SCALES["smoke"], batches=(2,)), tmp_path, torch.device("cpu"))
    gpu.steps(job)
    first = json.loads((tmp_path / "steps.json").read_text(encoding="utf-8"))
    assert first["device"] == "cpu"
    ours = [row for row in first["rows"] if row["way"] == "β-VAE"]
    assert {row["precision"] for row in ours} == {"32", "bf16"}
    assert all(row["images_per_second"] == pytest.approx(2e3 / row["milliseconds"], rel=1e-3) for row in ours)
    monkeypatch.setattr(gpu, "_measured", lambda *_: pytest.fail("measured again"))
    gpu.steps(job)
    assert json.loads((tmp_path / "steps.json").read_text(encoding="utf-8"))["rows"] == first["rows"]


def test_a_part_ends_with_its_budget_and_a_failure_is_told() -> None:
    stopped = gpu.within([sys.executable, "-c", "import time; time.sleep(60)"], 0.2)
    assert stopped["state"].startswith("stopped")
    assert gpu.within([sys.executable, "-c", "raise SystemExit('no card')"], 30)["state"] == "failed: no card"
    assert gpu.within([sys.executable, "-c", ""], 30)["state"] == "finished"


def test_the_budgets_leave_ten_minutes() -> None:
    assert sum(gpu.SCALES["full"].budgets.values()) + gpu._GRACE <= 600
    assert list(gpu.SCALES["full"].budgets) == list(gpu.PARTS)
