"""A step keeps nothing of its graph: training takes as much memory after thousands of steps as after a few."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.autograd.graph import Node

from curvae import Autoencoder, curvature, objectives, posteriors
from curvae.objectives import Objective

DIAGONAL, FULL = posteriors.Diagonal(), posteriors.Full()


def _grae(structure: posteriors.Structure, estimator: curvature.Estimator, **options: Any) -> Objective:
    return objectives.GRAE(0.2, structure=structure, estimator=estimator, **options)


OBJECTIVES: dict[str, Callable[[], Objective]] = {
    "β-VAE": lambda: objectives.BetaVAE(0.2),
    "Taylor": lambda: objectives.Taylor(0.2),
    "Taylor, Hessian": lambda: objectives.Taylor(0.2, curvature="hessian"),
    "RAE": lambda: objectives.RAE(0.1, 0.1),
    "columns": lambda: _grae(DIAGONAL, curvature.Columns(1)),
    "columns of a part": lambda: _grae(DIAGONAL, curvature.Fraction(curvature.Columns(1), 0.5)),
    "pairs of columns": lambda: _grae(DIAGONAL, curvature.Columns(2), orthogonality=0.1),
    "expansion": lambda: _grae(DIAGONAL, curvature.Columns(1), expansion=0.1),
    "secants": lambda: _grae(DIAGONAL, curvature.Secants(1)),
    "exact": lambda: _grae(FULL, curvature.Exact()),
    "exact of a part": lambda: _grae(FULL, curvature.Fraction(curvature.Exact(), 0.5)),
    "blocks": lambda: _grae(posteriors.BlockDiagonal(2), curvature.Exact()),
    "Lanczos": lambda: _grae(FULL, curvature.Lanczos(2)),
    "Hessian": lambda: objectives.GRAE(1e6, curvature="hessian"),
}
DECODERS: dict[str, Callable[[], nn.Module]] = {
    "batch": lambda: nn.Sequential(
        nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ELU(), nn.Linear(8, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 6)
    ),
    "samples": lambda: nn.Sequential(
        nn.Linear(4, 8), nn.LayerNorm(8), nn.SiLU(), nn.Unflatten(1, (4, 2)), nn.GroupNorm(2, 4), nn.Flatten(),
        nn.Linear(8, 6), nn.Sigmoid(),
    ),
}  # fmt: skip


# the other decoder has other rules, which are asked for a few columns, for all, and for products
OF_SAMPLES = ("columns", "exact", "Lanczos")


def _step(objective: str, decoder: str) -> Callable[[], None]:
    made = OBJECTIVES[objective]()
    posterior = DIAGONAL if isinstance(made, objectives.BetaVAE | objectives.Taylor) else None
    encoder = nn.Sequential(nn.Linear(6, 8), nn.ELU())
    model = Autoencoder(encoder, DECODERS[decoder](), latents=4, features=8, structure=posterior)
    optimizer = torch.optim.Adam(model.parameters())
    x = torch.rand(6, 6)

    def step() -> None:
        optimizer.zero_grad()
        made(model, x).mean().backward()
        optimizer.step()

    return step


def _kept() -> int:
    gc.collect()
    return sum(issubclass(type(each), torch.Tensor | Node) for each in gc.get_objects())


def _kept_by(step: Callable[[], None]) -> int:
    before = _kept()
    step()
    return _kept() - before


def test_steps_keep_nothing_of_their_graphs() -> None:
    pairs = [*((name, "batch") for name in OBJECTIVES), *((name, "samples") for name in OF_SAMPLES)]
    training = {pair: _step(*pair) for pair in pairs}
    for step in training.values():
        step()  # what is kept from the first one on
    before = _kept()
    for step in training.values():
        step()
    if _kept() != before:
        assert {names: kept for names, step in training.items() if (kept := _kept_by(step))} == {}
