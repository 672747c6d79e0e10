"""The command line's way in: from trained models to the figure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from curvae.data import load
from curvae.experiments.disentanglement import figure as figures
from curvae.experiments.disentanglement.config import AUTOENCODER, CONFIGS, Disentanglement, autoencoders, runs
from curvae.experiments.disentanglement.measure import known, measure
from curvae.experiments.disentanglement.summary import SCORES, summarise
from curvae.experiments.sweeps.tables import table, text
from curvae.experiments.sweeps.workshop import Call, Made, Workshop, answer


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
    """Make the figure of disentanglement: ``summary.json``, ``table.md`` and a picture.

    Args:
        figure: ``disentanglement``.
        scale: ``smoke``, ``quick``, ``overnight`` or ``paper``.
        out: the folder; made if it is missing.
        data: a drawn set, whose factors are known: default ``sprites``; ``avatars`` with ``control=none``.
        runs: the folder of trained runs, which all figures share. What lies there is not trained again.
        workers: runs that are trained at the same time on this machine.
        cluster: submitit's parameters; the runs are SLURM jobs then.
        changes: fields of the scale's configuration to change; they are named in the summary.

    Raises:
        InputError: an unknown name, or data or a folder that cannot be used.
        TrainingError: a run diverged or was stopped; the same call goes on where it stopped.
    """
    answer(Call(figure, scale, out, data, runs, workers, cluster, changes), CONFIGS, _make)


def _make(figure: str, config: Disentanglement, workshop: Workshop) -> Made:
    training = config.training
    sample = known(training.data, workshop.dataset.test, config.points)
    if config.control != "none":  # before anything is trained
        known(config.control, workshop.dataset.test, config.points)
    wanted = {**runs(config, training.data, config.models), **autoencoders(config)}
    trained = workshop.runs(wanted.values())
    found = {key: measure(run, sample, config, workshop.device) for key, run in workshop.measuring(trained)}
    plain = {place: found[key] for place, key in wanted.items()}
    control, all_runs = {}, list(trained.values())
    if config.controlled:
        dataset = load(config.control, size=training.size or None)
        other = replace(workshop, dataset=dataset)
        wanted = runs(config, config.control, config.controlled)
        trained = other.runs(wanted.values())
        sample = known(config.control, dataset.test, config.points)
        found = {key: measure(run, sample, config, workshop.device) for key, run in other.measuring(trained)}
        control, all_runs = {place: found[key] for place, key in wanted.items()}, [*all_runs, *trained.values()]
    summary = {"test_points": len(sample.data), **summarise(plain, control, config)}
    return Made(summary, _table(summary), {f"{figure}.png": figures.plot(summary)}, tuple(all_runs))


def _table(summary: Mapping[str, Any]) -> str:
    """One row a model and β, then the answers."""
    keys = summary["measures"]
    rows = [
        [f"{name}, β = {beta:g}", *(text(model[key][at]) for key in keys)]
        for name, model in summary["models"].items()
        for at, beta in enumerate(summary["betas"])
    ]
    rows.append([AUTOENCODER, *(text(summary[AUTOENCODER][key]) for key in keys)])
    answers = [
        [title, *(text(found[key]) for key in SCORES)]
        for title, found in (
            *((f"diagonal less full Σ, {kind}", part) for kind, part in summary["diagonal_less_full"].items()),
            *((f"data less control, {name}", part) for name, part in summary["data_less_control"].items()),
            ("rank correlation with mean absolute cosine", summary["orthogonality"]),
        )
    ]
    heads = [summary["measures"][key] for key in SCORES]
    return "\n\n".join([table(["model", *keys.values()], rows), table(["mean over β [95 %]", *heads], answers)])
