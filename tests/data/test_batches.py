from __future__ import annotations

import itertools
import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from curvae.data import Batches
from curvae.errors import InputError


def numbered(count: int) -> torch.Tensor:
    """Data that say which row they are."""
    return torch.arange(count, dtype=torch.float32)[:, None]


def rows(batches: Batches, count: int | None = None) -> list[list[int]]:
    return [batch.flatten().int().tolist() for batch in itertools.islice(batches, count)]


SIZES = st.integers(1, 40).flatmap(lambda count: st.tuples(st.just(count), st.integers(1, count)))


@given(sizes=SIZES, seed=st.integers(0, 2**63 - 1), epochs=st.integers(1, 4))
@settings(deadline=None)
def test_each_epoch_shows_no_sample_twice_and_drops_less_than_a_batch(
    sizes: tuple[int, int], seed: int, epochs: int
) -> None:
    count, size = sizes
    per_epoch = count // size
    seen = rows(Batches(numbered(count), size, seed, steps=epochs * per_epoch))
    assert len(seen) == epochs * per_epoch
    for epoch in range(epochs):
        shown = [row for batch in seen[epoch * per_epoch : (epoch + 1) * per_epoch] for row in batch]
        assert len(shown) == len(set(shown)) == per_epoch * size > count - size
        assert set(shown) <= set(range(count))


@given(sizes=SIZES, seed=st.integers(0, 2**63 - 1), steps=st.integers(0, 60), data=st.data())
@settings(deadline=None)
def test_a_resumed_run_sees_what_it_would_have_seen(
    sizes: tuple[int, int], seed: int, steps: int, data: st.DataObject
) -> None:
    start = data.draw(st.integers(0, steps))
    count, size = sizes
    everything = rows(Batches(numbered(count), size, seed, steps=steps))
    resumed = Batches(numbered(count), size, seed, start=start, steps=steps)
    assert rows(resumed) == everything[start:]
    assert len(resumed) == steps - start
    assert rows(resumed) == everything[start:]  # iterating again begins again


def test_no_other_randomness_is_read_or_moved() -> None:
    torch.manual_seed(1)
    random.seed(1)
    before = torch.get_rng_state()
    first = rows(Batches(numbered(20), 4, seed=3, steps=12))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    random.seed(2)
    assert rows(Batches(numbered(20), 4, seed=3, steps=12)) == first


def test_epochs_and_seeds_differ() -> None:
    orders = {
        tuple(rows(Batches(numbered(30), 30, seed, start=epoch, steps=epoch + 1))[0])
        for seed in range(20)
        for epoch in range(20)
    }
    assert len(orders) == 400


def test_every_place_in_the_epoch_is_equally_likely() -> None:
    # rows on columns: 5 × 5 cells of 800 expected each, standard deviation 25
    orders = torch.tensor(rows(Batches(numbered(5), 5, seed=0, steps=4000)))
    counts = torch.stack([orders.eq(row).sum(0) for row in range(5)])
    assert (counts - 800).abs().max() < 5 * 25.3


def test_pixels_become_float_and_floats_stay() -> None:
    pixels = torch.randint(0, 256, (6, 1, 3, 3), dtype=torch.uint8)
    batch = next(iter(Batches(pixels, 6, seed=0)))
    assert batch.dtype == torch.float32
    assert batch.shape == (6, 1, 3, 3)
    order = rows(Batches(numbered(6), 6, seed=0), 1)[0]
    torch.testing.assert_close(batch, pixels[order].float() / 255)
    values = torch.randn(6, 2)
    assert torch.equal(next(iter(Batches(values, 6, seed=0))), values[order])


def test_without_steps_it_never_ends_and_has_no_length() -> None:
    batches = Batches(numbered(4), 3, seed=0)
    assert len(rows(batches, 50)) == 50
    with pytest.raises(TypeError):
        len(batches)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_gives_the_same_batches_in_order(workers: int) -> None:
    batches = Batches(numbered(17), 5, seed=4, start=2, steps=13)
    loader = DataLoader(batches, batch_size=None, num_workers=workers)
    assert [batch.flatten().int().tolist() for batch in loader] == rows(batches)
    assert len(loader) == 11


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 11}, "batch_size is 11; expected 1 to 10"),
        ({"batch_size": 0}, "batch_size is 0; expected 1 to 10"),
        ({"batch_size": -3}, "batch_size is -3"),
        ({"seed": -1}, "seed is -1"),
        ({"seed": 2**63}, "seed is"),
        ({"start": -1}, "start is -1; expected a step >= 0"),
        ({"start": 5, "steps": 4}, "steps is 4, fewer than the 5 already done"),
        ({"steps": -1}, "steps is -1"),
        ({"data": torch.tensor(1.0)}, "batch_size is 2; expected 1 to 0"),
        ({"data": torch.zeros(0, 2)}, "batch_size is 2; expected 1 to 0"),
    ],
)
def test_refuses(options: dict[str, int], message: str) -> None:
    arguments = {"data": numbered(10), "batch_size": 2, "seed": 0} | options
    with pytest.raises(InputError) as caught:
        Batches(**arguments)
    assert message in str(caught.value)
