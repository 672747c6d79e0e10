"""The box on top of a page, against the objectives computed another way."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.func import jacrev, vmap

from curvae.report.conclusion import conclusions
from curvae.report.subjects import group_by_data, open_subjects
from curvae.runs import Run

MakeRun = Callable[..., Run]


def _closed_form(run: Run, x: torch.Tensor) -> np.ndarray:
    """(13), by reverse mode."""
    model, beta = run.model().double(), run.config.beta
    h = model.encode(x).detach()
    jacobian = vmap(jacrev(lambda z: model.decode(z[None])[0].flatten()))(h)
    m = torch.eye(h.shape[1]) + jacobian.mT @ jacobian / beta
    error = (x - model.decode(h)).flatten(1).square().sum(1)
    return (0.5 * error + 0.5 * beta * (h.square().sum(1) + torch.logdet(m))).detach().numpy()


def test_differences_are_paired_and_their_intervals_right(make_run: MakeRun, vectors: Path, tmp_path: Path) -> None:
    runs = [make_run(tmp_path / name, vectors, seed=seed) for seed, name in enumerate(("a", "b"))]
    (group,) = group_by_data(open_subjects([run.path for run in runs]))
    (found,) = conclusions(group)
    assert (found.subject.name, found.reference.name) == ("b", "a")
    x = runs[0].dataset().test.double()
    difference = _closed_form(runs[1], x) - _closed_form(runs[0], x)
    mean, error = difference.mean(), difference.std(ddof=1) / len(x) ** 0.5
    low, high = mean - 1.96 * error, mean + 1.96 * error
    last = found.differences[-1]
    assert last.objective == "(13)"
    if low <= 0 <= high:
        assert last.size == f"difference {low:+.2g} to {high:+.2g}"
    else:
        near, far = sorted((abs(low), abs(high)))
        assert last.words == ("lower" if high < 0 else "higher")
        assert last.size == f"by {abs(mean):.2g}, {near:.2g} to {far:.2g}"


@pytest.mark.parametrize("other", [{"beta": 0.7}, {"likelihood": "laplace:0.3"}])
def test_runs_that_minimise_different_things_are_not_compared(
    make_run: MakeRun, vectors: Path, tmp_path: Path, other: dict[str, object]
) -> None:
    runs = [make_run(tmp_path / "a", vectors), make_run(tmp_path / "b", vectors, **other)]
    (group,) = group_by_data(open_subjects([run.path for run in runs]))
    assert conclusions(group) == []


def test_one_held_out_sample_shows_no_difference(make_run: MakeRun, tmp_path: Path) -> None:
    np.save(tmp_path / "few.npy", np.random.default_rng(0).random((9, 6), dtype=np.float32))
    runs = [make_run(tmp_path / name, tmp_path / "few.npy", seed=seed) for seed, name in enumerate(("a", "b"))]
    (group,) = group_by_data(open_subjects([run.path for run in runs]))
    assert len(runs[0].dataset().test) == 1
    assert conclusions(group) == []
