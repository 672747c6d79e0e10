"""Small data and small runs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curvae.runs import RunConfig

Configure = Callable[..., RunConfig]


@pytest.fixture
def configure(tmp_path: Path) -> Configure:
    """Make a configuration of a run that takes a second, on vectors or on images for the paper's networks."""

    def make(**changes: Any) -> RunConfig:
        images = changes.get("network") == "paper"
        path = tmp_path / ("images.npy" if images else "vectors.npy")
        shape = (40, 1, 28, 28) if images else (80, 6)
        np.save(path, np.random.default_rng(0).random(shape, dtype=np.float32))
        small = {
            "data": str(path),
            "network": "mlp",
            "width": 0.02,
            "latents": 2,
            "steps": 30,
            "batch_size": 8,
            "checkpoint_every": 10,
            "log_every": 5,
            "device": "cpu",
            "lr": 0.01,
        }
        return RunConfig(**(small | changes))

    return make
