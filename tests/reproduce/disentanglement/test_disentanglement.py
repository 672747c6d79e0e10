"""The figure at smoke scale, and what it refuses."""

import json
from pathlib import Path

import pytest

from curvae.errors import InputError
from curvae.reproduce.disentanglement import reproduce


@pytest.mark.slow
def test_smoke(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CURVAE_CACHE", str(tmp_path / "cache"))
    reproduce("disentanglement", "smoke", tmp_path / "out", runs=tmp_path / "runs")
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["runs"] == 6
    assert set(summary["models"]) == {"β-VAE, diagonal", "GRAE, diagonal", "GRAE, full"}
    assert set(summary["control"]) == {"β-VAE, diagonal", "GRAE, diagonal"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"summary.json", "table.md", "disentanglement.png"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"models": "vae"}, "--set models has 'vae'; expected any of vae-diagonal"),
        ({"predictor": "trees"}, "--set predictor is 'trees'; expected lasso or boosting"),
    ],
)
def test_bad_settings(changes: dict[str, str], message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        reproduce("disentanglement", "smoke", tmp_path / "out", runs=tmp_path / "runs", changes=changes)
    assert not list(tmp_path.iterdir())
