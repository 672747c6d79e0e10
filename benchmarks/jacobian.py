"""The exact decoder Jacobian and its use in a GRAE step, against the ways PyTorch offers."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import jacfwd, jacrev, vmap

from benchmarks.measure import Row, in_a_process, interleaved, peak_megabytes
from curvae import curvature
from curvae.nn import MNISTDecoder

BATCH, WIDTH = 16, 0.125
METHODS = ("curvae", "curvae, chunk_size=4", "vmap(jacfwd)", "vmap(jacrev)", "torch.autograd.functional.jacobian")


def _jacobian(method: str, decoder: nn.Module, z: Tensor) -> Tensor:
    """``[B, 1, 28, 28, d]``, differentiable where autograd records."""

    def one(point: Tensor) -> Tensor:
        return decoder(point[None])[0]

    match method:
        case "curvae":
            return curvature.jacobian(decoder, z)
        case "curvae, chunk_size=4":
            return curvature.jacobian(decoder, z, chunk_size=4)
        case "vmap(jacfwd)":
            return vmap(jacfwd(one))(z)
        case "vmap(jacrev)":
            return vmap(jacrev(one))(z)
        case _:
            # data do not interact in eval mode, so the Jacobian of the batch's sum is each datum's own
            record = torch.is_grad_enabled()
            whole = torch.autograd.functional.jacobian(lambda p: decoder(p).sum(0), z, create_graph=record)
            return whole.movedim(-2, 0)


def _act(method: str, use: str, latents: int) -> Callable[[], object]:
    torch.manual_seed(0)
    decoder = MNISTDecoder(latents, WIDTH).eval()
    z = torch.randn(BATCH, latents)
    if use == "jacobian":
        return lambda: _without_graph(method, decoder, z)

    def backward() -> None:
        tangents = _jacobian(method, decoder, z).flatten(1, -2)
        identity = torch.eye(latents)
        torch.logdet(identity + tangents.mT @ tangents / 0.2).mean().backward()

    return backward


@torch.no_grad()
def _without_graph(method: str, decoder: nn.Module, z: Tensor) -> Tensor:
    return _jacobian(method, decoder, z)


def run(quick: bool) -> list[Row]:
    """Times side by side; peak memory of each in a process of its own, less that of an idle one."""
    rows = []
    idle = in_a_process("benchmarks.jacobian", "idle", "jacobian", "12")["megabytes"]
    for use in ("jacobian", "log-determinant and its gradient"):
        for latents in (12, 32):
            medians = interleaved({m: _act(m, use, latents) for m in METHODS}, 3 if quick else 7)
            memory = {m: in_a_process("benchmarks.jacobian", m, use, str(latents))["megabytes"] - idle for m in METHODS}
            size = f"{use}, paper's MNIST decoder × {WIDTH:g}, batch {BATCH}, d = {latents}"
            rows += [
                Row("curvae", size, medians["curvae"], m, medians[m], memory["curvae"], memory[m]) for m in METHODS[1:]
            ]
    return rows


def _main(method: str, use: str, latents: str) -> None:
    if method != "idle":
        _act(method, use, int(latents))()
    print(json.dumps({"megabytes": peak_megabytes()}))


if __name__ == "__main__":
    _main(*sys.argv[1:])
