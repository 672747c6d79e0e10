"""The exact decoder Jacobian and its use in a GRAE step, against decoder forwards and the ways others offer."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable

import torch
from stochman import nnj
from torch import Tensor, nn
from torch.func import jacfwd, jacrev, vmap

from benchmarks.measure import Row, Stopwatch, extra_megabytes, in_a_process, interleaved
from curvae import curvature
from curvae.nn import MNISTDecoder

BATCH = 16
OURS, CHUNKS, FORWARDS = "curvae", "curvae, chunk_size=4", "d decoder forwards"
FAST, STOCHMAN = "vmap(jacfwd)", "stochman nnj"
SLOW = ("vmap(jacrev)", "torch.autograd.functional.jacobian")
PAPERS, SYMMETRIC = "paper's MNIST decoder", "the same with symmetric padding"
JACOBIAN, LOGDET = "jacobian", "log-determinant and its gradient"


def symmetric(latents: int, width: float) -> nn.Module:
    """The paper's decoder out of stochman's layers, which cannot crop: kernels of 3 where the stride is 1."""
    a, b, c, d, e = (round(channels * width) for channels in (256, 512, 256, 128, 64))
    layers = [nnj.Linear(latents, 49 * a), nnj.BatchNorm1d(49 * a), nnj.ELU(), nnj.Reshape(a, 7, 7)]
    for before, after, kernel, stride in ((a, b, 3, 1), (b, c, 3, 1), (c, d, 4, 2)):
        convolution = nnj.ConvTranspose2d(before, after, kernel, stride=stride, padding=1)
        layers += [convolution, nnj.BatchNorm2d(after), nnj.ELU()]
    layers += [nnj.ConvTranspose2d(d, e, 4, stride=2, padding=1), nnj.ELU()]
    return nnj.Sequential(*layers, nnj.Conv2d(e, 1, 3, padding=1), nnj.Sigmoid())


def _decoder(name: str, latents: int, width: float) -> nn.Module:
    torch.manual_seed(0)
    return (MNISTDecoder(latents, width) if name == PAPERS else symmetric(latents, width)).eval()


def _jacobian(method: str, decoder: nn.Module, z: Tensor) -> Tensor:
    """``[B, 1, 28, 28, d]``, differentiable where autograd records."""

    def one(point: Tensor) -> Tensor:
        return decoder(point[None])[0]

    match method:
        case "curvae":
            return curvature.jacobian(decoder, z)
        case "curvae, chunk_size=4":
            return curvature.jacobian(decoder, z, chunk_size=4)
        case "d decoder forwards":
            return torch.stack([decoder(z) for _ in range(z.shape[1])], -1)
        case "vmap(jacfwd)":
            return vmap(jacfwd(one))(z)
        case "vmap(jacrev)":
            return vmap(jacrev(one))(z)
        case "stochman nnj":
            return decoder(z, jacobian=True)[1]
        case _:
            # data do not interact in eval mode, so the Jacobian of the batch's sum is each sample's own
            record = torch.is_grad_enabled()
            whole = torch.autograd.functional.jacobian(lambda p: decoder(p).sum(0), z, create_graph=record)
            return whole.movedim(-2, 0)


def _act(method: str, use: str, decoder: nn.Module, z: Tensor) -> Callable[[], object]:
    if use == JACOBIAN:
        return torch.no_grad()(lambda: _jacobian(method, decoder, z))
    identity = torch.eye(z.shape[1], device=z.device)

    def backward() -> None:
        tangents = _jacobian(method, decoder, z).flatten(1, -2)
        torch.logdet(identity + tangents.mT @ tangents / 0.2).mean().backward()

    return backward


def run(quick: bool, watch: Stopwatch) -> list[Row]:
    """Times side by side; on a CPU also what each takes of memory at most, in a process of its own."""
    rows = []
    for latents in (12,) if quick else (12, 32):
        fast = (FORWARDS, CHUNKS, FAST)
        rows += _rows(PAPERS, JACOBIAN, fast, latents, 0.125, watch, repetitions=15)
        rows += _rows(PAPERS, LOGDET, (CHUNKS, FAST), latents, 0.125, watch, repetitions=7)
        rows += _rows(SYMMETRIC, JACOBIAN, (FORWARDS, FAST, STOCHMAN), latents, 0.125, watch, repetitions=15)
        rows += _rows(SYMMETRIC, LOGDET, (STOCHMAN,), latents, 0.125, watch, repetitions=7)
    rows += _rows(PAPERS, JACOBIAN, SLOW, 12, 0.125, watch, repetitions=1 if quick else 3)
    if not quick:
        rows += _rows(PAPERS, LOGDET, SLOW, 12, 0.125, watch, repetitions=1)
        rows += _rows(PAPERS, JACOBIAN, (FORWARDS, FAST), 12, 1.0, watch, repetitions=3)
    return rows


def _rows(
    name: str,
    use: str,
    others: tuple[str, ...],
    latents: int,
    width: float,
    watch: Stopwatch,
    repetitions: int,
) -> list[Row]:
    decoder, z = _decoder(name, latents, width).to(watch.device), torch.randn(BATCH, latents, device=watch.device)
    methods = (OURS, *others)
    medians = interleaved({method: _act(method, use, decoder, z) for method in methods}, repetitions, watch)
    memory: dict[str, float | None] = dict.fromkeys(methods)
    if watch.device.type == "cpu":
        memory = {method: _memory(method, use, name, latents, width) for method in methods}
    size = f"{use}, {name} × {width:g}, batch {BATCH}, d = {latents}"
    return [Row(OURS, size, medians[OURS], m, medians[m], memory[OURS], memory[m]) for m in others]


def _memory(method: str, use: str, name: str, latents: int, width: float) -> float:
    return in_a_process("benchmarks.jacobian", method, use, name, str(latents), str(width))["megabytes"]


def _main(method: str, use: str, name: str, latents: str, width: str) -> None:
    small, decoder = (_decoder(name, d, w) for d, w in ((1, 1 / 64), (int(latents), float(width))))
    warm = _act(method, use, small, torch.randn(1, 1))
    act = _act(method, use, decoder, torch.randn(BATCH, int(latents)))
    print(json.dumps({"megabytes": extra_megabytes(warm, act)}))


if __name__ == "__main__":
    _main(*sys.argv[1:])
