"""``--compile``: a training step with compiled networks over the same step without, and over a compiled β-VAE's."""

from __future__ import annotations

import time
from contextlib import nullcontext

import torch

from benchmarks.measure import Act, Row, Stopwatch, interleaved, training_step
from benchmarks.steps import LATENTS
from curvae.runs import RunConfig, build_model, build_objective
from curvae.training.compiling import compile_networks

BATCH = 64
VAE, COMPILED = "β-VAE", ", --compile"
OBJECTIVES = {
    VAE: {"objective": "beta-vae"},
    "GRAE≈, one column of every sample": {"objective": "grae", "estimator": "columns:1"},
}
# batch normalisation would keep the decoder from being compiled with secants
WITHOUT_NORM = {
    VAE: {"objective": "beta-vae"},
    "GRAE, one secant of every sample": {"objective": "grae", "estimator": "secants:1"},
    "GRAE, one secant of 1/4 of the data": {"objective": "grae", "estimator": "fraction:1/4:secants:1"},
    "GRAE, one secant of 1/8 of the data": {"objective": "grae", "estimator": "fraction:1/8:secants:1"},
}


def _side(options: dict[str, str], width: float, compiled: bool, x: torch.Tensor) -> tuple[Act, float]:
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
    return training_step(lambda: objective(model, x, generator).mean(), optimiser), seconds


def run(quick: bool, watch: Stopwatch) -> list[Row]:
    """Compiled against not compiled, and without batch normalisation against the compiled β-VAE; float32."""
    width, repetitions = 0.125, 15 if quick else 31
    x = torch.rand(BATCH, 1, 28, 28, device=watch.device)
    rows = []
    for network, objectives in (("paper", OBJECTIVES), ("paper-no-norm", WITHOUT_NORM)):
        size = f"{network}'s MNIST networks × {width:g}, batch {BATCH}"
        steps: dict[str, Act] = {}
        compiling = {}
        for name, options in objectives.items():
            steps[name], _ = _side({"network": network, **options}, width, False, x)
            steps[name + COMPILED], seconds = _side({"network": network, **options}, width, True, x)
            compiling[name] = f"; compiling took {seconds:.0f} s"
        medians = interleaved(steps, repetitions, watch)
        for name in objectives:
            compiled = name + COMPILED
            rows.append(Row(compiled, size + compiling[name], medians[compiled], name, medians[name]))
            if name != VAE and network != "paper":
                rows.append(Row(compiled, size, medians[compiled], VAE + COMPILED, medians[VAE + COMPILED]))
    return rows
