"""What the training loop adds to the bare step: data, noise, engine, log, progress; checkpoints and held-out values."""

from __future__ import annotations

import io
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from rich.console import Console

from benchmarks.measure import Row
from benchmarks.steps import Step, ours
from curvae import objectives, posteriors
from curvae.runs import RunConfig
from curvae.training import train

BATCH, BETA, DATA = 64, 0.2, 20_000
LOG_EVERY, CHECKPOINT_EVERY = 20, 1000  # the command's own


def _config(data: Path, width: float, steps: int) -> RunConfig:
    return RunConfig(
        data=str(data),
        objective="beta-vae",
        width=width,
        beta=BETA,
        batch_size=BATCH,
        steps=steps,
        checkpoint_every=steps,
        log_every=LOG_EVERY,
        device="cpu",
    )


def _bare(step: Step, steps: int) -> float:
    begin = time.perf_counter()
    for _ in range(steps):
        step()
    return (time.perf_counter() - begin) / steps


def _looped(config: RunConfig, out: Path) -> tuple[float, float]:
    """Seconds a step between lines of the log, and the seconds more that the last one's checkpoint takes."""
    console = Console(file=io.StringIO(), force_terminal=True)
    run = train(config, out, console=console).run
    lines = {line["step"]: line["seconds"] for line in run.metrics}
    first, last = LOG_EVERY, config.steps - LOG_EVERY
    each = (lines[last] - lines[first]) / (last - first)
    held_out = lines[config.steps] - lines[last] - LOG_EVERY * each
    # the checkpoint is written right after the last line
    saved = run.checkpoint.stat().st_mtime - (run.path / "metrics.jsonl").stat().st_mtime
    return each, max(held_out, 0.0) + saved


def run(quick: bool, device: torch.device) -> list[Row]:  # noqa: ARG001
    """In blocks that take turns: bare steps, and a whole run of as many; medians over the blocks.

    A run's set-up is left out. Its checkpoint with held-out values comes once a block and counts by how often it
    comes in a run with the command's own settings.
    """
    torch.manual_seed(0)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "digits.npy"
        np.save(data, np.random.default_rng(0).integers(0, 256, (DATA, 1, 28, 28), dtype=np.uint8))
        for width, steps, blocks in [(0.125, 60, 3)] if quick else [(0.125, 100, 7), (1.0, 40, 1)]:
            rows.append(_row(width, steps, blocks, data, Path(folder)))
    return rows


def _row(width: float, steps: int, blocks: int, data: Path, folder: Path) -> Row:
    objective, x = objectives.BetaVAE(BETA), torch.rand(BATCH, 1, 28, 28)
    step = ours(objective, posteriors.Diagonal(), width, x, bf16=False)
    _bare(step, 3)
    bare, looped, saved = [], [], []
    for block in range(blocks):
        bare.append(_bare(step, steps))
        each, checkpoint = _looped(_config(data, width, steps), folder / f"{width}-{block}")
        looped.append(each)
        saved.append(checkpoint)
    whole = statistics.median(looped) + statistics.median(saved) / CHECKPOINT_EVERY
    size = (
        f"paper's MNIST networks × {width:g}, batch {BATCH}; a log line every {LOG_EVERY} steps, a checkpoint "
        f"({1e3 * statistics.median(saved):.0f} ms) every {CHECKPOINT_EVERY}"
    )
    return Row("curvae train, β-VAE", size, 1e3 * whole, "bare step", 1e3 * statistics.median(bare))
