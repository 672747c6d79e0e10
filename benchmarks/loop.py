"""What the training loop adds to the bare step: data, noise, engine, log, progress; checkpoints and held-out values."""

from __future__ import annotations

import io
import statistics
import tempfile
from pathlib import Path

import numpy as np
import torch
from rich.console import Console

from benchmarks.measure import Act, Row, Stopwatch
from benchmarks.steps import ours
from curvae import objectives, posteriors
from curvae.runs import RunConfig
from curvae.training import train

BATCH, BETA, DATA = 64, 0.2, 20_000
LOG_EVERY, CHECKPOINT_EVERY = 20, 1000  # the command's own


def _bare(step: Act, steps: int, watch: Stopwatch) -> float:
    begin = watch.now()
    for _ in range(steps):
        step()
    return (watch.now() - begin) / steps


def _whole(data: Path, width: float, steps: int, checkpoint_every: int, watch: Stopwatch) -> float:
    """Seconds of a run from its beginning to its end."""
    config = RunConfig(
        data=str(data),
        objective="beta-vae",
        width=width,
        beta=BETA,
        batch_size=BATCH,
        steps=steps,
        checkpoint_every=checkpoint_every,
        log_every=LOG_EVERY,
        device="cpu",
    )
    with tempfile.TemporaryDirectory() as folder:
        begin = watch.now()
        train(config, Path(folder) / "run", console=Console(file=io.StringIO(), force_terminal=True))
        return watch.now() - begin


def _looped(data: Path, width: float, steps: int, watch: Stopwatch) -> tuple[float, float]:
    """Seconds of a step in the loop, and of a checkpoint with held-out values: differences of whole runs.

    Set-up and the end cancel: all runs have them once.
    """
    short = _whole(data, width, 2, 2, watch)
    long = _whole(data, width, 2 + steps, 2 + steps, watch)
    often = _whole(data, width, 2, 1, watch)
    return (long - short) / steps, max(often - short, 0.0)


def run(quick: bool, watch: Stopwatch) -> list[Row]:
    """Bare steps and whole runs in turn; medians over the turns.

    A checkpoint with held-out values counts by how often it comes with the command's own settings.
    """
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "digits.npy"
        np.save(data, np.random.default_rng(0).integers(0, 256, (DATA, 1, 28, 28), dtype=np.uint8))
        sizes = [(0.125, 40, 3)] if quick else [(0.125, 80, 7), (1.0, 12, 3)]
        return [_row(data, width, steps, turns, watch) for width, steps, turns in sizes]


def _row(data: Path, width: float, steps: int, turns: int, watch: Stopwatch) -> Row:
    step = ours(objectives.BetaVAE(BETA), posteriors.Diagonal(), width, torch.rand(BATCH, 1, 28, 28), bf16=False)
    _bare(step, 2, watch)
    bare, looped = [], []
    for _ in range(turns):
        bare.append(_bare(step, steps, watch))
        looped.append(_looped(data, width, steps, watch))
    each, saved = (statistics.median(values) for values in zip(*looped, strict=True))
    size = (
        f"paper's MNIST networks × {width:g}, batch {BATCH}; a log line every {LOG_EVERY} steps, a checkpoint "
        f"({1e3 * saved:.0f} ms) every {CHECKPOINT_EVERY}"
    )
    whole = each + saved / CHECKPOINT_EVERY
    return Row("curvae train, β-VAE", size, 1e3 * whole, "bare step", 1e3 * statistics.median(bare))
