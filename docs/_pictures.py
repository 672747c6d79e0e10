"""``python docs/_pictures.py VAE GRAE`` draws the pictures of the pages from two finished runs of ``docs/_picture.py``.

``docs/images/pages.json`` beside them says from which runs. ``python docs/_pictures.py`` draws those that need no run.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import curvae
from curvae import plot
from curvae.curvature import Columns, Estimator, Exact, Fraction
from curvae.data import as_float, sprites
from curvae.objectives import GRAE
from curvae.posteriors import BlockDiagonal, Diagonal, Full
from curvae.runs import Run

OUT = Path(__file__).parent / "images"
SHARES = (1 / 32, 1 / 16, 1 / 8, 1 / 4)
DRAWS, BATCH = 12, 32


def main(vae_folder: str = "", grae_folder: str = "") -> None:
    """Draw and record."""
    OUT.mkdir(exist_ok=True)
    _penalties().savefig(OUT / "penalties.png")
    _sprites().savefig(OUT / "sprites.png")
    if not grae_folder:
        return
    vae, grae = Run.open(vae_folder), Run.open(grae_folder)
    x = as_float(vae.dataset().test[:1000])
    plot.traversal(grae, x[:1], latents=list(range(6))).savefig(OUT / "traversal.png", dpi=90)
    _inspection(vae, x).savefig(OUT / "inspection.png")
    _estimators(grae, x).savefig(OUT / "estimators.png")
    wanted = ("curvae", "torch", "python", "device", "commit")
    record = [
        {"config": run.config.to_json(), "environment": {name: run.environment[name] for name in wanted}}
        for run in (vae, grae)
    ]
    (OUT / "pages.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def _penalties() -> Figure:
    """What each structure's best noise costs, for one curvature, against β."""
    generator = torch.Generator().manual_seed(0)
    basis = torch.linalg.qr(torch.randn(12, 12, generator=generator, dtype=torch.float64)).Q
    matrix = (basis * torch.logspace(1, -3, 12, dtype=torch.float64)) @ basis.T
    betas = np.logspace(-3, 2, 60)
    kinds = {"full": Full(), "blocks of 4": BlockDiagonal(4), "diagonal": Diagonal()}
    figure, axes = _figure("β, where the largest eigenvalue of M is 10", "penalty")
    for name, structure in kinds.items():
        axes.plot(betas, [float(structure.penalty(matrix[None], float(beta))) for beta in betas], label=name)
    axes.plot(betas, float(matrix.trace()) / betas, "k:", label="first order, tr M / β")
    axes.set(xscale="log", ylim=(0, 90))
    axes.legend(frameon=False)
    return figure


def _sprites() -> Figure:
    """A row of sprites as each factor moves, before nothing and before the gratings of the control."""
    middle = [len(values) // 2 for values in sprites.FACTORS.values()]
    figure = Figure(figsize=(9, 5.2), dpi=80, layout="constrained", facecolor="white")
    for part, tilted in zip(figure.subfigures(1, 2), (False, True), strict=True):
        part.suptitle("tilted-sprites" if tilted else "sprites")
        for row, (place, (name, values)) in enumerate(
            zip(part.subplots(len(sprites.FACTORS), 1), sprites.FACTORS.items(), strict=True)
        ):
            rows = np.tile(np.array(middle, np.uint8), (6, 1))
            rows[:, row] = np.linspace(0, len(values) - 1, 6).round().astype(np.uint8)
            place.imshow(np.concatenate(list(sprites.draw(rows, tilted)[:, 0]), 1), cmap="gray", vmin=0, vmax=255)
            place.set_ylabel(name)
            place.set(xticks=[], yticks=[])
    return figure


def _inspection(run: Run, x: torch.Tensor) -> Figure:
    """Variances of the posterior beside the implied ones, and the decode error under noise beside the predicted one."""
    found = curvae.inspect(run.model(), x, beta=run.config.beta, generator=torch.Generator().manual_seed(0))
    figure = Figure(figsize=(9, 3.6), dpi=90, layout="constrained", facecolor="white")
    left, right = figure.subplots(1, 2)
    shipped, implied = (np.array([getattr(one, name) for one in found.per_latent]) for name in ("shipped", "implied"))
    left.loglog(implied, shipped, "o")
    left.axline((0.01, 0.01), (1.0, 1.0), color="0.6", linewidth=1, zorder=0)
    left.set(xlabel="variance that the decoder implies (11)", ylabel="variance of the posterior", title="each latent")
    noise = np.array([[one.std, one.predicted, one.measured] for one in found.noise]).T
    right.loglog(noise[0], noise[1], "--", label="predicted from the Jacobian")
    right.loglog(noise[0], noise[2], "o-", label="measured")
    if found.radius is not None:
        right.axvline(found.radius, color="0.6", linewidth=1, zorder=0)
        right.annotate("radius", (found.radius, noise[1].min()), fontsize=9, color="0.4")
    right.set(xlabel="standard deviation of the noise", ylabel="squared decode error", title="noise in every latent")
    right.legend(frameon=False)
    return figure


def _estimators(run: Run, x: torch.Tensor) -> Figure:
    """Relative error of the penalty's gradient against the decoder columns that are pushed for each sample."""
    model, latents = run.model(), run.config.latents
    ways: dict[str, list[tuple[float, Callable[[], Estimator]]]] = {
        "Columns(k) on every sample": [(k, lambda k=k: Columns(k)) for k in (1, 2, 4, 8)],
        "Fraction(Exact(), f)": [(share * latents, lambda share=share: Fraction(Exact(), share)) for share in SHARES],
        "Fraction(Columns(1), f)": [(share, lambda share=share: Fraction(Columns(1), share)) for share in SHARES],
    }
    whole = _gradient(model, x[:BATCH], Exact(), 0, run.config.beta)
    figure, axes = _figure("columns pushed for each sample of the batch", "noise ÷ norm of the gradient")
    for (name, points), marker in zip(ways.items(), "os^", strict=True):
        errors = []
        for _, build in points:
            drawn = [_gradient(model, x[:BATCH], build(), seed, run.config.beta) for seed in range(DRAWS)]
            errors.append(
                float(torch.stack([(one - whole).square().sum() for one in drawn]).mean().sqrt() / whole.norm())
            )
        axes.loglog([cost for cost, _ in points], errors, marker=marker, label=name)
    axes.legend(frameon=False)
    return figure


def _gradient(model: curvae.Autoencoder, x: torch.Tensor, estimator: Estimator, seed: int, beta: float) -> torch.Tensor:
    model.zero_grad()
    terms = GRAE(beta, structure=Diagonal(), estimator=estimator)(model, x, torch.Generator().manual_seed(seed))
    terms["penalty"].mean().backward()
    found = [weight.grad.flatten() for weight in model.decoder.parameters() if weight.grad is not None]
    return torch.cat(found)


def _figure(label: str, value: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(6.4, 3.8), dpi=90, layout="constrained", facecolor="white")
    axes = figure.subplots()
    axes.set(xlabel=label, ylabel=value)
    axes.grid(visible=True, alpha=0.25, linewidth=0.5)
    return figure, axes


if __name__ == "__main__":
    main(*sys.argv[1:])
