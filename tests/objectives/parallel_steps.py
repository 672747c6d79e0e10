"""One process of several: gradients of losses that DistributedDataParallel has wrapped. Called by test_loss.py."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.nn.parallel import DistributedDataParallel

from curvae import Autoencoder, regulariser
from curvae.autoencoder import Model
from curvae.curvature import Columns
from curvae.nn import MLPDecoder, MLPEncoder
from curvae.objectives import GRAE, BetaVAE, Loss, Terms
from curvae.posteriors import Diagonal


def script(model: Model, x: torch.Tensor, generator: torch.Generator | None = None) -> Terms:
    """Somebody's own loss with the penalty in it."""
    penalty, eta = regulariser(model.decode, model.encode(x), 0.2, generator=generator, output=True)
    return Terms({"error": (eta - x).abs().sum(1), "penalty": penalty})


OBJECTIVES: dict[str, Callable[..., Any]] = {
    "beta-vae": BetaVAE(beta=0.2),
    "exact": GRAE(beta=0.2),
    "columns": GRAE(beta=0.2, structure=Diagonal(), estimator=Columns(1)),
    "regulariser": script,
}
RANKS = 2


def make_loss(name: str) -> Loss[Autoencoder]:
    """The same in every process."""
    torch.manual_seed(3)
    structure = Diagonal() if name == "beta-vae" else None
    model = Autoencoder(MLPEncoder((5,), hidden=(7,)), MLPDecoder(3, (5,), hidden=(6,)), latents=3, structure=structure)
    return Loss(model.double(), OBJECTIVES[name])


def part(rank: int) -> tuple[torch.Tensor, torch.Generator]:
    """What one process sees of the batch, and its noise."""
    x = torch.randn(4 * RANKS, 5, generator=torch.Generator().manual_seed(9)).double()
    return x[rank::RANKS], torch.Generator().manual_seed(rank)


def steps(rank: int, folder: Path) -> None:
    torch.distributed.init_process_group("gloo", f"file://{folder / 'store'}", rank=rank, world_size=RANKS)
    found: dict[str, Any] = {}
    for name in OBJECTIVES:
        for options in ({}, {"find_unused_parameters": True}, {"static_graph": True}):
            wrapped = DistributedDataParallel(make_loss(name), **options)
            x, generator = part(rank)
            wrapped(x, generator).mean().backward()
            gradients = {key: parameter.grad for key, parameter in wrapped.module.named_parameters()}
            found[f"{name} {options}"] = gradients
    if rank == 0:
        torch.save(found, folder / "found.pt")
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    torch.set_num_threads(1)
    steps(int(sys.argv[1]), Path(sys.argv[2]))
    os._exit(0)  # the wrappers keep the group's threads, and one that is busy when the interpreter ends aborts it
