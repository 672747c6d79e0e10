"""``--compile``: a training step with compiled networks over the same step without, and how long compiling takes."""

from __future__ import annotations

import time
from contextlib import nullcontext

import torch

from benchmarks.measure import Row, Stopwatch, interleaved
from benchmarks.steps import LATENTS, Step
from curvae.runs import RunConfig, build_model, build_objective
from curvae.training.compiling import compile_networks

BATCH = 64
OBJECTIVES = {
    "β-VAE": {"objective": "beta-vae"},
    "GRAE≈, one column of every sample": {"objective": "grae", "estimator": "columns:1"},
}


def _side(options: dict[str, str], width: float, compiled: bool, x: torch.Tensor) -> tuple[Step, float]:
    config = RunConfig(data="mnist", width=width, latents=LATENTS, **options)
    model, objective = build_model(config, tuple(x.shape[1:])).to(x.device), build_objective(config)
    begin = time.perf_counter()
    if compiled:
        refused = compile_networks(model, objective, x, nullcontext())
        if refused:
            raise RuntimeError(refused)
    seconds = time.perf_counter() - begin
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    generator = torch.Generator(x.device).manual_seed(0)

    def step() -> None:
        optimiser.zero_grad()
        objective(model, x, generator).mean().backward()
        optimiser.step()

    return step, seconds


def run(quick: bool, watch: Stopwatch) -> list[Row]:
    """Compiled against not compiled, float32."""
    width, repetitions = 0.125, 15 if quick else 31
    x = torch.rand(BATCH, 1, 28, 28, device=watch.device)
    rows = []
    for name, options in OBJECTIVES.items():
        (eager, _), (compiled, seconds) = (_side(options, width, on, x) for on in (False, True))
        medians = interleaved({"eager": eager, "compiled": compiled}, repetitions, watch)
        size = f"paper's MNIST networks × {width:g}, batch {BATCH}; compiling took {seconds:.0f} s"
        rows.append(Row(f"{name}, --compile", size, medians["compiled"], name, medians["eager"]))
    return rows
