"""What long runs lose and gain along training: every kept snapshot of every run measured on held-out data.

``python -m benchmarks.long RUNS --out results/long`` measures the run folders in ``RUNS``, finished or not, and writes
``summary.json`` and ``curves.png``. What was measured before is read from ``--values``, so that a second call, when
more runs are finished, takes only what they add. ``--stored`` joins them to a summary whose runs are gone: its means of
each run are all that intervals over seeds need.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor

from benchmarks.long_picture import plot
from benchmarks.long_runs import REFERENCE, Values, kept, models, name, one_estimate_a_line, setting
from curvae.autoencoder import Autoencoder
from curvae.cpu.page_faults import avoid_page_faults
from curvae.data import as_float
from curvae.errors import InputError
from curvae.metrics import Implied, importance_weighted_nll
from curvae.metrics.codes import batches, deployed
from curvae.metrics.likelihood import at_unit_beta
from curvae.metrics.objectives import objective_values
from curvae.reproduce.drawing import save_png
from curvae.reproduce.intervals import paired
from curvae.reproduce.summary import as_json, write_text
from curvae.runs import Run, RunConfig, build_likelihood, build_structure, load_model
from curvae.runs.provenance import environment, today

MEASURES = {
    "beta_vae": "(2)",
    "taylor": "(7)",
    "grae_full": "(13)",
    "squared_error": "squared error term",
    "left_out": "(2) − (7)",
    "nll": "importance-weighted NLL, nats",
}


@dataclass(frozen=True)
class Scale:
    """How much is measured: held-out samples of a snapshot and of a finished model, and draws for each sample.

    The importance-weighted NLL is of finished models alone, on its own number of samples: it costs the most.
    """

    snapshot: int = 200
    finished: int = 1000
    draws: int = 16
    nll: int = 200
    nll_draws: int = 50


@torch.no_grad()
def measure(model: Autoencoder, data: Tensor, config: RunConfig, scale: Scale, finished: bool) -> Values:
    """Every measure, a value a sample; the noise is the same for all models, so that they differ by their weights."""
    likelihood, structure = build_likelihood(config.likelihood), build_structure(config.structure)
    generator = torch.Generator().manual_seed(0)
    parts = []
    with deployed(model):
        for x in batches(model, data[: scale.finished if finished else scale.snapshot], 50):
            given = (model, x, config.beta, likelihood, structure)
            parts.append(objective_values(*given, generator=generator, samples=scale.draws, paired=True).values)
    joined = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    found = {name: joined[name] for name in ("beta_vae", "taylor", "grae_full")}
    found |= {"squared_error": joined["reconstruction"], "left_out": joined["beta_vae"] - joined["taylor"]}
    if finished:
        # the model that β makes of the decoder, and one rule for every model's proposal: its full optimum (11)
        noise = at_unit_beta(likelihood, config.beta)
        proposal, draws = Implied(model, 1.0, noise), torch.Generator().manual_seed(0)
        nll = importance_weighted_nll(proposal, data[: scale.nll], noise, samples=scale.nll_draws, generator=draws)
        found |= {"nll": nll.nll, "nll_bias": nll.bias, "nll_ess": nll.ess}
    return {name: values.numpy() for name, values in found.items()}


def measured(run: Run, data: Tensor, scale: Scale, cache: Path) -> dict[int, Values]:
    """The values of every model of a run, by step."""
    found = {}
    for step, path in models(run):
        digest = hashlib.sha256((path / "model.safetensors").read_bytes()).hexdigest()[:12]
        amounts = "-".join(str(amount) for amount in asdict(scale).values())
        found[step] = kept(
            cache / f"{run.path.name}-{step}-{digest}-{amounts}.npz",
            lambda path=path, step=step: measure(load_model(path), data, run.config, scale, step == run.config.steps),
        )
    return found


def _estimate(values: np.ndarray) -> dict[str, float]:
    return {"mean": float(values.mean()), "se": float(values.std(ddof=1) / np.sqrt(len(values)))}


def over_seeds(values: Sequence[np.ndarray]) -> dict[str, Any]:
    """Mean over seeds with Student's interval over them, and the standard error over samples of their mean.

    The latter is left out where of a seed only the mean is known, an array of one number.
    """
    seeds = np.array([each.mean() for each in values])
    found = {"seeds": len(seeds), **paired(seeds)}
    if all(len(each) > 1 for each in values):
        found["se_samples"] = _estimate(np.mean(values, axis=0))["se"]
    return found


def summarise(
    found: Sequence[tuple[Run, Mapping[int, Values]]], scale: Scale, stored: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Each run, and each way to train over its seeds, with its differences from the β-VAE of the same seed.

    Runs of a stored summary enter with their means, those that are measured now excepted. A way that none of these
    joins or leaves, nor its reference, stays as it is stored.

    Raises:
        InputError: two runs of one way have the same seed.
    """
    rows = [_run(run, steps) for run, steps in found]
    new, before = {row["run"] for row in rows}, stored["runs"] if stored else []
    # those that a run joins, or leaves: it may have gone on for more steps, which is another setting
    touched = {(row["setting"], row["trained as"]) for row in (*rows, *before) if row["run"] in new}
    values = {row["run"]: steps for row, (_, steps) in zip(rows, found, strict=True)}
    for row in before:
        if row["run"] not in new:
            rows.append(row)
            values[row["run"]] = {int(step): _means(estimates) for step, estimates in row["steps"].items()}
    rows.sort(key=lambda row: row["run"])
    groups: dict[str, dict[str, dict[int, Mapping[int, Values]]]] = {}
    names: dict[tuple[Any, ...], str] = {}
    for row in rows:
        key = title, way, seed = row["setting"], row["trained as"], row["seed"]
        if names.setdefault(key, row["run"]) != row["run"]:
            raise InputError(f"{names[key]} and {row['run']} are both {way} with seed {seed}; leave one of them out")
        groups.setdefault(title, {}).setdefault(way, {})[seed] = values[row["run"]]
    groups = dict(sorted(groups.items(), key=lambda group: -len(group[1])))  # controls of one way alone stand last

    def curves(title: str, way: str) -> dict[str, Any]:
        if stored and not {(title, way), (title, REFERENCE)} & touched:
            return stored["settings"][title][way]
        return _curves(groups[title][way], groups[title].get(REFERENCE, {}), scale.snapshot)

    return {
        "measures": MEASURES,
        "reference": REFERENCE,
        "scale": asdict(scale),
        "runs": rows,
        "settings": {title: {way: curves(title, way) for way in ways} for title, ways in groups.items()},
        "evaluated": {"date": today(), **environment(torch.device("cpu"))},
    }


def _means(estimates: Mapping[str, Any]) -> Values:
    """What a stored run says of its values: their means, an array of one number each."""
    return {key: np.array([each["mean"]]) for key, each in estimates.items() if isinstance(each, Mapping)}


def _run(run: Run, steps: Mapping[int, Values]) -> dict[str, Any]:
    commit = run.environment["commit"]
    return {
        "run": run.path.name,
        "trained as": name(run.config),
        "setting": setting(run.config),
        "seed": run.config.seed,
        "finished": run.finished,
        **{key: run.environment[key] for key in ("commit", "device", "curvae", "torch")},
        "clean": commit is not None and not commit.endswith("-dirty"),
        "steps": {
            str(step): {key: _estimate(own) for key, own in values.items()} | _tightness(values)
            for step, values in steps.items()
        },
    }


def _tightness(values: Values) -> dict[str, float]:
    return {"nll_ess_median": float(np.median(values["nll_ess"]))} if "nll_ess" in values else {}


def _curves(
    own: Mapping[int, Mapping[int, Values]], reference: Mapping[int, Mapping[int, Values]], points: int
) -> dict[str, Any]:
    """By step, over the seeds that have got there; of finished models on the snapshots' samples too, for the curves.

    The latter is left out where of a run only means are known.
    """
    found: dict[str, Any] = {}
    for step in sorted({step for steps in own.values() for step in steps}):
        mine = {seed: steps[step] for seed, steps in own.items() if step in steps}
        theirs = {} if own is reference else {seed: steps[step] for seed, steps in reference.items() if step in steps}
        found[str(step)] = _compared(mine, theirs, None)
        if all(len(values["beta_vae"]) > points for values in (*mine.values(), *theirs.values())):
            found[str(step)]["on_snapshots_samples"] = _compared(mine, theirs, points)
    return found


def _compared(mine: Mapping[int, Values], theirs: Mapping[int, Values], points: int | None) -> dict[str, Any]:
    keys = [key for key in MEASURES if all(key in values for values in mine.values())]
    both = sorted(mine.keys() & theirs.keys())
    found: dict[str, Any] = {key: over_seeds([values[key][:points] for values in mine.values()]) for key in keys}
    if both:
        found["less_reference"] = {
            key: over_seeds([_less(mine[seed][key], theirs[seed][key])[:points] for seed in both]) for key in keys
        }
    return found


def _less(mine: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """Sample by sample; of the means where of one of the two only that is known."""
    return mine - theirs if len(mine) == len(theirs) else mine.mean(keepdims=True) - theirs.mean(keepdims=True)


def evaluate(folder: Path, out: Path, cache: Path, scale: Scale, stored: Path | None = None) -> dict[str, Any]:
    """Measure all runs in a folder, and write what was found, joined to a stored summary if one is given.

    Raises:
        InputError: no run there, runs on different data, or a stored summary of another scale.
    """
    runs = [Run.open(path.parent) for path in sorted(folder.glob("*/config.json"))]
    runs = [run for run in runs if any(models(run))]
    if not runs:
        raise InputError(f"{folder} holds no run with a model; expected run folders that curvae wrote")
    if len({run.data["digest"] for run in runs}) > 1:
        raise InputError(f"the runs in {folder} are of different data; give runs on the same data")
    before = None if stored is None else json.loads(stored.read_text(encoding="utf-8"))
    if before is not None and before["scale"] != asdict(scale):
        raise InputError(f"{stored} was measured at {before['scale']}; expected {asdict(scale)}")
    data = as_float(runs[0].dataset().test[: max(scale.finished, scale.snapshot, scale.nll)])
    out.mkdir(parents=True, exist_ok=True)
    cache.mkdir(parents=True, exist_ok=True)
    console = Console(stderr=True)
    found = [(run, measured(run, data, scale, cache)) for run in track(runs, "measuring", console=console)]
    summary = summarise(found, scale, before)
    write_text(out / "summary.json", one_estimate_a_line(as_json(summary)))
    save_png(plot(summary), out / "curves.png")
    return summary


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.long", description=__doc__)
    parser.add_argument("runs", type=Path, help="the folder of run folders")
    parser.add_argument("--out", type=Path, required=True, help="where summary.json and curves.png go")
    parser.add_argument("--values", type=Path, default=Path("runs/long-values"), help="what was measured before")
    parser.add_argument("--stored", type=Path, help="a summary.json whose runs are gone; the new ones join it")
    for key, value in asdict(Scale()).items():
        parser.add_argument(f"--{key.replace('_', '-')}", type=int, default=value)
    given = parser.parse_args()
    avoid_page_faults()
    torch.set_num_threads(1)
    scale = Scale(**{key: getattr(given, key) for key in asdict(Scale())})
    evaluate(given.runs, given.out, given.values, scale, given.stored)


if __name__ == "__main__":
    main()
