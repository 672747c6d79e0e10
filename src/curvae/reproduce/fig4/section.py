"""What is said of figure 4: a short table, and the page's section with its findings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from curvae.report.figures import Kind
from curvae.report.grids import Cell, Content, Grid, GridRow, Summary, compared, difference, in_line, number, sign
from curvae.reproduce.summary import table_of, text
from curvae.reproduce.sweep.faces import CHALLENGER as GRAE
from curvae.reproduce.sweep.faces import REFERENCE as VAE

_DISTANCES = {"frechet_prior": "from the prior", "frechet_mixture": "from a mixture fitted to the codes"}
_OTHERS = (
    *("frechet_reconstruction", "sharpness_prior", "sharpness_mixture", "mse"),
    *("beta_vae", "taylor", "grae", "grae_full", "seconds"),
)
_ABLATED = ("frechet_prior", "frechet_mixture", "sharpness_prior", "mse", "grae_full")
_YES = {True: "yes", False: "no", None: "–"}


def table(summary: Summary) -> str:
    """One row a β: distances of both models, whether they differ by less than the seeds, sharpness, error."""
    titles = {"frechet_prior": "FD, prior", "frechet_mixture": "FD, mixture"}
    head = ["β"]
    for title in titles.values():
        head += [f"{title}: {VAE}", GRAE, "difference [95 %]", "within seeds"]
    head += [f"FD, reconstructions: {VAE}", GRAE, f"sharpness: {VAE}", GRAE, f"squared error: {VAE}", GRAE]
    rows = []
    for k, beta in enumerate(summary["betas"]):
        cells = [f"{beta:g}"]
        for key in titles:
            both = [_in_table(summary["models"][name][key][k]) for name in (VAE, GRAE)]
            within = _YES[summary["within_spread"][key][k]["within"]]
            cells += [*both, text(summary["differences"][key][k]), within]
        for key in ("frechet_reconstruction", "sharpness_prior", "mse"):
            cells += [_in_table(summary["models"][name][key][k]) for name in (VAE, GRAE)]
        rows.append(cells)
    parts = [table_of(head, rows), _of_real_images(summary)]
    return "\n\n".join([*parts, _ablation_table(summary["ablation"])] if summary["ablation"] else parts)


def _of_real_images(summary: Summary) -> str:
    about = summary["frechet"]
    return (
        f"Training images in place of samples: FD {about['of_training_images']:.4g}, sharpness of held-out images "
        f"{summary['sharpness_of_real_images']:.3g}. FD: Fréchet distance on {about['extractor']} features, "
        f"{about['images']} images in each set, reference {about['reference']}, rounded {about['rounding']}, resized: "
        f"{about['resize']}. Means over seeds ± their standard deviation."
    )


def _ablation_table(found: Summary) -> str:
    keys = {
        "frechet_prior": "FD, prior",
        "frechet_mixture": "FD, mixture",
        "sharpness_prior": "sharpness",
        "mse": "error",
    }
    rows = [
        [name, *(_in_table(measured[key]) for key in keys), text(measured["frechet_prior"]["difference"])]
        for name, measured in found["models"].items()
    ]
    head = (f"β = {found['beta']:g}", *keys.values(), f"FD, prior, less {found['reference']} [95 %]")
    return table_of(head, rows)


def _in_table(found: Summary) -> str:
    return f"{found['mean']:.4g}" if found["sd"] is None else f"{found['mean']:.4g} ± {found['sd']:.2g}"


def content(summary: Summary) -> Content:
    """The findings and the tables with intervals."""
    betas, about = summary["betas"], summary["frechet"]
    grids = [_distance(summary, key, title) for key, title in _DISTANCES.items()]
    others = [key for key in _OTHERS if key in summary["measures"]]  # older results lack some
    heads = tuple(title for key in others for title in (f"{summary['measures'][key]}, {VAE}", GRAE))
    rows = tuple(
        GridRow(
            f"β = {beta:g}",
            tuple(_mean(summary["models"][name][key][k]) for key in others for name in (VAE, GRAE)),
        )
        for k, beta in enumerate(betas)
    )
    grids.append(Grid("Beside it: means over seeds, with standard deviations", heads, rows))
    if summary["ablation"]:
        grids.append(_ablation(summary))
    words = {
        "fid": "FID" in about["extractor"],
        "distance": _said(about),
        "ablation": bool(summary["ablation"]),
        "points": summary["objective_points"],
        "one_seed": len(summary["models"][VAE]["mse"][0]["values"]) == 1,
    }
    return Content(_findings(summary), tuple(grids), words)


def _distance(summary: Summary, key: str, title: str) -> Grid:
    heads = (VAE, GRAE, "difference", "spread of seeds", "gap ÷ spread")
    rows = []
    for k, beta in enumerate(summary["betas"]):
        both = [_mean(summary["models"][name][key][k]) for name in (VAE, GRAE)]
        change = difference(summary["differences"][key][k])
        answer = summary["within_spread"][key][k]
        ratio = Cell(number(answer["ratio"]), strong=answer["within"] is False)
        rows.append(GridRow(f"β = {beta:g}", (*both, change, Cell(number(answer["spread"])), ratio)))
    return Grid(f"Fréchet distance, z {title}", heads, tuple(rows))


def _ablation(summary: Summary) -> Grid:
    found, measures = summary["ablation"], summary["measures"]
    rows = tuple(
        GridRow(name, tuple(compared(measured[key], name == found["reference"]) for key in _ABLATED))
        for name, measured in found["models"].items()
    )
    heads = tuple(measures[key] for key in _ABLATED)
    caption = f"β = {found['beta']:g}, {_seeds(found['seeds'])}; below, the difference from {found['reference']}"
    return Grid(caption, heads, rows)


def _findings(summary: Summary) -> tuple[str, ...]:
    betas, about = summary["betas"], summary["frechet"]
    found = [
        f"z {title}: the distances of {GRAE} and {VAE} are {summary['answer'][key]}."
        if not summary["answer"][key].startswith("no answer")
        else f"z {title}: {summary['answer'][key]}."
        for key, title in _DISTANCES.items()
    ]
    for key, title in _DISTANCES.items():
        differences = summary["differences"][key]
        better, worse = (
            [f"{beta:g}" for beta, one in zip(betas, differences, strict=True) if sign(one) == side] for side in (-1, 1)
        )
        parts = [f"below 0 at β = {', '.join(better)}"] * bool(better)
        parts += [f"above 0 at β = {', '.join(worse)}"] * bool(worse)
        sure = " and ".join(parts) or "nowhere apart from 0"
        means = [one["value"] for one in differences]
        largest = max(range(len(betas)), key=lambda k: abs(means[k]))
        found.append(
            f"z {title}: {GRAE} less {VAE}, paired by seed, is {sure} with its whole 95 % interval; the largest "
            f"difference is {in_line(differences[largest])}, at β = {betas[largest]:g}."
        )
    best = min(range(len(betas)), key=lambda k: summary["models"][VAE]["frechet_prior"][k]["mean"])
    found.append(
        f"Real images score {number(about['of_training_images'])}, the best {VAE} "
        f"{number(summary['models'][VAE]['frechet_prior'][best]['mean'])} (β = {betas[best]:g}); real images have "
        f"sharpness {number(summary['sharpness_of_real_images'])}, its samples "
        f"{number(summary['models'][VAE]['sharpness_prior'][best]['mean'])}."
    )
    return tuple(found)


def _said(about: Summary) -> str:
    numbers = ", ".join(f"{number(value)} of {count}" for count, value in about["by_number_of_images"].items())
    return (
        f"{about['extractor']}, {about['features']} features; {about['images']:,} images in each set; rounding "
        f"{about['rounding']}; resize {about['resize']}; reference {about['reference']}. Distance of real images from "
        f"as many real images, which is bias alone: {numbers}."
    )


def _mean(found: Summary) -> Cell:
    return Cell(number(found["mean"]), "" if found["sd"] is None else f"± {number(found['sd'])}")


def _seeds(seeds: Sequence[int]) -> str:
    return f"seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}"


def _ablation_picture(summary: Summary) -> Mapping[str, str]:
    return {"fig4-ablation.png": "models that differ from GRAE≈ in one thing"} if summary["ablation"] else {}


SECTIONS: Mapping[str, Kind] = {
    "fig4": Kind(
        "Figure 4",
        "how good are samples, at every β?",
        {"fig4.png": "Fréchet distance, sharpness, reconstruction error and objective against β, for both models"},
        content,
        _ablation_picture,
    )
}
