r"""Error of $\log|I+M/\beta|$ against products spent, at d = 4096 where the exact value can still be had.

``python -m benchmarks.accuracy --out results/estimators`` writes ``lanczos.json`` and ``lanczos.png``.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
import torch
from torch import Tensor

import curvae
from benchmarks.measure import commit
from benchmarks.photographs import crops, trained
from curvae import curvature, posteriors
from curvae.curvature import Linearised
from curvae.curvature.lanczos import bidiagonalise
from curvae.files import write_atomic
from curvae.likelihoods import Gaussian
from curvae.reproduce.summary import write_text

BETAS = (0.01, 0.05, 0.2, 1.0)
BUDGETS = (4, 8, 16, 32, 64)
DEPTHS = (2, 3, 4, 6, 8, 12, 16, 24, 32)
RANKS = (512, None)
CALLS = 32


def measure(channels: int, side: int, steps: int, seed: int) -> dict[str, object]:
    """Every estimator at one unseen photograph's code; the reference basis comes from another photograph."""
    start = time.perf_counter()
    model, nll = trained(channels, side, steps, seed)
    test, reference = crops(2, torch.Generator().manual_seed(seed + 1000)).split(1)
    basis = curvature.principal_basis(model.decode, _code(model, reference), reference, Gaussian(), chunk_size=64)
    exact = curvature.gauss_newton(model.decode, _code(model, test), test, Gaussian(), chunk_size=64)[0]
    generator = torch.Generator().manual_seed(seed)
    probes = {"signs": curvature.Signs(128), **{_name(r): curvature.Signs(64, basis[:, :r]) for r in RANKS}}
    root, largest = _root(exact)
    spectra = {name: _spectra(root, kind, generator) for name, kind in probes.items()}
    betas = {f"{beta:g}": _at(beta, exact, spectra) for beta in BETAS}
    with torch.no_grad():
        called = _through_the_decoder(model, test, basis[:, : RANKS[0]], betas)
    return {
        "latents": channels * side**2,
        "latent_map": [channels, side, side],
        "outputs": test[0].numel(),
        "training_steps": steps,
        "training_nll": nll,
        "largest_eigenvalue": largest,
        "betas": betas,
        f"calls_with_a_basis_of_rank_{RANKS[0]}": called,
        "seconds": time.perf_counter() - start,
    }


def _name(rank: int | None) -> str:
    return "signs along a reference basis" + ("" if rank is None else f" of rank {rank}")


@torch.no_grad()
def _code(model: curvae.Autoencoder, x: Tensor) -> Tensor:
    return model.encode(x)


Spectra = tuple[Tensor, Tensor]
"""For depths 1 … m: the bidiagonal matrix of each probe, and the probes' squared lengths."""


def _root(exact: Tensor) -> tuple[Tensor, float]:
    """T with M = TᵀT, symmetric, and the largest eigenvalue of M."""
    eigenvalues, vectors = torch.linalg.eigh(exact.double())
    return (vectors * eigenvalues.clamp(min=0).sqrt()) @ vectors.mT, float(eigenvalues[-1])


def _spectra(root: Tensor, probes: curvature.Probes, generator: torch.Generator) -> Spectra:
    """One run for all depths and all β: the matrix of a smaller depth is the corner of a larger one's."""
    vectors = probes.draw(root.new_zeros(1, len(root)), generator)
    length = torch.linalg.vector_norm(vectors, dim=1)
    times = lambda v: root @ v  # noqa: E731
    return bidiagonalise(times, times, vectors / length.unsqueeze(1), DEPTHS[-1])[1][0], length[0].square()


def _quadrature(spectra: Spectra, depth: int, beta: float) -> Tensor:
    bidiagonal, squared = spectra
    _, sigma, inner = torch.linalg.svd(bidiagonal[:, :depth, :depth])
    return squared * (inner[..., 0].square() * (sigma.square() / beta).log1p()).sum(-1)


def _at(beta: float, exact: Tensor, spectra: Mapping[str, Spectra]) -> dict[str, Any]:
    wide = exact.double() / beta
    latents = len(exact)
    value = 2 * torch.linalg.cholesky(wide + torch.eye(latents, dtype=torch.float64)).diagonal().log().sum()
    hadamard = wide.diagonal().log1p()
    curves = {name: [_best(one, budget, beta, value) for budget in BUDGETS] for name, one in spectra.items()}
    bias, spread = hadamard.sum() - value, latents * hadamard.std()
    # a column is half a pair: forward mode only
    curves["Columns, 2 for a pair"] = [{"pairs": k, **_errors(bias, spread / (2 * k) ** 0.5, value)} for k in BUDGETS]
    return {
        "exact": float(value),
        "hadamard_over_exact": float(hadamard.sum() / value),
        "trace_over_exact": float(wide.diagonal().sum() / value),
        "curves": curves,
    }


def _best(spectra: Spectra, budget: int, beta: float, value: Tensor) -> dict[str, float]:
    """The best split of the budget into depth × probes."""
    converged = _quadrature(spectra, DEPTHS[-1], beta)
    splits = []
    for depth in DEPTHS:
        if depth <= budget:
            terms, probes = _quadrature(spectra, depth, beta), budget // depth
            # the bias of a depth is nearly the same for all probes, so it is known far better than a mean of values
            errors = _errors((terms - converged).mean(), terms.std() / probes**0.5, value)
            splits.append({"pairs": budget, "depth": depth, "probes": probes, **errors})
    return min(splits, key=lambda split: split["rms_percent"])


def _errors(bias: Tensor, spread: Tensor, value: Tensor) -> dict[str, float]:
    return {
        "rms_percent": 100 * float((bias.square() + spread.square()).sqrt() / value),
        "bias_percent": 100 * float(bias / value),
    }


def _through_the_decoder(
    model: curvae.Autoencoder, x: Tensor, basis: Tensor, betas: Mapping[str, Mapping[str, Any]]
) -> dict[str, dict[str, float]]:
    """The estimator itself, as a user calls it, at the best split of the largest budget: its own errors."""
    rows = {}
    for beta, panel in betas.items():
        split, truth = panel["curves"][_name(RANKS[0])][-1], panel["exact"]
        estimator = curvature.Lanczos(split["depth"], curvature.Signs(split["probes"], basis))
        start, errors, stated = time.perf_counter(), [], []
        for seed in range(CALLS):
            generator = torch.Generator().manual_seed(seed)
            estimate = estimator.estimate(
                Linearised(model.decode, _code(model, x), x, Gaussian()), posteriors.Full(), float(beta), generator
            )
            assert estimate.standard_error is not None
            errors.append(100 * (estimate.value.item() / truth - 1))
            stated.append(100 * estimate.standard_error.item() / truth)
        rows[beta] = {
            "depth": split["depth"],
            "probes": split["probes"],
            "calls": CALLS,
            "rms_percent": statistics.fmean(error**2 for error in errors) ** 0.5,
            "mean_error_percent": statistics.fmean(errors),
            "mean_standard_error_percent": statistics.fmean(stated),
            "seconds_a_call": (time.perf_counter() - start) / CALLS,
        }
    return rows


def draw(result: Mapping[str, object], path: Path) -> None:
    """Error against product pairs, a panel for each β."""
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, len(BETAS), figsize=(3.2 * len(BETAS), 3.2), sharey=True, layout="constrained")
    for axis, (beta, panel) in zip(axes, result["betas"].items(), strict=True):  # type: ignore[attr-defined]
        for name, curve in panel["curves"].items():
            axis.plot([p["pairs"] for p in curve], [p["rms_percent"] for p in curve], "o-", ms=3, label=_label(name))
        axis.axhline(1, color="0.6", lw=0.8)
        axis.set(xscale="log", yscale="log", xlabel="product pairs", title=f"β = {beta}", xticks=BUDGETS)
        axis.set_xticklabels(map(str, BUDGETS))
        axis.minorticks_off()
    axes[0].set_ylabel("error of log|I + M/β|, % (RMS)")
    axes[-1].legend(fontsize=6)
    figure.suptitle(f"d = {result['latents']}, convolutional decoder of {result['outputs']} outputs", fontsize=10)
    figure.savefig(path, dpi=110)


def _label(name: str) -> str:
    return name if name.startswith("Columns") else f"Lanczos, {name}"


def _provenance(quick: bool, seed: int) -> dict[str, object]:
    return {
        "scale": "quick" if quick else "full",
        "seed": seed,
        "commit": commit(),
        "device": "cpu",
        "versions": {"python": platform.python_version(), "torch": torch.__version__, "curvae": curvae.__version__},
    }


def main() -> None:
    """Measure, then write the numbers and the figure."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accuracy", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for lanczos.json and lanczos.png")
    parser.add_argument("--quick", action="store_true", help="d = 512 instead of 4096")
    parser.add_argument("--steps", type=int, default=300, help="training steps of the decoder")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    size = (8, 8) if arguments.quick else (16, 16)
    result = {
        **_provenance(arguments.quick, arguments.seed),
        **measure(*size, steps=arguments.steps, seed=arguments.seed),
    }
    text = json.dumps(result, indent=1, ensure_ascii=False)
    write_text(arguments.out / "lanczos.json", text)
    write_atomic(arguments.out / "lanczos.png", lambda path: draw(result, path))
    print(text)


if __name__ == "__main__":
    main()
