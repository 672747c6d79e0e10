"""The command line's way in: what table 1 and figure 4 are made of."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from curvae.data import cache
from curvae.errors import InputError
from curvae.experiments.faces import figure as figures
from curvae.experiments.faces import grids, models, summary, tables
from curvae.experiments.faces.config import CONFIGS, Config, Quality, Samples
from curvae.experiments.faces.measure import Judge, reconstruction_error
from curvae.experiments.sweeps.gauges import batches, gauge, image_extractor
from curvae.experiments.sweeps.workshop import Call, Made, Workshop, answer
from curvae.metrics.sharpness import mean_sharpness, sharpness


def reproduce(
    figure: str,
    scale: str,
    out: Path,
    *,
    data: str | None = None,
    runs: Path = Path("runs/shared"),
    workers: int = 1,
    cluster: Mapping[str, Any] | None = None,
    changes: Mapping[str, str] | None = None,
) -> None:
    """Make table 1 or figure 4: ``summary.json``, ``table.md`` and pictures.

    Args:
        figure: ``table1`` or ``fig4``.
        scale: ``smoke``, ``quick`` or ``paper``.
        out: the folder; made if it is missing.
        data: images, as :func:`curvae.data.load` takes them; default ``avatars``, which are drawings and no CelebA.
        runs: the folder of trained runs, which all figures share. What lies there is not trained again.
        workers: runs that are trained at the same time on this machine.
        cluster: submitit's parameters; the runs are SLURM jobs then.
        changes: fields of the scale's configuration to change; they are named in the summary.

    Raises:
        InputError: an unknown name, or data, features or a folder that cannot be used.
        TrainingError: a run diverged or was stopped; the same call goes on where it stopped.
    """
    answer(Call(figure, scale, out, data, runs, workers, cluster, changes), CONFIGS, _make)


def _make(figure: str, config: Config, workshop: Workshop) -> Made:
    shape = workshop.dataset.shape
    if len(shape) != 3 or shape[0] not in (1, 3):
        raise InputError(f"{figure} is of images, but the data have shape {tuple(shape)}; give images by --data")
    match config:
        case Samples():
            return _table(figure, config, workshop)
        case Quality():
            return _figure(figure, config, workshop)


def _table(figure: str, config: Samples, workshop: Workshop) -> Made:
    seed = config.training.seeds[0]
    wanted = models.sweep_runs(config.training, config.betas, config.latents, (seed,))
    runs = workshop.runs(wanted.values())
    data = workshop.dataset.test[: config.points]
    pictured, about = {}, {}
    measured = {key: run.model().to(workshop.device) for key, run in workshop.measuring(runs)}
    for (name, beta, _), key in wanted.items():
        images = grids.draw(measured[key], max(100, config.rows))
        pictured[name, beta] = images[: config.rows]
        error = reconstruction_error(measured[key], data)
        about[name, beta] = {"mse": error, "sharpness": float(sharpness(images.clamp(0, 1)).mean())}
    settings = [{"beta": beta, "models": {name: about[name, beta] for name in models.MODELS}} for beta in config.betas]
    found = {"test_points": len(data), "seed": seed, "rows": config.rows, "settings": settings}
    drawing = grids.sheet(pictured, config.betas)
    return Made(found, tables.samples(found), {f"{figure}.png": drawing}, tuple(runs.values()))


def _figure(figure: str, config: Quality, workshop: Workshop) -> Made:
    # what is asked for is checked before anything is trained
    wanted = models.sweep_runs(config.training, config.betas, config.latents, config.training.seeds)
    varied = models.ablation_runs(config)
    extractor = image_extractor(config.features, config.side, workshop.dataset)
    known = gauge(extractor, extractor.about, workshop.dataset, config.images, workshop.device, cache.default())
    runs = workshop.runs([*wanted.values(), *varied.values()])
    judge = Judge(workshop.dataset, config, known, workshop.device)
    measured = {key: judge(run) for key, run in workshop.measuring(runs)}
    found = summary.against_beta({place: measured[key] for place, key in wanted.items()}, config)
    real = batches(workshop.dataset.test[: known.images], workshop.device)
    found |= {
        "betas": list(config.betas),
        "test_points": min(config.points, len(workshop.dataset.test)),
        "objective_points": min(config.objective_points, len(workshop.dataset.test)),
        "frechet": known.summary(),
        "sharpness_of_real_images": mean_sharpness(real),
        "answer": {key: summary.sentence(found["within_spread"][key], config.betas) for key in summary.DISTANCES},
        "ablation": None,
    }
    drawings = {f"{figure}.png": figures.against_beta(found)}
    if varied:
        changed = summary.ablation({place: measured[key] for place, key in varied.items()}, config.ablation_beta)
        found["ablation"] = changed
        drawings[f"{figure}-ablation.png"] = figures.ablation(changed)
    return Made(found, tables.quality(found), drawings, tuple(runs.values()))
