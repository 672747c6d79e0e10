from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curvae.data.split import Split
from curvae.errors import InputError


@given(count=st.integers(2, 300), seed=st.integers(0, 2**63 - 1), fraction=st.floats(1e-9, 1 - 1e-9))
def test_halves_part_the_data(count: int, seed: int, fraction: float) -> None:
    train, test = Split(seed, fraction).indices(count, "toy")
    assert sorted([*train.tolist(), *test.tolist()]) == list(range(count))
    assert train.tolist() == sorted(train.tolist())
    assert test.tolist() == sorted(test.tolist())
    assert 1 <= len(test) <= count - 1
    assert len(test) in {1, count - 1} or abs(len(test) - count * fraction) <= 0.5


def test_same_seed_same_split_other_seed_another() -> None:
    drawn = [tuple(Split(seed, 0.3).indices(50, "toy")[1].tolist()) for seed in (0, 0, 1, 2)]
    assert drawn[0] == drawn[1]
    assert len(set(drawn)) == 3


def test_every_sample_is_held_out_equally_often() -> None:
    counts = np.zeros(10)
    for seed in range(2000):
        counts[Split(seed, 0.3).indices(10, "toy")[1].numpy()] += 1
    # binomial with p = 0.3: standard deviation 20.5
    assert abs(counts - 600).max() < 5 * 20.5


def test_record_survives_json_and_rebuilds_the_split() -> None:
    data = np.random.default_rng(0).normal(size=(40, 2)).astype(np.float32)
    halves = Split(7, 0.25).apply(data, "toy")
    record = json.loads(json.dumps(halves.split))
    assert record["kind"] == "seeded"
    assert (record["seed"], record["test_fraction"]) == (7, 0.25)
    np.testing.assert_array_equal(data[record["test_indices"]], halves.test)
    np.testing.assert_array_equal(np.delete(data, record["test_indices"], axis=0), halves.train)


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, 1.5, float("nan"), float("inf")])
def test_refuses_fractions(fraction: float) -> None:
    with pytest.raises(InputError, match="; expected a number between 0 and 1"):
        Split(0, fraction)


@pytest.mark.parametrize("seed", [-1, 2**63])
def test_refuses_seeds(seed: int) -> None:
    with pytest.raises(InputError, match="split_seed is"):
        Split(seed)


@pytest.mark.parametrize("count", [0, 1])
def test_refuses_fewer_than_two(count: int) -> None:
    with pytest.raises(InputError, match=rf"toy holds {count} sample\(s\); expected at least 2"):
        Split().indices(count, "toy")
