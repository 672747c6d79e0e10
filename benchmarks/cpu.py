"""What each piece of :mod:`curvae.cpu` gains: a training step with it against the same step without it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager

import torch

from benchmarks.measure import Act, Row, Stopwatch, in_a_process, interleaved, training_step
from curvae import Autoencoder, curvature, objectives, posteriors
from curvae.cpu.batch_norm import BATCH_NORM
from curvae.cpu.page_faults import avoid_page_faults
from curvae.cpu.taps import TAPS
from curvae.cpu.weight_gradients import WEIGHT_GRADIENTS
from curvae.nn import CelebADecoder, CelebAEncoder, MNISTDecoder, MNISTEncoder
from curvae.objectives import Objective
from curvae.training.module import Training

LATENTS, BETA = 12, 0.2
DIAGONAL = posteriors.Diagonal()


def _step(
    objective: Objective, structure: posteriors.Structure | None, width: float, bf16: bool, faces: bool = False
) -> Act:
    """A step as the command line trains, on the paper's networks for MNIST or for faces."""
    x, generator = torch.rand(64, *((3, 64, 64) if faces else (1, 28, 28))), torch.Generator().manual_seed(0)
    encoder, decoder = (CelebAEncoder, CelebADecoder) if faces else (MNISTEncoder, MNISTDecoder)
    model = Autoencoder(encoder(width), decoder(LATENTS, width), LATENTS, structure)
    if bf16:
        model.to(memory_format=torch.channels_last)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    module = Training(model, objective, optimiser, seed=0, bf16=bf16)
    return training_step(lambda: objective(model, x, generator).mean(), optimiser, module.precision)


def _vae(width: float, bf16: bool = False, faces: bool = False) -> Act:
    return _step(objectives.BetaVAE(BETA), DIAGONAL, width, bf16, faces)


def _grae(width: float, estimator: curvature.Estimator) -> Act:
    return _step(objectives.GRAE(BETA, structure=DIAGONAL, estimator=estimator), None, width, bf16=False)


def _without(step: Act, off: Callable[[], AbstractContextManager[None]]) -> Act:
    def act() -> None:
        with off():
            step()

    return act


def run(quick: bool, watch: Stopwatch) -> list[Row]:
    """Each piece in the case that it is made for."""
    width, repetitions = (1 / 8, 5) if quick else (1.0, 9)
    all_columns = _grae(1 / 8, curvature.Fraction(curvature.Exact(), 1 / 4))
    cases = {
        "weight gradients, β-VAE step": (_vae(width), WEIGHT_GRADIENTS, width),
        "weight gradients, β-VAE step in bf16": (_vae(width, bf16=True), WEIGHT_GRADIENTS, width),
        "input gradient of three channels, β-VAE step on faces": (_vae(1 / 16, faces=True), WEIGHT_GRADIENTS, 1 / 16),
        "taps, β-VAE step": (_vae(width), TAPS, width),
        "batch norm of rows, one column on 1/4": (
            _grae(1 / 8, curvature.Fraction(curvature.Columns(1), 1 / 4)),
            BATCH_NORM,
            1 / 8,
        ),
        "batch norm of rows, all columns on 1/4": (all_columns, BATCH_NORM, 1 / 8),
    }
    rows = []
    for name, (step, switch, size) in cases.items():
        times = interleaved({"with": step, "without": _without(step, switch.off)}, repetitions, watch)
        rows.append(Row(name, f"width {size:g}, batch 64", times["with"], "without", times["without"]))
    return [*rows, _page_faults(quick, watch)]


def _page_faults(quick: bool, watch: Stopwatch) -> Row:
    """In processes of their own, in turns: what the C library was told cannot be taken back."""
    width, clock = ("0.125" if quick else "0.5"), str(int(watch.processor))
    times: dict[str, list[float]] = {"1": [], "0": []}
    for _ in range(3):
        for avoid, found in times.items():
            found.append(in_a_process("benchmarks.cpu", width, avoid, clock)["ms"])
    median = {avoid: sorted(found)[1] for avoid, found in times.items()}
    return Row("page faults, exact GRAE step", f"width {width}, batch 64", median["1"], "without", median["0"])


def _alone(width: float, avoid: bool, watch: Stopwatch) -> dict[str, float]:
    if avoid:
        avoid_page_faults()
    torch.manual_seed(0)
    return {"ms": interleaved({"step": _grae(width, curvature.Exact())}, 3, watch)["step"]}


if __name__ == "__main__":
    given, avoid, clock = sys.argv[1:]
    print(json.dumps(_alone(float(given), avoid == "1", Stopwatch(torch.device("cpu"), clock == "1"))))
