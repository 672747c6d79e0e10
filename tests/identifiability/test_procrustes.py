"""Procrustes and the rotation angle against brute force and SciPy."""

import inspect
import itertools
import math

import numpy as np
import pytest
import scipy.linalg
import torch

from curvae.errors import InputError
from curvae.identifiability.procrustes import orthogonal_procrustes, rotation_angle


def _rotation(degrees: float) -> torch.Tensor:
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return torch.tensor([[c, -s], [s, c]], dtype=torch.float64)


def _signed_permutations(d: int) -> list[torch.Tensor]:
    return [
        torch.eye(d, dtype=torch.float64)[list(order)] * torch.tensor(signs, dtype=torch.float64)
        for order in itertools.permutations(range(d))
        for signs in itertools.product([-1.0, 1.0], repeat=d)
    ]


@pytest.mark.parametrize("d", [2, 3, 5])
def test_procrustes_is_scipys(d: int) -> None:
    rng = np.random.default_rng(d)
    z, m = rng.normal(size=(2, 50, d))
    expected, _ = scipy.linalg.orthogonal_procrustes(m, z)
    found = orthogonal_procrustes(torch.tensor(z), torch.tensor(m))
    np.testing.assert_allclose(found.numpy(), expected.T, atol=1e-12)


def test_no_rotation_does_better() -> None:
    generator = torch.Generator().manual_seed(0)
    z, m = torch.randn(2, 40, 2, dtype=torch.float64, generator=generator)
    best = (z - m @ orthogonal_procrustes(z, m).mT).norm()
    flip = torch.diag(torch.tensor([1.0, -1.0], dtype=torch.float64))
    for degrees in range(360):
        for o in (_rotation(degrees), _rotation(degrees) @ flip):
            assert (z - m @ o.mT).norm() >= best - 1e-12


@pytest.mark.parametrize("degrees", [-44.9, -20.0, 0.0, 3.0, 44.9])
def test_angle_ignores_every_signed_permutation(degrees: float) -> None:
    for p in _signed_permutations(2):
        assert rotation_angle(_rotation(degrees) @ p) == pytest.approx(degrees, abs=1e-9)


@pytest.mark.parametrize("degrees", [-135.0, -45.0, 45.0, 135.0, 225.0])
def test_the_range_is_half_open(degrees: float) -> None:
    assert abs(rotation_angle(_rotation(degrees))) == pytest.approx(45.0, abs=1e-9)
    assert -45.0 < rotation_angle(_rotation(degrees)) <= 45.0


def test_minus_45_exactly_becomes_45() -> None:
    assert rotation_angle(torch.tensor([[1.0, 1.0], [-1.0, 1.0]]) / math.sqrt(2)) == 45.0


def test_recovers_a_known_rotation_from_noisy_latents() -> None:
    generator = torch.Generator().manual_seed(2)
    z = torch.randn(4000, 2, dtype=torch.float64, generator=generator)
    m = z @ _rotation(17.0) + 0.05 * torch.randn(4000, 2, dtype=torch.float64, generator=generator)
    assert rotation_angle(orthogonal_procrustes(z, m)) == pytest.approx(17.0, abs=0.2)


def test_bad_input_is_one_clear_line() -> None:
    # unwrapped: under the shape checks of the test run the annotation would speak first
    procrustes, angle = inspect.unwrap(orthogonal_procrustes), inspect.unwrap(rotation_angle)
    with pytest.raises(InputError, match="same \\[N, d\\]"):
        procrustes(torch.zeros(3, 2), torch.zeros(4, 2))
    with pytest.raises(InputError, match="NaN"):
        procrustes(torch.full((3, 2), float("nan")), torch.zeros(3, 2))
    with pytest.raises(InputError, match="2×2"):
        angle(torch.eye(3))
