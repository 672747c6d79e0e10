"""Columns that float32 cannot hold."""

from pathlib import Path

import numpy as np
import pytest

from curvae.data import load
from curvae.data.digits import lost_digits

X = np.random.default_rng(0).standard_normal((50, 3))


@pytest.mark.parametrize("offset", [0.0, 1e3, 1e5, 1e7, 1e9])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e6])
def test_it_is_the_rounding_beside_the_spread(offset: float, scale: float) -> None:
    x = scale * (X + np.array([0, offset, 0]))
    rounding = np.std(x[:, 1] - x[:, 1].astype(np.float32)) / np.std(x[:, 1])
    assert (lost_digits(x) is not None) == (rounding > 0.01)
    assert lost_digits(x.astype(np.float32)) is None


@pytest.mark.parametrize(
    "x",
    [
        np.full((9, 2), 0.1) * (1 + 1e-16 * np.arange(9))[:, None],  # the same but for the rounding of float64
        np.full((9, 2), 1e9),
        np.full((9, 2), np.nan),
        np.full((1, 2), 1e9 + 1),
        np.arange(18).reshape(9, 2) + 10**6,
        X > 0,
        (X * 50).astype(np.int8),
    ],
)
@pytest.mark.filterwarnings("error")
def test_what_is_kept_or_has_nothing_to_keep(x: np.ndarray) -> None:
    assert lost_digits(x) is None


@pytest.mark.parametrize("scale", [1e-45, 1e-60, 1e-200])
def test_numbers_too_small_for_it(scale: float) -> None:
    found = lost_digits(scale * X)
    assert found is not None
    assert found.startswith("column 0 has values near")
    assert found.endswith("; express it in a smaller unit")
    assert lost_digits(1e-30 * X) is None


def test_the_command_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    x = X + np.array([0, 1e9, 0])
    x[3, 1] = np.nan
    np.save(tmp_path / "x.npy", x)
    np.savetxt(tmp_path / "x.csv", x, delimiter=",", header="a,time,b", comments="")
    load(tmp_path / "x.npy", missing=True)
    assert "'" + str(tmp_path / "x.npy") + "': column 1 has values near 1e+09" in capsys.readouterr().err
    load(tmp_path / "x.csv", missing=True)
    assert "column 'time' has values near 1e+09 that differ by 0.83" in capsys.readouterr().err
