"""A finished run, made once for all tests that only read it."""

import numpy as np
import pytest

from curvae.runs import Run, RunConfig
from curvae.training import train


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("finished")
    np.save(folder / "vectors.npy", np.random.default_rng(0).random((60, 6), dtype=np.float32))
    config = RunConfig(
        data=str(folder / "vectors.npy"),
        objective="beta-vae",
        structure="block:2",
        network="mlp",
        width=0.02,
        latents=3,
        steps=10,
        batch_size=8,
        checkpoint_every=5,
        log_every=5,
        device="cpu",
    )
    return train(config, folder / "run").run
