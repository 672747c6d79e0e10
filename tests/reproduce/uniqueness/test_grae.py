"""Uniqueness without sampling, and the curve over the ratio of norms."""

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from curvae.posteriors import Diagonal, Full
from curvae.reproduce.uniqueness import beyond, write_beyond
from curvae.reproduce.uniqueness.activations import Nonlinearity
from curvae.reproduce.uniqueness.evaluate import best_linear_elbo
from curvae.reproduce.uniqueness.grae import TwinSetting, axes_angle, block_freedom, draw, twins
from curvae.reproduce.uniqueness.trial import GenerativeModel

SETTING = TwinSetting(Nonlinearity.IDENTITY, (2.0, 1.0), Diagonal(), points=64, sigma=0.5)


@pytest.mark.slow
def test_both_structures_reach_probabilistic_pca_but_only_one_is_unique() -> None:
    """Finding 10: for a linear decoder GRAE at its minimum is −β log p(x) − (βD/2) log 2πβ."""
    diagonal, full = (twins(dataclasses.replace(SETTING, structure=s), seed=1) for s in (Diagonal(), Full()))
    _, x = draw(SETTING, torch.Generator().manual_seed(1))
    # GRAE's offsets are free, as a Gaussian's mean is
    expected = -best_linear_elbo(GenerativeModel(Nonlinearity.IDENTITY, sigma=0.5), x.numpy()) - math.log(
        2 * math.pi * 0.5**2
    )
    for pair in (diagonal, full):
        assert pair.losses == pytest.approx((expected, expected), abs=1e-6)
    assert abs(diagonal.angle_between) < 1e-3
    assert abs(full.angle_between) > 1


def _rotation(angle: float) -> torch.Tensor:
    c, s = math.cos(angle), math.sin(angle)
    return torch.tensor([[c, -s], [s, c]], dtype=torch.float64)


def test_block_freedom_sees_rotations_within_and_across() -> None:
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(200, 4, dtype=torch.float64, generator=generator)
    within = torch.block_diag(_rotation(0.3), _rotation(-0.5))
    for order in ([0, 1, 2, 3], [2, 3, 0, 1], [0, 2, 1, 3], [3, 1, 0, 2]):
        # inferred = Bᵀ (permuted z): blocks of the inferred latents hold pairs of true ones, turned within
        across, angles = block_freedom(z, z[:, order] @ within)
        assert across < 1e-12
        assert sorted(abs(a) for a in angles) == pytest.approx(sorted(map(math.degrees, (0.3, 0.5))), abs=1e-6)
    turn = torch.eye(4, dtype=torch.float64)
    turn[[1, 1, 2, 2], [1, 2, 1, 2]] = _rotation(0.4).flatten()
    across, _ = block_freedom(z, z @ turn)
    assert across == pytest.approx(math.sin(0.4) ** 2 / 2)


def test_axes_angle_is_the_largest_turn_of_an_axis() -> None:
    z = torch.randn(200, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    turned = z @ torch.block_diag(_rotation(0.3), _rotation(-0.5))
    for order in ([0, 1, 2, 3], [2, 3, 0, 1], [3, 1, 0, 2]):
        assert axes_angle(z, -turned[:, order]) == pytest.approx(math.degrees(0.5), abs=1e-6)


def test_the_whole_of_beyond_runs_and_is_drawn(tmp_path: Path) -> None:
    config = dataclasses.replace(beyond.EXTENSIONS["smoke"], ratios=(1.0, 2.0), trials=3)
    curve = beyond.ratio_curve(config, Nonlinearity.IDENTITY)
    assert [point["ratio"] for point in curve] == [1.0, 2.0]
    # posterior variances are σ²/‖column‖² up to the prior: their ratio is ρ²
    assert curve[1]["variances"] == pytest.approx(4, rel=0.1)
    assert curve[0]["variances"] < 1.2
    assert curve[1]["optimum_to_truth"]["value"] < 3
    summary = {
        "ratio": {"identity": curve},
        "grae_two_starts": {"identity Diagonal()": {"between": [0.0, 1.0]}},
        "grae_four_dimensions": {"Diagonal()": {"across_blocks": [0.0]}},
    }
    json.dumps(summary)
    beyond.plot(summary, tmp_path / "beyond.png")
    assert (tmp_path / "beyond.png").read_bytes().startswith(b"\x89PNG")
    assert np.isfinite([point["trained_to_optimum"]["value"] for point in curve]).all()


def test_beyond_is_run_once_for_its_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = []

    def summarise(config: beyond.Extension) -> dict[str, object]:
        runs.append(config)
        return {"config": dataclasses.asdict(config), "ratio": {}}

    monkeypatch.setattr(beyond, "summarise", summarise)
    monkeypatch.setattr(beyond, "plot", lambda summary, path: None)
    smaller = dataclasses.replace(beyond.EXTENSIONS["smoke"], trials=2)
    for config in (beyond.EXTENSIONS["smoke"], beyond.EXTENSIONS["smoke"], smaller):
        write_beyond(config, "smoke", tmp_path)
    assert runs == [beyond.EXTENSIONS["smoke"], smaller]
    assert json.loads((tmp_path / "beyond.json").read_text())["config"]["trials"] == 2
