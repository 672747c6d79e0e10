"""A page about a fitted estimator."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch

from curvae.autoencoder import Autoencoder
from curvae.data import Dataset
from curvae.objectives import GRAE, BetaVAE
from curvae.runs import Run, RunConfig, save_model
from curvae.runs.fields import PYTHON
from curvae.runs.handed import Handed, Temporary
from curvae.runs.spelling import spelled
from curvae.sklearn.conditions import Told


class About(NamedTuple):
    """How a model was fitted.

    Attributes:
        name: what to call it.
        samples: how many it has seen in a pass.
        lines: its logged steps.
        options: of its training, as a configuration has them.
    """

    name: str
    samples: int
    lines: list[dict[str, Any]]
    options: dict[str, Any]


def write(model: Autoencoder, objective: GRAE | BetaVAE, told: Told, about: About, path: Path) -> Path:
    """Measure a model on samples and write the page that ``curvae report`` writes of a run.

    Args:
        model: the fitted one.
        objective: what it has minimised.
        told: the samples that are shown and measured.
        about: how it was fitted.
        path: the page; replaced if it exists.

    Raises:
        InputError: as ``curvae report``.
    """
    x = told.x.float().cpu()
    dataset = Dataset("X", x, x, {"kind": "given"})
    if told.c is not None:
        dataset = dataset.with_conditions(told.c.float().cpu(), told.c.float().cpu())
    double = next(model.parameters()).dtype == torch.float64
    config = RunConfig(
        data=PYTHON,
        model=PYTHON,
        latents=model.latents,
        steps=about.lines[-1]["step"],
        precision="64" if double else "32",
        condition=PYTHON if dataset.conditional else "",
        **spelled(objective),
        **about.options,
    )
    temporary = Temporary()
    kept = copy.deepcopy(model).cpu().eval()
    handed = Handed(lambda: copy.deepcopy(kept), dataset, objective, temporary)
    run = Run.create(temporary.path / about.name, config, dataset, torch.device("cpu"), handed)
    run = replace(run, data={**run.data, "train": about.samples})
    text = "".join(json.dumps(line) + "\n" for line in about.lines)
    (run.path / "metrics.jsonl").write_text(text, encoding="utf-8")
    save_model(kept, config, dataset.shape, run.path)
    run.evaluate(device="cpu")
    return run.report(path)
