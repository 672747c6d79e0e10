"""How good the samples of long runs are: the Fréchet distances and sharpness of figure 4, over seeds.

``python -m benchmarks.distances RUNS --out results/long`` takes the finished runs of ``benchmarks.long``, those of the
setting that most of them have, and writes ``distances.json``.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import track

from benchmarks.long import REFERENCE, finished_runs, name, one_estimate_a_line, setting
from curvae.cpu.page_faults import avoid_page_faults
from curvae.data import cache
from curvae.metrics.sharpness import mean_sharpness
from curvae.reproduce.fig4.config import CONFIGS
from curvae.reproduce.fig4.numbers import MEASURES, SampleEvaluator
from curvae.reproduce.intervals import paired
from curvae.reproduce.summary import as_json, write_text
from curvae.reproduce.sweep.frechet import batches, frechet_reference, image_extractor
from curvae.runs.provenance import environment, today

_CPU = torch.device("cpu")
_SHOWN = ("frechet_prior", "frechet_mixture", "sharpness_prior", "sharpness_mixture", "mse")
Found = Mapping[str, float]


def summarise(found: Mapping[str, Mapping[int, Found]]) -> dict[str, Any]:
    """Each way over its seeds, and less the β-VAE of the same seed."""
    reference = found.get(REFERENCE, {})
    ways: dict[str, Any] = {}
    for way, seeds in found.items():
        ways[way] = {"seeds": sorted(seeds), **_over([seeds[seed] for seed in sorted(seeds)])}
        both = sorted(seeds.keys() & reference.keys())
        if way != REFERENCE and both:
            differences = [{key: seeds[seed][key] - reference[seed][key] for key in _SHOWN} for seed in both]
            ways[way]["less_reference"] = {"seeds": both, **_over(differences)}
    return ways


def _over(values: list[dict[str, float]] | list[Found]) -> dict[str, Any]:
    return {key: paired(np.array([each[key] for each in values])) for key in _SHOWN}


def evaluate(folder: Path, out: Path, images: int) -> None:
    """Measure all finished runs of the main setting, and write what was found.

    Raises:
        InputError: no finished run there.
    """
    runs, _ = finished_runs(folder)
    dataset, config = runs[0].dataset(), CONFIGS["fig4", "overnight"]
    extractor = image_extractor(config.features, config.side, dataset)
    reference = frechet_reference(extractor, extractor.about, dataset, images, _CPU, cache.default())
    evaluator = SampleEvaluator(dataset, config, reference, _CPU)
    found: dict[str, dict[int, Found]] = {}
    for run in track(runs, "measuring", console=Console(stderr=True)):
        found.setdefault(name(run.config), {})[run.config.seed] = evaluator(run)
    real = batches(dataset.test[: reference.images], _CPU)
    summary = {
        "setting": setting(runs[0].config),
        "measures": {key: MEASURES[key] for key in _SHOWN},
        "runs": {run.path.name: run.environment["commit"] for run in runs},
        "frechet": reference.summary(),
        "sharpness_of_real_images": mean_sharpness(real),
        "ways": summarise(found),
        "evaluated": {"date": today(), **environment(_CPU)},
    }
    out.mkdir(parents=True, exist_ok=True)
    write_text(out / "distances.json", one_estimate_a_line(as_json(summary)))


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.distances", description=__doc__)
    parser.add_argument("runs", type=Path, help="the folder of run folders")
    parser.add_argument("--out", type=Path, required=True, help="where distances.json goes")
    parser.add_argument("--images", type=int, default=1000, help="drawn from each model, against as many held-out ones")
    given = parser.parse_args()
    avoid_page_faults()
    torch.set_num_threads(1)
    evaluate(given.runs, given.out, given.images)


if __name__ == "__main__":
    main()
