"""Small data and small runs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from curvae.runs import RunConfig

Configure = Callable[..., RunConfig]


@pytest.fixture
def configure(small_run: Configure, tmp_path: Path) -> Configure:
    """Make a configuration of a run that takes a second, on vectors or on images for the paper's networks."""

    def make(**changes: Any) -> RunConfig:
        shape = (40, 1, 28, 28) if changes.get("network") == "paper" else (80, 6)
        longer = {"latents": 2, "steps": 30, "checkpoint_every": 10, "lr": 0.01}
        return small_run(tmp_path, shape, **(longer | changes))

    return make
