"""The first stage's benchmark: its measure of roughness by hand, and all of it at the smallest scale, twice."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch


@pytest.fixture
def first_stage() -> ModuleType:
    """Imported when needed: diffusers takes seconds, in each process that collects tests."""
    pytest.importorskip("diffusers", reason="diffusers is not installed")
    from benchmarks import first_stage

    return first_stage


def test_roughness_of_a_cross_fade_and_of_a_parabola(first_stage: ModuleType) -> None:
    straight = SimpleNamespace(decode=lambda z: SimpleNamespace(sample=3 * z))
    bent = SimpleNamespace(decode=lambda z: SimpleNamespace(sample=z.square()))
    z = torch.cat([torch.zeros(2, 1, 1, 1), torch.ones(2, 1, 1, 1)])
    assert first_stage.roughness(straight, z) == pytest.approx(0, abs=1e-9)
    # of t² at eighths: second differences 2/64, first ones 1/64, 3/64, …, 15/64
    assert first_stage.roughness(bent, z) == pytest.approx(64 * 7 * 2**2 / sum(k**2 for k in range(1, 16, 2)))


@pytest.mark.slow
def test_it_runs_and_goes_on(first_stage: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("python_avatars")
    pytest.importorskip("efficientnet_lite_pytorch")
    out, work = tmp_path / "out", tmp_path / "work"
    arguments = ["first_stage", "--scale", "smoke", "--seeds", "1", "--out", str(out), "--work", str(work)]
    monkeypatch.setattr(sys, "argv", arguments)
    first_stage.main()
    first = json.loads((out / "summary.json").read_text())
    times = {path.name: path.stat().st_mtime_ns for path in work.iterdir()}
    (work / "KL-0.json").unlink()
    first_stage.main()
    again = json.loads((out / "summary.json").read_text())
    assert again["runs"] == first["runs"]
    assert set(first["runs"]) == set(first_stage.SHOWN)
    times.pop("KL-0.json")
    assert all((work / name).stat().st_mtime_ns == time for name, time in times.items())
    assert (out / "first_stage.png").stat().st_size > 0
