"""The Fréchet distance against SciPy, and the statistics of its reference."""

import numpy as np
import pytest
import scipy.linalg
import torch
from torch import nn

from curvae.errors import InputError
from curvae.metrics.frechet import FrechetDistance


class Flat(nn.Flatten):
    num_features = 6


def drawn(count: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng().random((count, 1, 2, 3)))


def by_scipy(a: torch.Tensor, b: torch.Tensor) -> float:
    a, b = a.flatten(1).numpy(), b.flatten(1).numpy()
    root = scipy.linalg.sqrtm(np.cov(a.T) @ np.cov(b.T)).real
    return float(((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(np.cov(a.T) + np.cov(b.T) - 2 * root))


def test_distance_is_the_formula_for_one_set_after_another() -> None:
    real, first, second = drawn(300), 0.5 * drawn(200) ** 2, drawn(150).sqrt()
    distance = FrechetDistance(Flat(), real.split(70))
    for other in (first, second, first):
        assert distance(other.split(64)) == pytest.approx(by_scipy(real, other), rel=1e-6)


def test_order_and_batches_do_not_matter() -> None:
    real, other = drawn(100), drawn(90) ** 2
    expected = FrechetDistance(Flat(), [real])([other])
    shuffled = FrechetDistance(Flat(), real[torch.randperm(100)].split(7))
    assert shuffled(other[torch.randperm(90)].split(13)) == pytest.approx(expected, rel=1e-9)


def test_a_set_has_no_distance_from_itself() -> None:
    real = drawn(100)
    assert 0 <= FrechetDistance(Flat(), [real])([real]) < 1e-9


def test_too_few_images_are_refused() -> None:
    one, many = drawn(1), drawn(5)
    with pytest.raises(InputError, match="there are 1 images"):
        FrechetDistance(Flat(), [one])
    with pytest.raises(InputError, match="there are 1 images"):
        FrechetDistance(Flat(), [many])([one])
    with pytest.raises(InputError, match="there are 0 images"):
        FrechetDistance(Flat(), [many])([])
