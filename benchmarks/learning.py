"""What a step buys: held-out objectives along training, for each way to train, over seeds.

``python -m benchmarks.learning --out results/bench/learning`` writes one small JSON for each run into ``runs/`` there
and ``learning.json``, a summary of all of them; what is there already is not trained again.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor

from benchmarks.measure import commit
from curvae import Autoencoder, curvature, objectives, posteriors
from curvae.data import Batches, as_float, load
from curvae.likelihoods import Gaussian
from curvae.metrics import evaluate
from curvae.nn import MNISTDecoder, MNISTEncoder
from curvae.reproduce.summary import write_text
from curvae.runs.provenance import environment

LATENTS, BETA, BATCH = 12, 0.2, 64
# (2) with the optimal diagonal posterior, (13), and the closed form of the diagonal family
MEASURES = ("beta_vae", "grae_full", "grae_diagonal")


@dataclass(frozen=True)
class Scale:
    """What all runs have in common; ``cosine`` lets the learning rate fall to zero over the steps (half a cosine)."""

    width: float = 0.0625
    steps: int = 1500
    every: int = 250
    points: int = 500
    cosine: bool = False


def _grae(estimator: curvature.Estimator, structure: posteriors.Structure | None = None) -> objectives.GRAE:
    return objectives.GRAE(BETA, structure=structure or posteriors.Diagonal(), estimator=estimator)


def _part(fraction: float) -> objectives.GRAE:
    return _grae(curvature.Fraction(curvature.Columns(1), fraction))


WAYS: Mapping[str, Callable[[], Any]] = {
    "β-VAE": lambda: objectives.BetaVAE(BETA),
    "GRAE≈, one column": lambda: _grae(curvature.Columns(1)),
    "GRAE≈, one column on 1/8": lambda: _part(1 / 8),
    "GRAE≈, one column on 1/16": lambda: _part(1 / 16),
    "GRAE, exact on 1/16": lambda: _grae(curvature.Fraction(curvature.Exact(), 1 / 16), posteriors.Full()),
    "GRAE, exact": lambda: _grae(curvature.Exact(), posteriors.Full()),
    "GRAE≈, one column on 1/4": lambda: _part(1 / 4),
    "GRAE≈, one column on 3/16": lambda: _part(3 / 16),
    "GRAE, exact on 1/32": lambda: _grae(curvature.Fraction(curvature.Exact(), 1 / 32), posteriors.Full()),
}


def one(way: str, lr: float, seed: int, scale: Scale) -> dict[str, Any]:
    """Train one model, and evaluate it every so often."""
    torch.manual_seed(seed)
    objective, data = WAYS[way](), load("mnist")
    structure = posteriors.Diagonal() if isinstance(objective, objectives.BetaVAE) else None
    model = Autoencoder(MNISTEncoder(scale.width), MNISTDecoder(LATENTS, scale.width), LATENTS, structure)
    optimizer = torch.optim.Adam(model.parameters(), lr=lr, fused=True)
    total = scale.steps if scale.cosine else math.inf
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda done: 0.5 + 0.5 * math.cos(math.pi * done / total))
    generator, test, curve = torch.Generator().manual_seed(seed), as_float(data.test[: scale.points]), []
    seconds, begun = 0.0, time.perf_counter()
    for step, x in enumerate(Batches(data.train, BATCH, seed, 0, scale.steps), 1):
        loss = objective(model, x, generator).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % scale.every == 0:
            seconds += time.perf_counter() - begun
            curve.append({"step": step, "seconds": round(seconds, 1), **_held_out(model, test)})
            begun = time.perf_counter()
    settings = {"way": way, "lr": lr, "seed": seed, **asdict(scale), "beta": BETA, "latents": LATENTS, "batch": BATCH}
    return {**settings, "commit": commit(), **environment(torch.device("cpu")), "curve": curve}


def _held_out(model: Autoencoder, test: Tensor) -> dict[str, float]:
    model.eval()
    structure = posteriors.Diagonal()
    report = evaluate(model, test, BETA, Gaussian(), structure, generator=torch.Generator().manual_seed(0), samples=2)
    model.train()
    values = (report.beta_vae, report.grae_full, report.grae)
    return {name: round(value.mean, 4) for name, value in zip(MEASURES, values, strict=True)}


def summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over seeds, and the differences to one column for each sample, paired by seed."""
    rows = {}
    for way, *setting in dict.fromkeys((run["way"], *_setting(run)) for run in runs):
        mine, base = (
            {run["seed"]: run["curve"] for run in runs if (run["way"], *_setting(run)) == (name, *setting)}
            for name in (way, "GRAE≈, one column")
        )
        last = {seed: curve[-1] for seed, curve in mine.items()}
        mean_curve = [
            {"step": points[0]["step"]} | {k: _mean([p[k] for p in points]) for k in MEASURES}
            for points in zip(*mine.values(), strict=True)
        ]
        rows[", ".join([way, *_words(*setting)])] = {
            "seeds": sorted(mine),
            "curve": mean_curve,
            "last": {k: _with_error([values[k] for values in last.values()]) for k in MEASURES},
            "minus_one_column": {
                k: _with_error([values[k] - base[seed][-1][k] for seed, values in last.items() if seed in base])
                for k in MEASURES
            },
        }
    return rows


def _setting(run: dict[str, Any]) -> tuple[float, float, int, bool]:
    return run["width"], run["lr"], run["steps"], run.get("cosine", False)


def _words(width: float, lr: float, steps: int, cosine: bool) -> list[str]:
    return [f"networks × {width:g}", f"{steps} steps", f"lr {lr:g}" + (" falling to 0" if cosine else "")]


def _with_error(values: list[float]) -> dict[str, float | None]:
    return {"mean": _mean(values), "standard_error": _error(values)}


def _mean(values: list[float]) -> float | None:
    return round(statistics.fmean(values), 4) if values else None


def _error(values: list[float]) -> float | None:
    return round(statistics.stdev(values) / math.sqrt(len(values)), 4) if len(values) > 1 else None


def main() -> None:
    """Train what is missing, then summarise everything that is there."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.learning", description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--lrs", type=float, nargs="+", default=[1e-3])
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=list(WAYS))
    parser.add_argument("--width", type=float, default=Scale.width)
    parser.add_argument("--steps", type=int, default=Scale.steps)
    parser.add_argument("--cosine", action="store_true", help="let the learning rate fall to zero over the steps")
    arguments = parser.parse_args()
    scale = Scale(arguments.width, arguments.steps, arguments.steps // 6, cosine=arguments.cosine)
    runs = arguments.out / "runs"
    runs.mkdir(parents=True, exist_ok=True)
    wanted = [(w, lr, seed) for seed in arguments.seeds for lr in arguments.lrs for w in arguments.ways]
    for way, lr, seed in track(wanted, "training", console=Console(stderr=True)):
        schedule = "-cosine" if scale.cosine else ""
        path = runs / f"{list(WAYS).index(way)}-lr{lr:g}-seed{seed}-{scale.width:g}-{scale.steps}{schedule}.json"
        if not path.exists():
            write_text(path, json.dumps(one(way, lr, seed, scale), ensure_ascii=False))
    found = [json.loads(path.read_text()) for path in sorted(runs.glob("*.json"))]
    common = {key: value for key, value in found[0].items() if all(run.get(key) == value for run in found)}
    text = json.dumps({"runs": len(found), **common, "rows": summary(found)}, indent=1, ensure_ascii=False)
    write_text(arguments.out / "learning.json", text)
    print(text)


if __name__ == "__main__":
    main()
