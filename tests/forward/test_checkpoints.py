"""Decoders with checkpointed layers: no recomputation, so everything inside is what it is without the checkpoint."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from curvae.curvature import (
    Columns,
    Exact,
    Fraction,
    Lanczos,
    Linearised,
    Secants,
    Signs,
    Trace,
    hessian,
    pushforward,
)
from curvae.forward.checkpoints import without_checkpoints
from curvae.likelihoods import Gaussian
from curvae.posteriors import Diagonal, Full

BATCH, LATENTS, BETA = 5, 4, 0.3
INSIDE: dict[str, Callable[[], nn.Module]] = {
    "batch-norm": lambda: nn.Sequential(nn.Linear(LATENTS, 6), nn.BatchNorm1d(6), nn.ELU()),
    "batch-norm-deployed": lambda: nn.Sequential(nn.Linear(LATENTS, 6), nn.BatchNorm1d(6).eval(), nn.ELU()),
    "instance-norm": lambda: nn.Sequential(nn.Linear(LATENTS, 6), nn.Unflatten(1, (2, 3)), nn.InstanceNorm1d(2)),
    "layer-norm-dropout": lambda: nn.Sequential(nn.Linear(LATENTS, 6), nn.LayerNorm(6), nn.Dropout(0.3), nn.GLU()),
    "attention": lambda: nn.Sequential(
        nn.Unflatten(1, (2, 2)), nn.Linear(2, 4), nn.TransformerEncoderLayer(4, 2, 8, 0.0, batch_first=True)
    ),
}
PENALTIES = {
    "exact": (Exact(), Full()),
    "chunks": (Exact(3), Full()),
    "columns": (Columns(1), Diagonal()),
    "fraction": (Fraction(Columns(2), 0.5), Diagonal()),
    "lanczos": (Lanczos(4), Full()),
    "secants": (Fraction(Secants(1, central=True), 0.5), Diagonal()),
    "steps": (Trace(Signs(1), step=0.1), Full()),
}


class Checkpointed(nn.Module):
    def __init__(self, inner: nn.Module, reentrant: bool | None) -> None:
        super().__init__()
        self.inner, self.last, self.reentrant = inner, nn.LazyLinear(3), reentrant

    def forward(self, z: Tensor) -> Tensor:
        if self.reentrant is None:
            return self.last(self.inner(z))
        return self.last(checkpoint(self.inner, z, use_reentrant=self.reentrant))


def _found(decoder: nn.Module, z: Tensor, estimator: str) -> tuple[list[Tensor], list[Tensor]]:
    kind, structure = PENALTIES[estimator]
    torch.manual_seed(3)
    draws = torch.Generator().manual_seed(4)
    eta, value = kind.penalty(
        Linearised(decoder, z, torch.zeros_like(decoder.shape), Gaussian()), structure, BETA, draws
    )
    leaves = (z, *decoder.parameters())
    for leaf in leaves:
        leaf.grad = None
    # not autograd.grad: PyTorch's reentrant checkpoints, which forward passes alone go through, do not know it
    (value.sum() + eta.square().sum()).backward()
    return [eta, value, *(leaf.grad for leaf in leaves)], list(decoder.buffers())


@pytest.mark.covering
@pytest.mark.parametrize("estimator", PENALTIES)
@pytest.mark.parametrize("reentrant", [False, True])
@pytest.mark.parametrize("name", INSIDE)
def test_the_same_as_without(name: str, reentrant: bool, estimator: str, seed: int) -> None:
    z = torch.randn(BATCH, LATENTS, requires_grad=True)
    plain = Checkpointed(INSIDE[name](), None)
    plain.shape = plain(z).detach()
    checkpointed = copy.deepcopy(plain)
    checkpointed.reentrant = reentrant
    torch.testing.assert_close(_found(checkpointed, z, estimator), _found(plain, z, estimator))


@pytest.mark.parametrize("reentrant", [False, True])
def test_only_inside_and_for_this_thread(reentrant: bool) -> None:
    ran = []

    def layer(x: Tensor) -> Tensor:
        ran.append(1)
        return x.square()

    def run() -> int:
        ran.clear()
        checkpoint(layer, torch.ones(1, requires_grad=True), use_reentrant=reentrant).backward()
        return len(ran)

    with without_checkpoints():
        with without_checkpoints():
            assert run() == 1
        assert run() == 1
        beside: list[int] = []
        thread = threading.Thread(target=lambda: beside.append(run()))
        thread.start()
        thread.join()
        assert beside == [2]
    assert run() == 2


@pytest.mark.parametrize("reentrant", [False, True])
def test_an_error_inside_comes_out(reentrant: bool) -> None:
    decoder = Checkpointed(nn.Linear(3, 2), reentrant)
    for run in (pushforward, lambda fn, z, _: hessian(fn, z, z, Gaussian())):
        with pytest.raises(RuntimeError, match="cannot be multiplied"):
            run(decoder, torch.randn(2, LATENTS), torch.ones(2, LATENTS, 1))


def test_other_hooks_into_saved_tensors_are_followed_in_reverse() -> None:
    decoder, z = nn.Sequential(nn.Linear(LATENTS, 3), nn.Tanh()), torch.randn(2, LATENTS)

    def on_disk(point: Tensor) -> Tensor:
        with torch.autograd.graph.save_on_cpu():
            return decoder(point)

    units = torch.eye(LATENTS).expand(2, -1, -1)
    torch.testing.assert_close(pushforward(on_disk, z, units), pushforward(decoder, z, units))
