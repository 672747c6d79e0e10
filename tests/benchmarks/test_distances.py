"""Fréchet distances of long runs: differences are of the same seed."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.distances import summarise
from curvae.reproduce.fig4.numbers import MEASURES


def test_differences_are_of_the_same_seed() -> None:
    generator = np.random.default_rng()
    found = {
        way: {seed: dict(zip(MEASURES, generator.random(len(MEASURES)).tolist(), strict=True)) for seed in seeds}
        for way, seeds in {"β-VAE": (2, 0, 1), "GRAE≈, one column": (1, 2), "GRAE, one secant": (7,)}.items()
    }
    longer = {"β-VAE, 3 steps": {2: found["β-VAE"][2], 3: found["β-VAE"][0]}}
    ways = summarise(found, longer)
    assert ways["β-VAE"]["seeds"] == [0, 1, 2]
    assert "less_reference" not in ways["β-VAE"]
    assert "less_reference" not in ways["GRAE, one secant"]
    assert ways["GRAE, one secant"]["less_longer"] == {}
    assert ways["GRAE≈, one column"]["less_longer"]["β-VAE, 3 steps"]["seeds"] == [2]
    assert ways["β-VAE, 3 steps"]["less_reference"]["mse"]["value"] == 0
    less = ways["GRAE≈, one column"]["less_reference"]
    differences = [found["GRAE≈, one column"][s]["mse"] - found["β-VAE"][s]["mse"] for s in (1, 2)]
    half = 12.706 * abs(differences[0] - differences[1]) / 2  # Student's t of one degree of freedom
    assert less["seeds"] == [1, 2]
    assert less["mse"]["value"] == pytest.approx(np.mean(differences))
    assert less["mse"]["high"] - less["mse"]["value"] == pytest.approx(half, rel=1e-3)
