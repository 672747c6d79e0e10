"""Does bf16 train the same model? Held-out objectives, in float32, after equal steps in float32 and in bf16.

``python -m benchmarks.precision --out results/bench`` trains for minutes and writes ``precision.json``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks.measure import Stopwatch, machine
from curvae.data import as_float
from curvae.reproduce.summary import write_text
from curvae.runs import RunConfig, build_objective, load_data
from curvae.training import train

OBJECTIVES = {
    "β-VAE": {"objective": "beta-vae"},
    "GRAE≈, one column": {"objective": "grae", "estimator": "columns:1"},
}
LIMIT = 1000


def held_out(config: RunConfig, folder: Path) -> float:
    """Mean over held-out digits after training; the closed forms with every column, (2) with fixed noise."""
    model = train(config, folder).run.model()
    x = as_float(load_data(config).test[:LIMIT])
    exact = replace(config, precision="32", estimator="exact")
    with torch.no_grad():
        return float(build_objective(exact)(model, x, torch.Generator().manual_seed(0)).mean())


def main() -> None:
    """Train, compare, write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.precision", description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--width", type=float, default=0.125)
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    rows = []
    for name, options in OBJECTIVES.items():
        config = RunConfig(data="mnist", width=arguments.width, steps=arguments.steps, device="cpu", **options)
        values: dict[str, list[float]] = {"32": [], "bf16": []}
        for seed in range(arguments.seeds):
            for precision, found in values.items():
                with tempfile.TemporaryDirectory() as folder:
                    found.append(held_out(replace(config, seed=seed, precision=precision), Path(folder) / "run"))
        differences = [half - single for single, half in zip(values["32"], values["bf16"], strict=True)]
        error = statistics.stdev(differences) / len(differences) ** 0.5 if len(differences) > 1 else None
        rows.append(
            {
                "objective": name,
                "held_out": values,
                "bf16_less_float32": statistics.fmean(differences),
                "standard_error": error,
                "standard_deviation_over_seeds": statistics.stdev(values["32"]) if arguments.seeds > 1 else None,
            }
        )
    settings = {"data": "mnist", "network": "paper", "width": arguments.width, "steps": arguments.steps, "batch": 64}
    result = {
        "machine": machine(Stopwatch(torch.device("cpu"))),
        "settings": settings,
        "held_out_digits": LIMIT,
        "rows": rows,
    }
    text = json.dumps(result, indent=1, ensure_ascii=False)
    write_text(arguments.out / "precision.json", text)
    print(text)


if __name__ == "__main__":
    main()
