"""The noise of a step, from the run's seed and the step's number and nothing else."""

from __future__ import annotations

import numpy as np
import torch

# apart from the streams of the initialisation and of the data's order, which start from the same seed
_STREAM = 0x6E6F697365


def step_generator(seed: int, step: int, device: torch.device) -> torch.Generator:
    """A fresh generator for one step, from 0 on, so that a resumed run draws what the unbroken one would have drawn.

    Example:
        >>> cpu = torch.device("cpu")
        >>> first, again, other = (torch.rand(1, generator=step_generator(0, s, cpu)) for s in (5, 5, 6))
        >>> bool(first == again), bool(first == other)
        (True, False)
    """
    mixed = int(np.random.SeedSequence([_STREAM, seed, step]).generate_state(1, np.uint64)[0])
    return torch.Generator(device).manual_seed(mixed)
