"""Exact GRAE against reverse-mode Jacobians, Taylor (4) against dense Hessians, Lanczos where d is in the thousands."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import hessian, jacrev, vmap

from benchmarks.measure import Row, Stopwatch, in_a_process, interleaved, peak_megabytes
from benchmarks.photographs import SIDE, autoencoder
from curvae import Autoencoder, curvature, objectives, posteriors
from curvae.curvature import Linearised
from curvae.likelihoods import Gaussian
from curvae.nn import MNISTDecoder, MNISTEncoder

BETA, WIDTH = 0.2, 0.125
LATENT_MAPS = {512: (8, 8), 4096: (16, 16)}
LANCZOS = "Lanczos(16, Signs(4)), value and gradient"
EXACT_VALUE = "Exact(chunk_size=64), value only"
TAYLOR = 'Taylor(curvature="hessian")'
DENSE_TAYLOR = "vmap(hessian), trace"


def _side(method: str, latents: int, batch: int) -> Callable[[], object]:
    torch.manual_seed(0)
    if method in (TAYLOR, DENSE_TAYLOR):
        model = Autoencoder(MNISTEncoder(WIDTH), MNISTDecoder(latents, WIDTH), latents, posteriors.Diagonal()).eval()
        digits, loss = torch.rand(batch, 1, 28, 28), _taylor if method == TAYLOR else _dense_taylor
        return lambda: loss(model, digits).mean().backward()
    if latents in LATENT_MAPS:
        decoder: nn.Module = autoencoder(*LATENT_MAPS[latents], seed=0).decoder
        x = torch.rand(batch, 3, SIDE, SIDE)
    else:
        decoder = MNISTDecoder(latents, WIDTH).eval()
        x = torch.rand(batch, 1, 28, 28)
    z = torch.randn(batch, latents)
    match method:
        case "Exact()":
            return lambda: _penalty(curvature.Exact(), decoder, z, x).mean().backward()
        case "vmap(jacrev), slogdet":
            return lambda: _reverse(decoder, z).mean().backward()
        case "Lanczos(16, Signs(4)), value and gradient":
            return lambda: _penalty(curvature.Lanczos(16, curvature.Signs(4)), decoder, z, x).mean().backward()
        case _:
            return lambda: _value(decoder, z, x)


def _penalty(estimator: curvature.Estimator, decoder: nn.Module, z: Tensor, x: Tensor) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return estimator.penalty(Linearised(decoder, z, x, Gaussian()), posteriors.Full(), BETA, generator)[1]


def _reverse(decoder: nn.Module, z: Tensor) -> Tensor:
    jacobians = vmap(jacrev(lambda point: decoder(point[None])[0].flatten()))(z)
    return torch.linalg.slogdet(torch.eye(z.shape[1]) + jacobians.mT @ jacobians / BETA).logabsdet


def _taylor(model: Autoencoder, x: Tensor) -> Tensor:
    return objectives.Taylor(BETA, curvature="hessian")(model, x).total


def _dense_taylor(model: Autoencoder, x: Tensor) -> Tensor:
    """(4) as it is written: each sample's d × d Hessian, then its product with the covariance."""

    def nll(z: Tensor, sample: Tensor) -> Tensor:
        return Gaussian().nll(model.decode(z[None]), sample[None])[0]

    q = model.posterior(x)
    hessians = vmap(hessian(nll))(q.mean, x)
    trace = (hessians * q.covariance()).sum((-1, -2))
    return Gaussian().nll(model.decode(q.mean), x) + 0.5 * trace + BETA * q.kl()


@torch.no_grad()
def _value(decoder: nn.Module, z: Tensor, x: Tensor) -> Tensor:
    return _penalty(curvature.Exact(chunk_size=64), decoder, z, x)


def run(quick: bool, watch: Stopwatch) -> list[Row]:
    """Times side by side; peak memory of each in a process of its own, less that of an idle one."""
    idle = in_a_process("benchmarks.estimators", "idle", "12", "1")["megabytes"]
    batch, repetitions = (4 if quick else 8), 3
    exact = [_row("Exact()", "vmap(jacrev), slogdet", d, batch, repetitions, idle, watch) for d in (12, 64, 128)]
    taylor = [_row(TAYLOR, DENSE_TAYLOR, d, batch, repetitions, idle, watch) for d in (12, 64)]
    sizes = (512,) if quick else (512, 4096)
    lanczos = [_row(LANCZOS, EXACT_VALUE, d, 1, 1 if d == 4096 else 3, idle, watch) for d in sizes]
    return exact + taylor + lanczos


def _row(ours: str, reference: str, latents: int, batch: int, repetitions: int, idle: float, watch: Stopwatch) -> Row:
    sides = (ours, reference)
    medians = interleaved({side: _side(side, latents, batch) for side in sides}, repetitions, watch)
    memory = {
        side: in_a_process("benchmarks.estimators", side, str(latents), str(batch))["megabytes"] - idle
        for side in sides
    }
    what = "photographs" if latents in LATENT_MAPS else f"paper's MNIST decoder × {WIDTH:g}"
    quantity = "objective (4)" if ours == TAYLOR else "log-determinant"
    size = f"{quantity}, {what}, batch {batch}, d = {latents}"
    return Row(ours, size, medians[ours], reference, medians[reference], memory[ours], memory[reference])


def _main(method: str, latents: str, batch: str) -> None:
    if method != "idle":
        _side(method, int(latents), int(batch))()
    print(json.dumps({"megabytes": peak_megabytes()}))


if __name__ == "__main__":
    _main(*sys.argv[1:])
