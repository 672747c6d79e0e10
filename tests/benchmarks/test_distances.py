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
    ways = summarise(found)
    assert ways["β-VAE"]["seeds"] == [0, 1, 2]
    assert "less_reference" not in ways["β-VAE"]
    assert "less_reference" not in ways["GRAE, one secant"]
    less = ways["GRAE≈, one column"]["less_reference"]
    differences = [found["GRAE≈, one column"][s]["mse"] - found["β-VAE"][s]["mse"] for s in (1, 2)]
    half = 12.706 * abs(differences[0] - differences[1]) / 2  # Student's t of one degree of freedom
    assert less["seeds"] == [1, 2]
    assert less["mse"]["value"] == pytest.approx(np.mean(differences))
    assert less["mse"]["high"] - less["mse"]["value"] == pytest.approx(half, rel=1e-3)
