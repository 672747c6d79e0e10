"""A page about a fitted estimator."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch

from curvae.autoencoder import Autoencoder
from curvae.objectives import GRAE, BetaVAE
from curvae.runs import Run, RunConfig, save_model
from curvae.runs.fields import PYTHON
from curvae.runs.handed import Handed, Temporary, copied
from curvae.runs.spelling import spelled_with
from curvae.sklearn.conditions import Told


class About(NamedTuple):
    """How a model was fitted."""

    name: str
    samples: int  # that it has seen in a pass
    lines: list[dict[str, Any]]  # its logged steps
    options: dict[str, Any]  # of its training, as a configuration has them


def write(model: Autoencoder, objective: GRAE | BetaVAE, told: Told, about: About, path: Path) -> Path:
    """Measure a model on samples and write the page that ``curvae report`` writes of a run, over an older one.

    Raises:
        InputError: as ``curvae report``.
    """
    dataset = told.dataset()
    double = next(model.parameters()).dtype == torch.float64
    config = RunConfig(
        data=PYTHON,
        model=PYTHON,
        latents=model.latents,
        steps=about.lines[-1]["step"],
        precision="64" if double else "32",
        condition=PYTHON if dataset.conditional else "",
        **spelled_with(objective, model),
        **about.options,
    )
    temporary = Temporary()
    kept = copied(model).cpu().eval()
    handed = Handed(lambda: copied(kept), dataset, objective, temporary)
    run = Run.create(temporary.path / about.name, config, dataset, torch.device("cpu"), handed)
    run = replace(run, data={**run.data, "train": about.samples})
    text = "".join(json.dumps(line) + "\n" for line in about.lines)
    (run.path / "metrics.jsonl").write_text(text, encoding="utf-8")
    save_model(kept, config, dataset.shape, run.path)
    run.evaluate(device="cpu")
    return run.report(path)
