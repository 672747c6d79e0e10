"""Shares, cosines and the permutation test, against loops."""

import itertools

import numpy as np
import pytest

from curvae.errors import InputError
from curvae.reproduce.fig2.blocks import chance, cosines, inside, permuted, share_inside


@pytest.fixture
def matrices() -> np.ndarray:
    jacobians = np.random.default_rng().normal(size=(7, 9, 5))
    return jacobians.swapaxes(1, 2) @ jacobians


def share_by_loops(matrix: np.ndarray, size: int) -> float:
    within = total = 0.0
    for i in range(len(matrix)):
        for j in range(len(matrix)):
            if i != j:
                total += matrix[i, j] ** 2
                within += matrix[i, j] ** 2 if i // size == j // size else 0.0
    return within / total


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_share_equals_loops(matrices: np.ndarray, size: int) -> None:
    expected = [share_by_loops(matrix, size) for matrix in matrices]
    np.testing.assert_allclose(share_inside(matrices, size), expected, rtol=1e-12)


def test_share_of_blocks_is_1_of_nothing_chance(matrices: np.ndarray) -> None:
    mask = inside(5, 2) | np.eye(5, dtype=bool)
    np.testing.assert_allclose(share_inside(matrices * mask, 2), 1.0)
    np.testing.assert_array_equal(share_inside(matrices * ~mask, 2), 0.0)
    np.testing.assert_allclose(share_inside(np.eye(5)[None], 2), chance(5, 2))
    np.testing.assert_array_equal(share_inside(np.eye(1)[None], 2), 0.0)


def test_decoders_without_entries_off_the_diagonal_say_nothing_about_an_order(matrices: np.ndarray) -> None:
    dead = permuted(np.zeros((3, 5, 5)), 2, np.random.default_rng(), 99)
    assert dead == pytest.approx({"low": chance(5, 2), "high": chance(5, 2), "p_value": 1.0})
    # and at some of the data they count as chance does in the share
    some = np.concatenate([matrices * (inside(5, 2) | np.eye(5, dtype=bool)), np.zeros((7, 5, 5))])
    assert permuted(some, 2, np.random.default_rng(), 99)["high"] <= share_inside(some, 2).mean() + 1e-12


def test_cosines_do_not_see_the_lengths_of_columns(matrices: np.ndarray) -> None:
    scale = np.random.default_rng().uniform(0.1, 10, size=5)
    np.testing.assert_allclose(cosines(matrices * np.outer(scale, scale)), cosines(matrices), rtol=1e-12)
    np.testing.assert_allclose(np.diagonal(cosines(matrices), axis1=1, axis2=2), 1.0)
    dead = matrices.copy()
    dead[:, 2, :] = dead[:, :, 2] = 0
    assert np.isfinite(cosines(dead)).all()


@pytest.mark.parametrize("size", [2, 3])
def test_the_mean_share_over_all_orders_is_chance(matrices: np.ndarray, size: int) -> None:
    orders = list(itertools.permutations(range(5)))
    shares = [share_by_loops(matrices[0][np.ix_(order, order)], size) for order in orders]
    assert np.mean(shares) == pytest.approx(chance(5, size), rel=1e-12)


def test_permuted_equals_an_enumeration_of_all_orders() -> None:
    generator = np.random.default_rng()
    jacobians = generator.normal(size=(3, 6, 4))
    matrices = jacobians.swapaxes(1, 2) @ jacobians
    shares = [
        np.mean([share_by_loops(matrix[np.ix_(order, order)], 2) for matrix in matrices])
        for order in itertools.permutations(range(4))
    ]
    true = np.mean([share_by_loops(matrix, 2) for matrix in matrices])
    exact = np.mean([share >= true - 1e-12 for share in shares])  # the 24 orders have 3 different shares
    found = permuted(matrices, 2, generator, 6000)
    assert found["p_value"] == pytest.approx(exact, abs=0.04)
    assert found["low"] == pytest.approx(min(shares), rel=1e-9)
    assert found["high"] == pytest.approx(max(shares), rel=1e-9)


def test_the_test_finds_blocks_and_nothing_in_noise() -> None:
    generator = np.random.default_rng(1)
    noise = generator.normal(size=(50, 20, 8))
    gram = noise.swapaxes(1, 2) @ noise
    assert permuted(gram, 2, generator, 999)["p_value"] > 0.001
    blocks = gram + 40 * inside(8, 2)
    found = permuted(blocks, 2, generator, 999)
    assert found["p_value"] < 0.01
    assert share_inside(blocks, 2).mean() > found["high"]


def test_one_latent_has_no_pairs() -> None:
    with pytest.raises(InputError, match="at least 2"):
        chance(1, 1)
