"""``curvae inspect`` of a conditional run, at one condition."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from curvae.runs import RunConfig
from curvae.training import train

Curvae = Callable[..., Any]


def test_it_looks_at_the_samples_of_one_class(curvae: Curvae, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "x.npz", x=rng.normal(size=(120, 5)).astype("float32"), labels=np.arange(120) % 3)
    config = RunConfig(
        f"{tmp_path}/x.npz:x", condition="labels", width=0.02, latents=2, steps=3, device="cpu", batch_size=16
    )
    run = train(config, tmp_path / "run").run
    found = curvae("inspect", tmp_path / "run", "--condition-value", "1", "--json")
    assert found.code == 0, found.stderr
    dataset, model = run.dataset(), run.model()
    assert dataset.conditions is not None
    own = dataset.conditions[1][:, 1] == 1
    traces = []
    for x, c in zip(dataset.test[own], dataset.conditions[1][own], strict=True):
        z = model.encode(x[None], c[None])[0].detach()
        jacobian = torch.func.jacrev(lambda z, c=c: model.decode(z[None], c[None])[0])(z)
        traces.append(float(jacobian.square().sum()))
    assert found.json["cost"]["samples"] == int(own.sum())
    np.testing.assert_allclose(found.json["trace"], np.mean(traces), rtol=1e-4)
    for options, message in (
        ([], "the model is conditional; say with --condition-value at which one to look at it: labels (3 classes"),
        (["--condition-value", "7"], "labels is '7'; expected one of 0, 1, 2"),
        (["--condition-value", "0,1"], "expected one condition for all samples"),
    ):
        answer = curvae("inspect", tmp_path / "run", *options)
        assert answer.code == 2
        assert message in answer.stderr
    # of other data those of the class, too
    np.savez(tmp_path / "y.npz", x=rng.normal(size=(8, 5)).astype("float32"), labels=[0, 0, 1, 2, 1, 0, 0, 2])
    other = curvae("inspect", tmp_path / "run", "--condition-value", "1", "--data", f"{tmp_path}/y.npz:x", "--json")
    assert other.json["cost"]["samples"] == 2
