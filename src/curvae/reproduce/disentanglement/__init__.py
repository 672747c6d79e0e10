"""§3.2 as evidence: do latents stand for the factors of known data, and is it the mean-field Σ that does it?

β-VAE and GRAE with diagonal, block and full structure on drawn data whose factors are known, against β, with an
ordinary autoencoder, and with data whose principal directions do not lie along the factors, as controls.
"""

from __future__ import annotations

from dataclasses import replace

from curvae.data import load
from curvae.reproduce.disentanglement.config import CONFIGS, Disentanglement, autoencoders, runs
from curvae.reproduce.disentanglement.numbers import known, measure
from curvae.reproduce.disentanglement.picture import plot
from curvae.reproduce.disentanglement.scores import summarise
from curvae.reproduce.disentanglement.section import SECTIONS, table
from curvae.reproduce.sweep import Context, FigureResult, Sweep

__all__ = ["CONFIGS", "SECTIONS", "reproduce"]


def make(figure: str, config: Disentanglement, context: Context) -> FigureResult:
    """Train, measure and draw."""
    training = config.training
    sample = known(training.data, context.dataset.test[:], config.points)
    if config.control != "none":  # before anything is trained
        known(config.control, context.dataset.test[:], config.points)
    wanted = {**runs(config, training.data, config.models), **autoencoders(config)}
    trained = context.runs(wanted.values())
    found = context.measure(trained, lambda run: measure(run, sample, config, context.device))
    plain = {place: found[key] for place, key in wanted.items()}
    control, all_runs = {}, list(trained.values())
    if config.controlled:
        dataset = load(config.control, size=training.size or None)
        other, tilted = replace(context, dataset=dataset), known(config.control, dataset.test[:], config.points)
        wanted = runs(config, config.control, config.controlled)
        trained = other.runs(wanted.values())
        found = other.measure(trained, lambda run: measure(run, tilted, config, context.device))
        control, all_runs = {place: found[key] for place, key in wanted.items()}, [*all_runs, *trained.values()]
    summary = {"test_points": len(sample.data), **summarise(plain, control, config)}
    return FigureResult(summary, table(summary), {f"{figure}.png": plot(summary)}, tuple(all_runs))


reproduce = Sweep(CONFIGS, make)
