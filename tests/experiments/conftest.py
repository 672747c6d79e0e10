"""Toy data on which a run takes a second."""

from pathlib import Path

import numpy as np
import pytest

from curvae.experiments.sweeps.training import Training


@pytest.fixture
def toy(tmp_path: Path) -> Training:
    """Twelve-dimensional vectors for the MLP."""
    np.save(tmp_path / "toy.npy", np.random.default_rng(0).random((80, 12), dtype=np.float32))
    return Training(
        steps=20, width=0.03, seeds=(0,), data=str(tmp_path / "toy.npy"), network="mlp", batch_size=8, device="cpu"
    )
