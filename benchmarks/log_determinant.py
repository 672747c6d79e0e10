r"""$\log|I+M/\beta|$ from a stated number of products at d = 4096: curvae, matfree and curvlinops in one run.

``python -m benchmarks.log_determinant --out results/bench`` writes ``log_determinant.json``. matfree (with JAX) and
curvlinops are left out where they are not installed.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.measure import Stopwatch, machine
from benchmarks.photographs import crops, trained
from curvae import curvature, posteriors
from curvae.curvature import Linearised
from curvae.likelihoods import Gaussian
from curvae.reproduce.summary import write_text

BETAS = (0.01, 0.05, 0.2, 1.0)
DEPTHS = {16: 8, 32: 8, 64: 16}
"""Of Lanczos for the others, by products: the best or second best of all splits for these β."""

Way = Callable[[int], tuple[float, float | None]]
"""A seed to an estimate and half of its 95 % interval."""


def ways(at: Linearised, exact: Tensor, beta: float, products: int) -> Iterator[tuple[str, Way]]:
    """Everything that estimates the same number from as many products with M."""
    depth = DEPTHS[products]
    count = products // depth

    def ours(seed: int) -> tuple[float, float | None]:
        found = curvature.log_determinant(at, beta, products, torch.Generator().manual_seed(seed))
        return float(found.value), float(found.error)

    def lanczos(seed: int) -> tuple[float, float | None]:
        estimator = curvature.Lanczos(depth, curvature.Signs(count))
        found = estimator.estimate(at, posteriors.Full(), beta, torch.Generator().manual_seed(seed))
        error = found.standard_error
        return float(found.value), None if error is None else 1.96 * float(error)

    yield "log_determinant", ours
    yield f"Lanczos({depth}, Signs({count}))", lanczos
    if importlib.util.find_spec("matfree"):
        yield f"matfree, slq of depth {depth}", _matfree(exact, beta, depth, count)
    if importlib.util.find_spec("curvlinops") and count >= 3:
        yield f"curvlinops, hutch++ of log by depth {depth}", _curvlinops(exact, beta, depth, count)


def _matfree(exact: Tensor, beta: float, depth: int, count: int) -> Way:
    import jax
    from matfree import decomp, funm, stochtrace

    matrix = jax.numpy.asarray(exact.numpy()) / beta
    integrand = funm.monte_carlo_funm_sym_logdet(decomp.tridiag_sym(depth, reortho="full"))
    sampler = stochtrace.sampler_signs(jax.numpy.ones(len(exact)), num=count)
    estimate = stochtrace.estimator_monte_carlo(integrand, sampler)
    estimated = jax.jit(lambda key: estimate(lambda v: v + matrix @ v, key))

    def way(seed: int) -> tuple[float, float | None]:
        return float(estimated(jax.random.PRNGKey(seed))), None

    return way


def _curvlinops(exact: Tensor, beta: float, depth: int, count: int) -> Way:
    from curvlinops import hutchpp_trace
    from curvlinops._torch_base import PyTorchLinearOperator

    class Log(PyTorchLinearOperator):
        """log(I + M/β) times vectors, by as many Lanczos steps for each."""

        def __init__(self) -> None:
            super().__init__([(len(exact),)], [(len(exact),)])

        SELF_ADJOINT, device, dtype = True, exact.device, exact.dtype

        def _matmat(self, matrices: list[Tensor]) -> list[Tensor]:
            return [_log_times(exact, matrices[0], beta, depth)]

    def way(seed: int) -> tuple[float, float | None]:
        torch.manual_seed(seed)
        return float(hutchpp_trace(Log(), count // 3 * 3)), None

    return way


def _log_times(matrix: Tensor, vectors: Tensor, beta: float, depth: int) -> Tensor:
    """By Lanczos with full orthogonalisation, each vector by itself."""
    length = vectors.norm(dim=0)
    basis, diagonal, beside = [vectors / length], list[Tensor](), list[Tensor]()
    for _ in range(depth):
        image = matrix @ basis[-1]
        diagonal.append((image * basis[-1]).sum(0))
        for _ in range(2):
            for known in basis:
                image = image - known * (known * image).sum(0)
        beside.append(image.norm(dim=0))
        basis.append(image / beside[-1])
    spread = torch.diag_embed(torch.stack(beside[:-1], -1), 1)
    tridiagonal = (torch.diag_embed(torch.stack(diagonal, -1)) + spread + spread.mT).double()
    nodes, turn = torch.linalg.eigh(tridiagonal)
    weights = torch.einsum("kij,kj,kj->ki", turn, (nodes.clamp(min=0) / beta).log1p(), turn[:, 0]).to(vectors)
    return length * sum(each * weights[:, i] for i, each in enumerate(basis[:-1]))


def measure(channels: int, side: int, steps: int, calls: int, budgets: tuple[int, ...]) -> list[dict[str, Any]]:
    """Errors of every way at one unseen photograph's code."""
    model, _ = trained(channels, side, steps)
    x = crops(1, torch.Generator().manual_seed(1000))
    with torch.no_grad():
        z = model.encode(x)
        exact = curvature.gauss_newton(model.decode, z, x, Gaussian(), chunk_size=64)[0]
    at = Linearised(model.decode, z.unflatten(1, (channels, side, side)), x, Gaussian())
    at = Linearised(lambda z: model.decode(z.flatten(1)), at.point, x, Gaussian())
    rows = []
    for beta in BETAS:
        wide = torch.eye(len(exact), dtype=torch.float64) + exact.double() / beta
        truth = float(2 * torch.linalg.cholesky(wide).diagonal().log().sum())
        for products in budgets:
            for name, way in ways(at, exact, beta, products):
                rows.append({"way": name, "beta": beta, "products": products, **_errors(way, truth, calls)})
                print(rows[-1], flush=True)
    return rows


def _errors(way: Way, truth: float, calls: int) -> dict[str, Any]:
    start = time.process_time()
    with torch.no_grad():
        found = [way(seed) for seed in range(calls)]
    errors = [100 * (value / truth - 1) for value, _ in found]
    halves = [100 * half / truth for _, half in found if half is not None]
    row: dict[str, Any] = {
        "exact": truth,
        "rms_percent": statistics.fmean(error**2 for error in errors) ** 0.5,
        "bias_percent": statistics.fmean(errors),
        "processor_seconds_a_call": (time.process_time() - start) / calls,
    }
    if halves:
        row["interval_percent"] = statistics.median(halves)
        row["covered"] = statistics.fmean(abs(e) <= h for e, h in zip(errors, halves, strict=True))
    return row


def main() -> None:
    """Measure, then write the numbers."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.log_determinant", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for log_determinant.json")
    parser.add_argument("--quick", action="store_true", help="d = 512 instead of 4096, few calls")
    parser.add_argument("--calls", type=int, default=40)
    parser.add_argument("--products", type=int, nargs="+", default=[32, 64], choices=sorted(DEPTHS))
    arguments = parser.parse_args()
    size = (8, 8, 30, 8) if arguments.quick else (16, 16, 300, arguments.calls)
    channels, side, steps, calls = size
    rows = measure(channels, side, steps, calls, tuple(arguments.products))
    result = {"machine": machine(Stopwatch(torch.device("cpu"))), "calls": calls, "latents": channels * side**2}
    text = json.dumps({**result, "rows": rows}, indent=1, ensure_ascii=False)
    write_text(arguments.out / "log_determinant.json", text)


if __name__ == "__main__":
    main()
