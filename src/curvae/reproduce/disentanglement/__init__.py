"""§3.2 as evidence: do latents stand for the factors of known data, and is it the mean-field Σ that does it?

β-VAE and GRAE with diagonal, block and full structure on drawn data whose factors are known, against β, with an
ordinary autoencoder, and with data whose principal directions do not lie along the factors, as controls.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import torch

from curvae.data import load
from curvae.errors import InputError
from curvae.reproduce.disentanglement.config import CONFIGS, Disentanglement, autoencoders, runs
from curvae.reproduce.disentanglement.numbers import known, measure, scored
from curvae.reproduce.disentanglement.picture import plot
from curvae.reproduce.disentanglement.scores import summarise
from curvae.reproduce.disentanglement.section import SECTIONS, table
from curvae.reproduce.sweep import Context, FigureResult, Sweep

__all__ = ["CONFIGS", "SECTIONS", "reproduce"]


def make(figure: str, config: Disentanglement, context: Context) -> FigureResult:
    """Train, measure and draw."""
    training = config.training
    sample = known(training.data, context.dataset.test[:], config.points)
    # what cannot be measured is refused before anything is trained
    drawn = torch.randn(len(sample.data), config.latents, generator=torch.Generator().manual_seed(0))
    scored(drawn, sample, config)
    plans = [(context, sample, {**runs(config, training.data, config.models), **autoencoders(config)})]
    if config.controlled:
        dataset = load(config.control, size=training.size or None)
        tilted = known(config.control, dataset.test[:], config.points)
        if tilted.factors.shape != sample.factors.shape:  # scores of fewer samples are larger by chance
            counts = [
                f"{len(one.factors)} held-out samples of {one.factors.shape[1]} factors" for one in (tilted, sample)
            ]
            raise InputError(
                f"--set control is {config.control!r} with {counts[0]}, and the data have {counts[1]}; expected as "
                "many, or --set control=none"
            )
        plans.append((replace(context, dataset=dataset), tilted, runs(config, config.control, config.controlled)))
    # all training first: what was trained is kept when the command is stopped, what was measured is not
    trained = [at.runs(wanted.values()) for at, _, wanted in plans]
    values = []
    for (at, known_sample, wanted), found in zip(plans, trained, strict=True):
        measured = at.measure(found, partial(measure, sample=known_sample, config=config, device=context.device))
        values.append({place: measured[key] for place, key in wanted.items()})
    plain, control = values if config.controlled else (*values, {})
    summary = {"test_points": len(sample.data), **summarise(plain, control, config)}
    every = tuple(run for part in trained for run in part.values())
    return FigureResult(summary, table(summary), {f"{figure}.png": plot(summary)}, every)


reproduce = Sweep(CONFIGS, make)
