"""What the page says of table 1 and figure 4: numbers with intervals, and the findings in sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from curvae.report.grids import Cell, Content, Grid, Line, in_line, interval, number, sign

Summary = Mapping[str, Any]

_VAE, _GRAE = "β-VAE", "GRAE≈"
_DISTANCES = {"frechet_prior": "from the prior", "frechet_mixture": "from a mixture fitted to the codes"}
_OTHERS = ("sharpness_prior", "sharpness_mixture", "mse", "beta_vae", "taylor", "grae", "grae_full", "seconds")
_ABLATED = ("frechet_prior", "frechet_mixture", "sharpness_prior", "mse", "grae_full")


def samples(summary: Summary) -> Content:
    """Table 1."""
    heads = (f"squared error, {_VAE}", _GRAE, f"sharpness of samples, {_VAE}", _GRAE)
    rows = tuple(
        Line(
            f"β = {one['beta']:g}",
            tuple(Cell(number(one["models"][name][key])) for key in ("mse", "sharpness") for name in (_VAE, _GRAE)),
        )
        for one in summary["settings"]
    )
    errors = [one["models"][_GRAE]["mse"] / one["models"][_VAE]["mse"] - 1 for one in summary["settings"]]
    found = (
        f"Against the {_VAE} of the same β, {_GRAE} reconstructs held-out images with {_percent(errors)} the squared "
        "error; whether its samples are as good is for the eye here, and for figure 4 in numbers.",
    )
    return Content(found, (Grid("The pictured models", heads, rows),), {"rows": summary["rows"]})


def quality(summary: Summary) -> Content:
    """Figure 4."""
    betas, about = summary["betas"], summary["frechet"]
    grids = [_distance(summary, key, title) for key, title in _DISTANCES.items()]
    heads = tuple(title for key in _OTHERS for title in (f"{summary['measures'][key]}, {_VAE}", _GRAE))
    rows = tuple(
        Line(
            f"β = {beta:g}",
            tuple(_mean(summary["models"][name][key][k]) for key in _OTHERS for name in (_VAE, _GRAE)),
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
        "one_seed": len(summary["models"][_VAE]["mse"][0]["values"]) == 1,
    }
    return Content(_findings(summary), tuple(grids), words)


def _distance(summary: Summary, key: str, title: str) -> Grid:
    heads = (_VAE, _GRAE, "difference", "spread of seeds", "gap ÷ spread")
    rows = []
    for k, beta in enumerate(summary["betas"]):
        both = [_mean(summary["models"][name][key][k]) for name in (_VAE, _GRAE)]
        difference = summary["differences"][key][k]
        cell = interval(difference, signed=True)
        answer = summary["within_spread"][key][k]
        ratio = Cell(number(answer["ratio"]), strong=answer["within"] is False)
        strong = Cell(cell.text, cell.detail, sign(difference) != 0)
        rows.append(Line(f"β = {beta:g}", (*both, strong, Cell(number(answer["spread"])), ratio)))
    return Grid(f"Fréchet distance, z {title}", heads, tuple(rows))


def _ablation(summary: Summary) -> Grid:
    found, measures = summary["ablation"], summary["measures"]
    rows = tuple(
        Line(name, tuple(_against(measured[key], name == found["reference"]) for key in _ABLATED))
        for name, measured in found["models"].items()
    )
    heads = tuple(measures[key] for key in _ABLATED)
    caption = f"β = {found['beta']:g}, {_seeds(found['seeds'])}; below, the difference from {found['reference']}"
    return Grid(caption, heads, rows)


def _against(found: Summary, reference: bool) -> Cell:
    if reference:
        return Cell(number(found["mean"]))
    cell = interval(found["difference"], signed=True)
    return Cell(number(found["mean"]), f"{cell.text} {cell.detail}".rstrip(), sign(found["difference"]) != 0)


def _findings(summary: Summary) -> tuple[str, ...]:
    betas, about = summary["betas"], summary["frechet"]
    found = [
        f"z {title}: the distances of {_GRAE} and {_VAE} are {summary['answer'][key]}."
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
            f"z {title}: {_GRAE} less {_VAE}, paired by seed, is {sure} with its whole 95 % interval; the largest "
            f"difference is {in_line(differences[largest])}, at β = {betas[largest]:g}."
        )
    best = min(range(len(betas)), key=lambda k: summary["models"][_VAE]["frechet_prior"][k]["mean"])
    found.append(
        f"Real images score {number(about['of_training_images'])}, the best {_VAE} "
        f"{number(summary['models'][_VAE]['frechet_prior'][best]['mean'])} (β = {betas[best]:g}); real images have "
        f"sharpness {number(summary['sharpness_of_real_images'])}, its samples "
        f"{number(summary['models'][_VAE]['sharpness_prior'][best]['mean'])}."
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


def _percent(shares: Sequence[float]) -> str:
    """Relative changes as factors, in words.

    Example:
        >>> _percent([0.1, -0.05])
        '0.95 to 1.1 times'
    """
    low, high = (number(1 + value) for value in (min(shares), max(shares)))
    return f"{low} times" if low == high else f"{low} to {high} times"


def _seeds(seeds: Sequence[int]) -> str:
    return f"seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}"
