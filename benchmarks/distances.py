"""How good the samples of long runs are: the Fréchet distances and sharpness of figure 4, over seeds.

``python -m benchmarks.distances RUNS --out results/long`` takes the finished runs of ``benchmarks.long``, those of the
setting that most of them have, each also after the further steps as a β-VAE of ``benchmarks.continued``, and β-VAEs of
more steps, and writes ``distances.json``. With ``--along`` it takes the kept snapshots of every run instead. What was
measured before is read from ``--values``.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import track

from benchmarks.continued import Continuation, go_on, is_longer
from benchmarks.long_runs import REFERENCE, finished_runs, kept, models, name, one_estimate_a_line, setting
from curvae.autoencoder import Autoencoder
from curvae.cpu.page_faults import avoid_page_faults
from curvae.data import as_float, cache
from curvae.metrics.sharpness import mean_sharpness
from curvae.reproduce.fig4.config import CONFIGS
from curvae.reproduce.fig4.numbers import MEASURES, SampleEvaluator
from curvae.reproduce.intervals import paired
from curvae.reproduce.summary import as_json, write_text
from curvae.reproduce.sweep.frechet import batches, frechet_reference, image_extractor
from curvae.runs import Run, load_model
from curvae.runs.provenance import environment, today

_CPU = torch.device("cpu")
_SHOWN = ("frechet_prior", "frechet_mixture", "frechet_reconstruction", "sharpness_prior", "sharpness_mixture", "mse")
_THEN = Continuation(1000, as_vae=True)
# the ways whose runs go on as β-VAEs
_GO_ON = (REFERENCE, "GRAE≈, one column", "GRAE≈, one column on 1/4")
Found = Mapping[str, float]
Ways = Mapping[str, Mapping[int, Found]]


def summarise(found: Ways, longer: Ways) -> dict[str, Any]:
    """Each way over its seeds, less the β-VAE of the same seed, and less those of more steps."""
    ways: dict[str, Any] = {}
    for way, seeds in {**found, **longer}.items():
        ways[way] = {"seeds": sorted(seeds), **_over([seeds[seed] for seed in sorted(seeds)])}
        if way != REFERENCE:
            ways[way] |= {"less_reference": less} if (less := _less(seeds, found.get(REFERENCE, {}))) else {}
            ways[way]["less_longer"] = {
                name: less for name, theirs in longer.items() if name != way and (less := _less(seeds, theirs))
            }
    return ways


def _less(mine: Mapping[int, Found], theirs: Mapping[int, Found]) -> dict[str, Any]:
    """Over the seeds that both have; empty if they share none."""
    both = sorted(mine.keys() & theirs.keys())
    differences = [{key: mine[seed][key] - theirs[seed][key] for key in _SHOWN} for seed in both]
    return {"seeds": both, **_over(differences)} if both else {}


def _over(values: Sequence[Found]) -> dict[str, Any]:
    return {key: paired(np.array([each[key] for each in values])) for key in _SHOWN}


@dataclass(frozen=True)
class Measuring:
    """Measures models of one data set; each once."""

    evaluator: SampleEvaluator
    cache: Path

    def __call__(self, name: str, model: Callable[[], Autoencoder]) -> Found:
        """What was measured under this name before, or the model's measures."""

        def measured() -> dict[str, np.ndarray]:
            return {key: np.array(value) for key, value in self.evaluator.images(model()).items()}

        amounts = f"{self.evaluator.reference.images}-{self.evaluator.config.codes}"
        return {key: float(value) for key, value in kept(self.cache / f"{name}-images-{amounts}.npz", measured).items()}


def ends(runs: Sequence[Run], others: Sequence[Run], measure: Measuring) -> dict[str, Any]:
    """The ends of the runs, and what further steps as a β-VAE make of them."""
    training = as_float(measure.evaluator.dataset.train)
    found: dict[str, dict[int, Found]] = {}
    longer: dict[str, dict[int, Found]] = {}
    for run in _track(runs):
        way, seed = name(run.config), run.config.seed
        found.setdefault(way, {})[seed] = measure(run.path.name, run.model)
        if way in _GO_ON:
            then = f"{way}, then {_THEN.steps} steps as {REFERENCE}"
            further = measure(f"{run.path.name}-then-{_THEN.steps}", partial(go_on, run, _THEN, training))
            found.setdefault(then, {})[seed] = further
    for run in _track([run for run in others if is_longer(run.config, runs[0].config)]):
        way = f"{REFERENCE}, {run.config.steps} steps"
        longer.setdefault(way, {})[run.config.seed] = measure(run.path.name, run.model)
    return summarise(found, longer)


def along(runs: Sequence[Run], measure: Measuring) -> dict[str, Any]:
    """Every kept model of the runs, by way and step, over seeds."""
    found: dict[int, dict[str, dict[int, Found]]] = {}
    for run in _track(runs):
        for step, path in models(run):
            seeds = found.setdefault(step, {}).setdefault(name(run.config), {})
            seeds[run.config.seed] = measure(f"{run.path.name}-{step}", partial(load_model, path))
    return {str(step): summarise(ways, {}) for step, ways in sorted(found.items())}


def _track(runs: Sequence[Run]) -> Iterable[Run]:
    return track(runs, "measuring", console=Console(stderr=True))


def evaluate(folder: Path, out: Path, values: Path, images: int, snapshots: bool) -> None:
    """Measure all finished runs of the main setting, and write what was found.

    Raises:
        InputError: no finished run there.
    """
    runs, others = finished_runs(folder)
    dataset, config = runs[0].dataset(), CONFIGS["fig4", "overnight"]
    extractor = image_extractor(config.features, config.side, dataset)
    reference = frechet_reference(extractor, extractor.about, dataset, images, _CPU, cache.default())
    measure = Measuring(SampleEvaluator(dataset, config, reference, _CPU), values)
    found = {"along": along(runs, measure)} if snapshots else {"ways": ends(runs, others, measure)}
    summary = {
        "setting": setting(runs[0].config),
        "measures": {key: MEASURES[key] for key in _SHOWN},
        "runs": {run.path.name: run.environment["commit"] for run in runs},
        "frechet": reference.summary(),
        "sharpness_of_real_images": mean_sharpness(batches(dataset.test[: reference.images], _CPU)),
        **found,
        "evaluated": {"date": today(), **environment(_CPU)},
    }
    out.mkdir(parents=True, exist_ok=True)
    write_text(out / "distances.json", one_estimate_a_line(as_json(summary)))


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.distances", description=__doc__)
    parser.add_argument("runs", type=Path, help="the folder of run folders")
    parser.add_argument("--out", type=Path, required=True, help="where distances.json goes")
    parser.add_argument("--values", type=Path, default=Path("runs/long-values"), help="what was measured before")
    parser.add_argument("--along", action="store_true", help="the kept snapshots instead")
    parser.add_argument("--images", type=int, default=1000, help="drawn from each model, against as many held-out ones")
    given = parser.parse_args()
    avoid_page_faults()
    torch.set_num_threads(1)
    evaluate(given.runs, given.out, given.values, given.images, given.along)


if __name__ == "__main__":
    main()
