"""Small real runs on disk, made without training: a page does not ask how the weights came about."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sklearn.datasets
import torch

from curvae.data import Dataset, as_float, load
from curvae.metrics import evaluate
from curvae.runs import Run, RunConfig, build_likelihood, build_model, build_objective, build_structure, save_model
from curvae.runs.documents import write_document
from curvae.runs.lines import append_line

MakeRun = Callable[..., Run]


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Scikit-learn's digits as 8 × 8 pixels."""
    path = tmp_path_factory.mktemp("digits") / "digits.npy"
    np.save(path, (sklearn.datasets.load_digits().images[:200] * 255 / 16).astype(np.uint8))
    return path


@pytest.fixture(scope="session")
def vectors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Vectors of five numbers."""
    path = tmp_path_factory.mktemp("vectors") / "vectors.npy"
    np.save(path, np.random.default_rng(0).normal(size=(60, 5)))
    return path


@pytest.fixture
def make_run() -> MakeRun:
    """Make a run folder: ``make_run(path, data, finished=True, evaluated=True, **config)``."""

    def make(path: Path, data: Path, *, finished: bool = True, evaluated: bool = True, **settings: Any) -> Run:
        choices = {"network": "mlp", "width": 0.03, "latents": 3, "batch_size": 8, "steps": 30, "log_every": 10}
        config = RunConfig(data=str(data), **{**choices, **settings})
        dataset = Run.create(path, config, _dataset(config), torch.device("cpu")).dataset()
        model, objective = build_model(config, dataset.shape), build_objective(config)
        with torch.no_grad():
            # larger weights than at initialisation, so that no matrix on the page is close to the identity
            for parameter in model.parameters():
                parameter.mul_(3.0)
        x = as_float(dataset.test).to(next(model.parameters()).dtype)
        for step in (10, 20, 30):
            with torch.no_grad():
                terms = objective(model, x, torch.Generator().manual_seed(step))
            means = {"total": float(terms.total.mean()), "parts": {k: float(v.mean()) for k, v in terms.parts.items()}}
            held_out = {"held_out": means} if step == 30 else {}
            append_line(path / "metrics.jsonl", {"step": step, "seconds": step / 10, **means, **held_out})
        run = Run.open(path)
        if finished:
            save_model(model, config, dataset.shape, path)
        if finished and evaluated:
            _evaluate(run)
        return run

    return make


def _evaluate(run: Run) -> None:
    config = run.config
    likelihood, structure = build_likelihood(config.likelihood), build_structure(config.structure)
    generator = torch.Generator().manual_seed(0)
    found = evaluate(run.model(), run.dataset().test, config.beta, likelihood, structure, generator=generator)
    write_document(run.path / "evaluation.json", "curvae-evaluation", {"evaluation": found.to_json()})


def _dataset(config: RunConfig) -> Dataset:
    return load(config.data, size=config.size, split_seed=config.split_seed)
