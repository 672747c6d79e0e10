"""Table 1 (App. G): samples of β-VAE and GRAE≈ side by side, at every β, from the same z.

The models are figure 4's, in the cache of runs that all figures share.
"""

from __future__ import annotations

from curvae.metrics.sharpness import sharpness
from curvae.reproduce.sweep import Context, FigureResult, Sweep
from curvae.reproduce.sweep.faces import MODELS, check_images, reconstruction_error, sweep_runs
from curvae.reproduce.table1.config import CONFIGS, SampleGrid
from curvae.reproduce.table1.picture import draw, sheet
from curvae.reproduce.table1.section import SECTIONS, table

__all__ = ["CONFIGS", "SECTIONS", "reproduce"]


def make(figure: str, config: SampleGrid, context: Context) -> FigureResult:
    """Train, measure and draw."""
    check_images(figure, context.dataset)
    seed = config.training.seeds[0]
    wanted = sweep_runs(config.training, config.betas, config.latents, (seed,))
    runs = context.runs(wanted.values())
    data = context.dataset.test[: config.points]
    models = context.measure(runs, lambda run: run.model().to(context.device))
    pictured, about = {}, {}
    for (name, beta, _), key in wanted.items():
        images = draw(models[key], max(100, config.rows))
        pictured[name, beta] = images[: config.rows]
        error = reconstruction_error(models[key], data)
        about[name, beta] = {"mse": error, "sharpness": float(sharpness(images.clamp(0, 1)).mean())}
    settings = [{"beta": beta, "models": {name: about[name, beta] for name in MODELS}} for beta in config.betas]
    found = {"test_points": len(data), "seed": seed, "rows": config.rows, "settings": settings}
    drawing = sheet(pictured, config.betas)
    return FigureResult(found, table(found), {f"{figure}.png": drawing}, tuple(runs.values()))


reproduce = Sweep(CONFIGS, make)
