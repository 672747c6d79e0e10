"""One training iteration of the uniqueness experiments on one core: the compiled kernels against plain PyTorch.

Two references: the loop anyone would first write, one trial at a time, and PyTorch with a batch of trials in one
program (per trial). All see 4000 points, one noise sample a point, full-batch Adam. The kernels run as they do in the
experiments: single precision, noise from a table.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from benchmarks import uniqueness_reference as reference
from benchmarks.measure import Row, Stopwatch, interleaved
from curvae.reproduce.uniqueness import amortised, unamortised
from curvae.reproduce.uniqueness.activations import OF_TENSORS, Nonlinearity
from curvae.reproduce.uniqueness.trial import GenerativeModel, Guard, Trial, make_trial

SIGMA, RATE, PERIOD = 0.05, 0.1, 10**6
KERNEL_STEPS = 200


def plain_loop(nu: Nonlinearity, trial: Trial, steps: int) -> Callable[[], object]:
    """One trial, written as the formulas stand: diagonal Σ without the rotations."""
    a, b, c, d, s = (torch.randn(shape, requires_grad=True) for shape in ((2, 2), 2, (2, 2), 2, 2))
    x = torch.from_numpy(trial.x).float()
    optimiser = torch.optim.Adam([a, b, c, d, s], lr=RATE)

    def run() -> None:
        for _ in range(steps):
            optimiser.zero_grad()
            mean = x @ c.T + d
            z = mean + s.exp() * torch.randn_like(mean)
            misfit = (x - OF_TENSORS[nu](z @ a.T) - b).square().sum(1) / (2 * SIGMA**2)
            kl = 0.5 * (mean.square() + (2 * s).exp() - 2 * s - 1).sum(1)
            (misfit + kl).mean().backward()
            optimiser.step()

    return run


def batched(nu: Nonlinearity, trials: list[Trial], steps: int) -> Callable[[], object]:
    """The reference implementation on a batch of trials."""

    def stack(name: str) -> Tensor:
        return torch.from_numpy(np.stack([getattr(t, name) for t in trials])).float()

    x, rotations, theta = stack("x"), stack("rotations").unflatten(2, (2, 2)), stack("start")

    def loss(values: list[Tensor], noise: Tensor) -> Tensor:
        return reference.amortised_loss(nu, SIGMA, True, values[0], rotations, x, noise)

    return lambda: reference.train(loss, [theta], lambda _: torch.randn_like(x), PERIOD, iterations=steps)


def kernel(nu: Nonlinearity, trial: Trial, free: bool) -> Callable[[], object]:
    """A compiled kernel on one trial, going on from call to call."""
    x, table = np.ascontiguousarray(trial.x.T.astype(np.float32)), trial.table.astype(np.float32)
    size = unamortised.SHARED if free else amortised.PARAMETERS
    state = trial.start[:size].copy(), np.zeros(size), np.zeros(size)
    local = unamortised.to_blocks(trial.start_local.astype(np.float32))
    states = (*state, local, np.zeros_like(local), np.zeros_like(local)) if free else state
    train = unamortised.trainer(nu, True) if free else amortised.trainer(nu)
    # the amortised kernel takes the family as its last argument, the other was compiled for it
    last = () if free else (True,)
    starts = itertools.count(0, KERNEL_STEPS)

    def run() -> None:
        at = next(starts)
        train(*states, x, table, trial.rotations, trial.key, at, at + KERNEL_STEPS, PERIOD, RATE, SIGMA, *last)

    return run


def run(quick: bool, watch: Stopwatch) -> list[Row]:
    """Milliseconds per trial-iteration of 4000 points, one thread."""
    steps, size, repetitions = (3, 20, 3) if quick else (20, 60, 7)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return [row for nu in Nonlinearity for row in _rows(nu, steps, size, repetitions, watch)]
    finally:
        torch.set_num_threads(threads)


def _rows(nu: Nonlinearity, steps: int, size: int, repetitions: int, watch: Stopwatch) -> list[Row]:
    trials = [make_trial(GenerativeModel(nu), Guard.PAPER, 0, index) for index in range(size)]
    sides = {
        "amortised": kernel(nu, trials[0], free=False),
        "unamortised": kernel(nu, trials[0], free=True),
        "plain": plain_loop(nu, trials[0], steps),
        "batched": batched(nu, trials, steps),
    }
    times = interleaved(sides, repetitions, watch)
    per = {"amortised": KERNEL_STEPS, "unamortised": KERNEL_STEPS, "plain": steps, "batched": steps * size}
    each = {name: times[name] / per[name] for name in sides}
    references = {"plain": "PyTorch, one trial at a time", "batched": f"PyTorch, {size} trials batched, per trial"}
    rows = [
        Row(f"uniqueness, {nu.value}, amortised", "4000 points, 1 core", each["amortised"], text, each[name])
        for name, text in references.items()
    ]
    name = f"uniqueness, {nu.value}, unamortised"
    cost = Row(name, "4000 posteriors, 1 core", each["unamortised"], "amortised kernel", each["amortised"])
    return [*rows, cost]
