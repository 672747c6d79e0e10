"""``python docs/_picture.py VAE GRAE`` draws the README's picture from two finished runs.

    curvae train --data mnist --network paper --width 0.0625 --structure diagonal --latents 12 --steps 20000 --lr 2e-3 \
        --schedule cosine --objective beta-vae --out VAE
    # and with  --objective grae --estimator columns:1 --out GRAE

``docs/images/idea.json`` beside it says from which runs it was drawn and how far the two matrices are apart.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from curvae.curvature import gauss_newton
from curvae.data import as_float
from curvae.metrics import relative_distance
from curvae.runs import Run, likelihood_of, load_model

OUT = Path(__file__).parent / "images"
SHOWN = 8
ONE_OF_EACH = (3, 2, 1, 30, 4, 8, 11, 0)  # held-out digits 0, 1, 2, 3, 4, 5, 6, 7
DIGIT = 0  # whose matrices are drawn, of those above


def main(vae_folder: str, grae_folder: str) -> None:
    """Draw and record."""
    vae, grae = load_model(vae_folder), load_model(grae_folder)
    run, other = Run.open(vae_folder), Run.open(grae_folder)
    x = as_float(run.dataset().test[:1000])
    with torch.no_grad():
        posterior = vae.posterior(x)
        curvature = gauss_newton(vae.decode, posterior.mean, x, likelihood_of(run.config, vae))
        implied = torch.eye(run.config.latents) + curvature / run.config.beta
        precision = posterior.precision()
        chosen = list(ONE_OF_EACH)
        images = [x[chosen], vae.reconstruct(x[chosen]), grae.reconstruct(x[chosen])]
    figure = Figure(figsize=(10, 3.3), dpi=110, layout="constrained", facecolor="white")
    left, right = figure.subfigures(1, 2, width_ratios=(2.3, 1))
    _draw_images(left, images)
    _draw_matrices(right, {
        "one digit": (precision[chosen[DIGIT]], implied[chosen[DIGIT]]),
        "mean of 1000": (precision.mean(0), implied.mean(0)),
    })  # fmt: skip
    OUT.mkdir(exist_ok=True)
    figure.savefig(OUT / "idea.png")
    wanted = ("curvae", "torch", "python", "device", "commit")
    record = {
        "runs": [
            {"config": each.config.to_json(), "environment": {name: each.environment[name] for name in wanted}}
            for each in (run, other)
        ],
        "held_out_digits_shown": chosen,
        "relative_distance": {"digits": len(x), "mean": relative_distance(precision, implied).mean().item()},
    }
    (OUT / "idea.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def _draw_images(figure: Figure, rows: list[torch.Tensor]) -> None:
    places = figure.subplots(len(rows), SHOWN)
    for row, images, name in zip(places, rows, ("data", "β-VAE", "GRAE"), strict=True):
        for place, image in zip(row, images, strict=True):
            place.imshow(image[0], cmap="gray_r", vmin=0, vmax=1)
            _bare(place)
        row[0].set_ylabel(name, fontsize=13)
    figure.suptitle("reconstructions, trained with noise (β-VAE) and without (GRAE)", fontsize=13)


def _draw_matrices(figure: Figure, pairs: dict[str, tuple[torch.Tensor, torch.Tensor]]) -> None:
    names = ("$\\Sigma^{-1}$, learned", "$I + J^TJ/\\beta$")
    places = figure.subplots(len(pairs), len(names))
    for row, (title, pair) in zip(places, pairs.items(), strict=True):
        limit = max(matrix.abs().max().item() for matrix in pair)
        for place, matrix in zip(row, pair, strict=True):
            place.imshow(matrix, cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest")
            _bare(place)
        row[0].set_ylabel(title, fontsize=12)
    for place, name in zip(places[0], names, strict=True):
        place.set_title(name, fontsize=13)


def _bare(place: Axes) -> None:
    place.set_xticks([])
    place.set_yticks([])


if __name__ == "__main__":
    main(*sys.argv[1:])
