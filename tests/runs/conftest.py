"""A finished run, made once for all tests that only read it."""

from collections.abc import Callable

import pytest

from curvae.runs import Run, RunConfig
from curvae.training import train


@pytest.fixture(scope="session")
def finished(small_run: Callable[..., RunConfig], tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("finished")
    return train(small_run(folder, objective="beta-vae", structure="block:2"), folder / "run").run
