"""The second of two processes, and what both do. Called by test_devices.py."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from curvae import Autoencoder
from curvae.curvature import Columns, Coordinates, Exact, Fraction, Lanczos, Secants, Signs, Sphere, Trace
from curvae.forward.whole_batch import whole_batch
from curvae.objectives import GRAE, RAE, BetaVAE, Taylor
from curvae.posteriors import Along, Banded, BlockDiagonal, Diagonal, Full, Shared, Structure
from curvae.runs.handed import Handed
from curvae.training.devices import Group, plainly_normalised
from curvae.training.several import follow

DIAGONAL = Diagonal()
CASES: dict[str, tuple[Any, Structure | None]] = {
    "beta-vae": (BetaVAE(0.2, samples=2), Diagonal()),
    "beta-vae, shared": (BetaVAE(0.2), Shared(Full())),
    "beta-vae, antithetic": (BetaVAE(0.2, samples=2, antithetic=True), Diagonal()),
    "taylor": (Taylor(0.2), BlockDiagonal(2)),
    "taylor, hessian": (Taylor(0.2, curvature="hessian"), Full()),
    "taylor, secants": (Taylor(0.2, estimator=Secants(2)), Diagonal()),
    "taylor, a third of secants": (Taylor(0.2, estimator=Fraction(Secants(1), 0.3)), Diagonal()),
    "full": (GRAE(0.2), None),
    "diagonal": (GRAE(0.2, structure=DIAGONAL, orthogonality=0.1), None),
    "banded": (GRAE(0.2, structure=Banded(1)), None),
    "shared": (GRAE(0.2, structure=Shared(Full())), None),
    "shared, hessian": (GRAE(50.0, structure=Shared(DIAGONAL), curvature="hessian"), None),
    "hessian": (GRAE(50.0, curvature="hessian"), None),
    "columns": (GRAE(0.2, structure=DIAGONAL, estimator=Columns(2), orthogonality=0.1), None),
    "columns of blocks": (GRAE(0.2, structure=BlockDiagonal(2), estimator=Columns(1)), None),
    "columns of unequal chance": (GRAE(0.2, structure=DIAGONAL, estimator=Columns(1, [1.0, 2.0, 3.0, 4.0])), None),
    "columns along": (GRAE(0.2, structure=Along((2, 2), axis=0), estimator=Columns(1)), None),
    "half of all columns": (GRAE(0.2, estimator=Fraction(Exact(), 0.5)), None),
    "one sample's columns": (
        GRAE(0.2, structure=DIAGONAL, estimator=Fraction(Columns(2), 0.1), orthogonality=1.0),
        None,
    ),
    "lanczos": (GRAE(0.2, estimator=Lanczos(3, Signs(2))), None),
    "lanczos, sphere": (GRAE(0.2, estimator=Lanczos(2, Sphere(1))), None),
    "trace": (GRAE(0.2, estimator=Trace(Signs(2))), None),
    "trace by steps": (GRAE(0.2, estimator=Trace(Signs(2), step=0.1)), None),
    "expansion": (GRAE(0.2, structure=DIAGONAL, estimator=Columns(1), expansion=0.1), None),
    "central secants": (GRAE(0.2, structure=DIAGONAL, estimator=Secants(1, central=True)), None),
    "secants": (GRAE(0.2, structure=DIAGONAL, estimator=Secants(1)), None),
    "half of the secants": (GRAE(0.2, structure=DIAGONAL, estimator=Fraction(Secants(1), 0.4)), None),
    "rae": (RAE(0.2), None),
    "rae, columns": (RAE(0.2, trace=Trace(Coordinates(2))), None),
}
"""An objective with the structure of its model's posterior."""

NORMS: dict[str, Callable[[int], nn.Module]] = {
    "batch": nn.BatchNorm1d,
    "synchronised": nn.SyncBatchNorm,
    "layer": nn.LayerNorm,
}
BATCH, PASSES = 7, 2  # an odd number, so that the parts differ


def make_model(norm: str, structure: Structure | None) -> Autoencoder:
    """The same in every process."""
    torch.manual_seed(3)
    normal = NORMS[norm]
    encoder = nn.Sequential(nn.Linear(6, 8), normal(8), nn.Tanh(), nn.Linear(8, 9))
    decoder = nn.Sequential(nn.Linear(4, 8), normal(8), nn.Tanh(), nn.Linear(8, 6))
    return Autoencoder(encoder, decoder, 4, structure, head=True).double()


def cases() -> Iterator[tuple[str, str]]:
    """Every objective with batch normalisation, which has most to agree on, and some with the others."""
    yield from (("batch", name) for name in CASES)
    for norm in ("synchronised", "layer"):
        yield from ((norm, name) for name in ("beta-vae", "full", "columns", "half of all columns"))


def found(norm: str, name: str, group: Group | None) -> dict[str, Any]:
    """Means of the terms, gradients and running statistics after passes of one batch."""
    objective, structure = CASES[name]
    model, generator = make_model(norm, structure), torch.Generator().manual_seed(5)
    x = torch.rand(BATCH, 6, generator=torch.Generator().manual_seed(1)).double()
    part = None if group is None else group.part(BATCH)
    own = x if part is None else x[part.rows]
    with warnings.catch_warnings(action="ignore"), plainly_normalised(model):
        for _ in range(PASSES):
            with whole_batch(part):
                terms = objective(model, own, generator)
            (terms.total.sum() / BATCH).backward()
    sums = torch.stack([values.detach().sum() for values in terms.parts.values()])
    if group is not None:
        sums = group.add_gradients(list(model.parameters()), sums)
    gradients = {key: value.grad for key, value in model.named_parameters() if value.grad is not None}
    return {
        "terms": dict(zip(terms.parts, sums / BATCH, strict=True)),
        "gradients": gradients,
        "buffers": dict(model.named_buffers()),
        "random": generator.get_state(),
    }


def together(group: Group) -> dict[tuple[str, str], dict[str, Any]]:
    """Every case, in this process's share."""
    return {case: found(*case, group) for case in cases()}


def build(shape: tuple[int, ...]) -> Autoencoder:
    """A model of one's own, whose encoder's last bias has no gradient and whose latents are of two kinds."""
    encoder = nn.Sequential(nn.Linear(*shape, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 4))
    decoder = nn.Sequential(nn.Linear(2, 8), nn.SyncBatchNorm(8), nn.Tanh(), nn.Linear(8, *shape))
    return Autoencoder(encoder, decoder, 2, Diagonal(), head=True)


def main(port: int, trainings: list[str]) -> None:
    torch.set_num_threads(1)
    store = dist.TCPStore("127.0.0.1", port, 2, is_master=False)
    group = Group(dist.PrefixStore("cases", store), 1, 2)
    group.connect()
    together(group)
    group.close()
    for name in trainings:
        follow(Group(dist.PrefixStore(name, store), 1, 2), Handed(build if name.startswith("own") else None))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
