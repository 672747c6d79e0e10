"""What became of the paper's claims: one small rule for each figure, on the numbers in ``results/``."""

from __future__ import annotations

from typing import Any

from _blocks import beyond_orders
from _numbers import interval, num, read, side, span

from curvae._extras import listed

SHOWN, PARTLY, NOT_SHOWN, OTHER = "shown", "partly", "not shown", "other than the paper says"
Judged = tuple[str, str]
"""The statistic as text, and the verdict."""
# Fréchet distances of real images: samples that are further away are no such images yet
_TIMES_REAL = 3
# a tenth of a factor's entropy: below it no latent stands for a factor, and there is nothing to compare
DISENTANGLED = 0.1
NONE = "none of the scores"


def _of(count: int, total: int) -> str:
    return SHOWN if count == total else PARTLY if count else NOT_SHOWN


def uniqueness(summary: dict[str, Any]) -> Judged:
    """For each ν: with diagonal Σ, are significantly more long runs within 2° of the true latents than with full Σ?

    Shown if so for all, and significantly of most runs; partly if for some. If for none, but of the ELBO's own optimum
    in the place of the true latents for all, the latents are unique elsewhere than the paper says.
    """
    panels = summary["panels"]
    kind = "unamortised" if any("unamortised" in name for name in panels) else "amortised"
    names = [each for each in ("identity", "tanh", "sigmoid", "elu") if f"{each}-diagonal-orthogonal-{kind}" in panels]

    def more_often(target: str, least: float = 0) -> list[str]:
        found = []
        for name in names:
            both = [panels[f"{name}-{family}-orthogonal-{kind}"].get(target) for family in ("diagonal", "full")]
            diagonal, full = (None if part is None else part["converged"]["within"] for part in both)
            if diagonal is not None and full is not None and diagonal["low"] > max(full["high"], least):
                found.append(f"{name} {interval(diagonal, 0, 100)} % against {interval(full, 0, 100)} %")
        return found

    true, optimum = more_often("to_true_latents"), more_often("to_elbo_optimum")
    text = f"within 2° of the true latents more often than with full Σ for {len(true)} of {len(names)} ν"
    text += f": {'; '.join(true)}" if true else ""
    text += f"; within 2° of the ELBO's optimum for {len(optimum)} of {len(names)}" if optimum else ""
    if not true and len(optimum) == len(names):
        return text, OTHER
    return text, SHOWN if len(more_often("to_true_latents", 0.5)) == len(names) else PARTLY if true else NOT_SHOWN


def funnels(summary: dict[str, Any]) -> Judged:
    """In how many panels of one W and data set does the spread of the angle close at the top of the ELBO's axis?

    It closes if the quarter of runs with the highest ELBO lies significantly nearer to the optimum than the quarter
    with the lowest, and significantly within 2° of it on average. Shown if so with diagonal Σ in every panel and with
    full Σ in none; partly if with diagonal Σ in more panels than with full Σ.
    """
    within = summary["within_degrees"]
    families: dict[str, list[dict[str, Any]]] = {"diagonal": [], "full": []}
    for name, panel in summary["panels"].items():
        if "one_w" in panel:
            families[name.split("-")[1]].append(panel)

    def closed(family: str) -> int:
        found = [panel["to_elbo_optimum"] for panel in families[family]]
        return sum(part["worst_minus_best"]["low"] > 0 and part["best_quarter"]["high"] < within for part in found)

    def widest(family: str) -> str:
        return interval(max((p["to_elbo_optimum"]["best_quarter"] for p in families[family]), key=lambda q: q["value"]))

    total, diagonal, full = len(families["diagonal"]), closed("diagonal"), closed("full")
    angles = [panel["one_w"]["optimum_to_true_latents"] for panel in families["diagonal"]]
    near = sum(abs(angle) < within for angle in angles)
    text = (
        f"one W and data set a panel: the funnel closes in {diagonal} of {total} panels with diagonal Σ and in {full} "
        "with full Σ; mean distance from the optimum in the quarter with the highest ELBO at most "
        f"{widest('diagonal')}° and {widest('full')}°; it closes on {num(min(angles), 0)}° to {num(max(angles), 0)}° "
        f"from the true latents, within 2° of them in {near}"
    )
    verdict = PARTLY if diagonal > full else NOT_SHOWN
    return text, SHOWN if (diagonal, full) == (total, 0) else verdict


def blocks(summary: dict[str, Any]) -> Judged:
    """In how many settings is the share inside the blocks beyond 95 % of random orders of the latents, every seed?

    Of one seed partly at most: what it shows may be its own.
    """
    settings = summary["settings"]
    beyond = sum(map(beyond_orders, settings))
    above = [one["share_above"]["diagonal"] for each in settings for one in each["seeds"]]
    low, high = (pick(above, key=lambda part: part["value"]) for pick in (min, max))
    text = (
        f"beyond 95 % of random orders of the latents, every seed, in {beyond} of {len(settings)} settings; share in "
        f"the blocks minus that with diagonal Σ: {interval(low)} to {interval(high)}"
    )
    verdict = _of(beyond, len(settings))
    return text, PARTLY if verdict == SHOWN and len(settings[0]["seeds"]) == 1 else verdict


def curves(summary: dict[str, Any]) -> Judged:
    """Are both gaps significantly below 5 % of (7) at every β and b, and smaller at the smallest β than the largest?"""

    def shares(gap: str) -> list[list[dict[str, float]]]:
        found = []
        for block in (block for blocks in summary["seeds"] for block in blocks.values()):
            taylor, gaps = block["objectives"][-1]["taylor"], block["gaps"][-1][gap]
            pairs = zip(gaps, taylor, strict=True)
            found.append([{key: 100 * part[key] / all_["value"] for key in part} for part, all_ in pairs])
        return found

    left_out, price = shares("(2) − (7)"), shares("(7) − (13)")
    every = [part for block in (*left_out, *price) for part in block]
    small = all(max(abs(part["low"]), abs(part["high"])) < 5 for part in every)
    smallest_first = all(abs(block[0]["value"]) < abs(block[-1]["value"]) for block in (*left_out, *price))
    worst = [max((p for block in gap for p in block), key=lambda part: abs(part["value"])) for gap in (left_out, price)]
    text = (
        f"largest share of (7): {interval(worst[0], 1)} % for (2) − (7), {interval(worst[1], 1)} % for (7) − (13); "
        f"{'' if smallest_first else 'not '}smallest at the smallest β for every b and seed"
    )
    return text, _of(small + smallest_first, 2)


def distances(summary: dict[str, Any]) -> Judged:
    """Are the samples faces (at most three times the distance of real images), and do the models then agree?"""
    real = summary["frechet"]["of_training_images"]
    times = {key: min(each["mean"] for each in found) / real for key, found in summary["models"]["β-VAE"].items()}
    answers = [each["within"] for part in summary["within_spread"].values() for each in part]
    differences = summary["differences"]["frechet_prior"]
    apart = sum(side(part) != 0 for part in differences)
    worst = max(differences, key=lambda part: abs(part["value"]))
    text = (
        f"GRAE≈ within the spread of the seeds in {sum(answers)} of {len(answers)} cases; z from the prior, the "
        f"largest difference from the β-VAE's is {interval(worst, 0)}, significant at {apart} of {len(differences)} β; "
        f"the β-VAE's own distance is at least {num(times['frechet_prior'], 1)} times that of real images"
    )
    if drawn := times.get("frechet_reconstruction"):
        text += f", that of its reconstructions {num(drawn, 1)}"
    return text, NOT_SHOWN if times["frechet_prior"] > _TIMES_REAL else _of(sum(answers), len(answers))


def digits(found: dict[str, Any], way: str = "GRAE≈, one column") -> Judged:
    """The same of digits after long training, at one β: are the distances of GRAE≈ within the intervals of zero?"""
    ways, real = found["ways"], found["frechet"]["of_training_images"]
    less = [ways[way]["less_reference"][key] for key in ("frechet_prior", "frechet_mixture")]
    times = ways["β-VAE"]["frechet_prior"]["value"] / real
    text = (
        f"minus the β-VAE's: {interval(less[0], 0)} with z from the prior, {interval(less[1], 0)} with z from a "
        f"mixture; the β-VAE's own distance is {num(times, 1)} times that of real images"
    )
    if drawn := ways["β-VAE"].get("frechet_reconstruction"):
        text += f", that of its reconstructions {num(drawn['value'] / real, 1)}"
    return text, NOT_SHOWN if times > _TIMES_REAL else _of(
        sum(part["low"] < 0 < part["high"] for part in less), len(less)
    )


def samples(summary: dict[str, Any]) -> Judged:
    """At how many β are both models' samples a third as sharp as real images, and GRAE≈'s as sharp as the β-VAE's?

    Partly at most where one model of each kind was trained, which says nothing of the next.
    """
    real = read("fig4/summary.json")["sharpness_of_real_images"]
    pairs = [[each["models"][name]["sharpness"] for name in ("β-VAE", "GRAE≈")] for each in summary["settings"]]
    ratios, shares = [grae / vae for vae, grae in pairs], [min(pair) / real for pair in pairs]
    good = sum(ratio > 0.9 and share >= 1 / 3 for ratio, share in zip(ratios, shares, strict=True))
    text = (
        f"sharpness of GRAE≈'s samples ÷ β-VAE's {span(ratios)} (one model of each, no "
        f"interval); the less sharp of the two has {span([100 * share for share in shares], 0)} % of real images'"
    )
    return text, PARTLY if good else NOT_SHOWN


def disentangled(summary: dict[str, Any]) -> Judged:
    """Is MIG significantly higher with diagonal Σ, for every objective, and where columns are orthogonal?"""
    names = {"vae": "β-VAE", "grae": "GRAE"}
    less = {names[key]: scores["mig"] for key, scores in summary["diagonal_less_full"].items()}
    highest = highest_mig(summary)
    correlation = summary["orthogonality"]["mig"]
    higher = sum(part["low"] > 0 for part in less.values())
    text = (
        f"MIG with diagonal Σ minus that with full Σ: {', '.join(f'{n} {interval(p, 3)}' for n, p in less.items())}; "
        f"rank correlation of MIG with the columns' mean absolute cosine {interval(correlation)}; highest mean MIG of "
        f"any model {num(highest)} of 1"
    )
    if higher == len(less) and correlation["high"] < 0 and highest > DISENTANGLED:
        return text, SHOWN
    return text, PARTLY if higher and highest > DISENTANGLED else NOT_SHOWN


def highest_mig(summary: dict[str, Any]) -> float:
    """The highest mean over seeds of any model at any β."""
    return float(max(part["value"] for model in summary["models"].values() for part in model["mig"]))


def significantly_higher(summary: dict[str, Any], difference: str, sign: int = 1) -> str:
    """In words, the scores in which models with diagonal Σ differ from others significantly and with this sign."""
    names = {score: name.removeprefix("DCI: ") for score, name in summary["measures"].items()}
    found = [
        f"{names[score]} ({'GRAE' if 'grae' in model else 'β-VAE'}: {interval(part, 3)})"
        for model, scores in summary[difference].items()
        for score, part in scores.items()
        if side(part) == sign
    ]
    return listed(found) if found else NONE
