"""Noise of a step: pure in (seed, step)."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from curvae.training.noise import step_generator

CPU = torch.device("cpu")
SEEDS = st.integers(0, 2**63 - 1)
STEPS = st.integers(0, 10**9)


@given(SEEDS, STEPS)
def test_same_step_same_noise(seed: int, step: int) -> None:
    first, second = (torch.randn(4, generator=step_generator(seed, step, CPU)) for _ in range(2))
    assert torch.equal(first, second)


@given(SEEDS, STEPS, SEEDS, STEPS)
def test_other_step_other_noise(seed: int, step: int, other_seed: int, other_step: int) -> None:
    if (seed, step) != (other_seed, other_step):
        first = torch.randn(4, generator=step_generator(seed, step, CPU))
        assert not torch.equal(first, torch.randn(4, generator=step_generator(other_seed, other_step, CPU)))


def test_steps_are_uncorrelated() -> None:
    noise = torch.stack([torch.randn(1000, generator=step_generator(0, step, CPU)) for step in range(20)])
    correlation = noise.corrcoef() - torch.eye(20)
    assert float(correlation.abs().max()) < 0.15  # 190 pairs, each of standard deviation 0.03
