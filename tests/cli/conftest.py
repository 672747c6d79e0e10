"""The command line in this process, and a finished run."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from curvae.cli import app
from curvae.runs import Run, RunConfig
from curvae.training import train


@dataclass(frozen=True)
class Answer:
    code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        """The one object on stdout; anything else there is an error."""
        return json.loads(self.stdout)


Curvae = Callable[..., Answer]


@pytest.fixture
def curvae(monkeypatch: pytest.MonkeyPatch) -> Curvae:
    monkeypatch.setenv("CURVAE_TRACEBACK", "1")  # a fault in curvae fails the test, and shows where it is

    def call(*arguments: object) -> Answer:
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Answer(result.exit_code, result.stdout, result.stderr)

    return call


@pytest.fixture(scope="session")
def original(small_run: Callable[..., RunConfig], tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("original")
    return train(small_run(folder, (60, 1, 8, 8), structure="full"), folder / "run").run


@pytest.fixture
def run(original: Run, tmp_path: Path) -> Path:
    """A copy of the run that a test may damage."""
    return Path(shutil.copytree(original.path, tmp_path / "run"))


@pytest.fixture
def stopped(run: Path) -> Path:
    """The same, as if it had been killed before the model was exported."""
    (run / "model.json").unlink()
    (run / "model.safetensors").unlink()
    document = json.loads((run / "config.json").read_text())
    assert document["config"]["steps"] == 10
    return run


@pytest.fixture
def vectors(tmp_path: Path) -> Path:
    path = tmp_path / "vectors.npy"
    np.save(path, np.random.default_rng(0).random((60, 6), dtype=np.float32))
    return path
