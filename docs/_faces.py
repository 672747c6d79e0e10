"""Figure 4 of longer training: faces at five β, and once with wider networks."""

from __future__ import annotations

from itertools import chain
from typing import Any

from _numbers import OTHER, RESULTS, bold, by_seed, interval, mean_sd, num, read, same_but, side, table, width

from curvae.reproduce.fig4.numbers import against_beta

LONGER = "fig4/longer"


def faces_summary(figure: str = "fig4") -> dict[str, Any]:
    """A summary of figure 4 over the β and seeds of all its calls; those of further β are in folders ``beta…``."""
    further = sorted(folder.name for folder in (RESULTS / figure).glob("beta*"))
    groups = [by_seed(figure), *(by_seed(f"{figure}/{name}") for name in further)]
    summary = groups[0][0]
    if sum(map(len, groups)) == 1:
        return summary
    for more, *_ in groups[1:]:
        assert same_but(summary, more, "betas"), "they differ in more than their β"
        summary["trained_under"] += more["trained_under"]
    measured = chain.from_iterable(_measured(calls).items() for calls in groups)
    found = dict(sorted(measured, key=lambda one: one[0][1]))  # by β
    return summary | against_beta(found) | {"betas": list(dict.fromkeys(beta for _, beta, _ in found))}


def _measured(calls: list[dict[str, Any]]) -> dict[tuple[str, float, int], dict[str, float]]:
    """Every measure by model, β and seed, of calls that differ in their seeds alone."""
    seeds = calls[0]["config"]["training"]["seeds"]
    return {
        (model, beta, seed): {key: values[key][row] for key in values}
        for model in calls[0]["models"]
        for column, beta in enumerate(calls[0]["betas"])
        for values in [_values(calls, model, column)]
        for row, seed in enumerate(seeds)
    }


def _values(calls: list[dict[str, Any]], model: str, column: int) -> dict[str, list[float]]:
    """Every measure of one model at one β, of all calls' seeds."""
    measures = calls[0]["models"][model]
    return {key: [one for call in calls for one in call["models"][model][key][column]["values"]] for key in measures}


def longer_table() -> str:
    """The same of longer training, with the distance of reconstructions, and the differences with their intervals."""
    summary = faces_summary(LONGER)
    measures = dict.fromkeys(("frechet_prior", "frechet_mixture", "frechet_reconstruction"), 0)
    measures |= {"sharpness_prior": 4, "mse": 5, "beta_vae": 1, "grae_full": 1}
    names = ["FD, z from the prior", "FD, z from a mixture", "FD, reconstructions", "sharpness"]
    names += ["squared error", "(2)", "(13)"]
    rows = []
    for index, beta in enumerate(summary["betas"]):
        for model, found in summary["models"].items():
            cells = [mean_sd(found[key][index], digits) for key, digits in measures.items()]
            rows.append([f"{model}, β = {beta:g}", *cells])
        apart = {key: summary["differences"][key][index] for key in measures}
        cells = [bold(interval(apart[key], digits), apart[key]) for key, digits in measures.items()]
        rows.append(["difference", *cells])
    return table(["", *names], rows)


def apart(*keys: str) -> str:
    """In how many cases, one a measure and β, the two differ significantly after longer training."""
    found = faces_summary(LONGER)["differences"]
    sides = [side(part) for key in keys for part in found[key]]
    return f"{sum(map(abs, sides))} of {len(sides)}"


def times_real(measure: str) -> list[float]:
    """A Fréchet distance of each longer trained model over that of real images, means over seeds."""
    summary = faces_summary(LONGER)
    real = summary["frechet"]["of_training_images"]
    return [each["mean"] / real for found in summary["models"].values() for each in found[measure]]


def wider() -> str:
    """What wider networks change at one β, beside the same seed of the narrower ones."""
    wide, own = read(f"{LONGER}/wider/summary.json"), read(f"{LONGER}/summary.json")
    assert same_but(wide, own, "width", "betas"), "they differ in more than their width"
    ((beta,), (seed,)) = wide["betas"], wide["config"]["training"]["seeds"]
    column, real = own["betas"].index(beta), own["frechet"]["of_training_images"]
    measures = {"frechet_prior": "z from the prior", "frechet_mixture": "from a mixture"}
    measures |= {"frechet_reconstruction": "reconstructions"}
    found = []
    for model, measured in wide["models"].items():
        times = {
            key: (measured[key][0]["mean"] / real, own["models"][model][key][column]["mean"] / real) for key in measures
        }
        assert all(less < more for less, more in times.values()), OTHER
        assert times["frechet_reconstruction"][0] < 3.5 < times["frechet_mixture"][0], OTHER
        parts = [f"{measures[key]} {num(less, 1)} ({num(more, 1)})" for key, (less, more) in times.items()]
        found.append(f"{model}: {', '.join(parts)}")
    return (
        f"**With networks × {width(wide['config']['training']['width'])}** (β = {beta:g}, seed {seed} alone, "
        f"`results/{LONGER}/wider`) the distances are so many times those of real images, in brackets with the same "
        f"seed and β of those above: {'; '.join(found)}. So it takes wider networks for reconstructions, which are "
        "nearly at three times here, and for samples also codes whose density is better known than by the prior or a "
        "mixture."
    )
