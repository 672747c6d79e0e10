"""What the penalty does to the first stage of a latent diffusion model: tables from ``results/first_stage/``."""

from __future__ import annotations

import math
import statistics
from typing import Any

from _numbers import num, percent, read, table

LESS, APART, COST = 0.3, 0.1, 1.15
"""The goal: so much less decode error, PSNR within so many dB, at so many steps' cost."""


def summary() -> dict[str, Any]:
    """All of it."""
    return read("first_stage/summary.json")


def _title(way: str) -> str:
    return "KL 10⁻⁶" if way == "KL" else way


def _over_seeds(values: list[float], digits: int) -> str:
    """Mean, and standard error where there are several."""
    text = num(statistics.mean(values), digits)
    if len(values) == 1:
        return text
    return f"{text} ± {num(statistics.stdev(values) / math.sqrt(len(values)), digits)}"


def measures() -> str:
    """Every measure of every way."""
    found = summary()
    level = found["headline_level"]
    rows = {
        "PSNR, dB": (lambda run: run["psnr"], 2),
        **{
            f"decode error at noise {each}, × 10⁻³": (lambda run, each=each: 1e3 * run["decode_error"][each], 2)
            for each in found["runs"]["KL"][0]["decode_error"]
        },
        "error to the image, × 10⁻³": (lambda run: 1e3 * run["error_to_image"]["0"], 1),
        f"the same at noise {level}": (lambda run: 1e3 * run["error_to_image"][level], 1),
        "roughness of interpolations": (lambda run: run["roughness"], 2),
        "Fréchet distance of reconstructions": (lambda run: run["frechet"]["0"], 0),
        f"the same, decoded at noise {level}": (lambda run: run["frechet"][level], 0),
    }
    lines = [
        [name, *(_over_seeds([value(run) for run in found["runs"][way]], digits) for way in found["runs"])]
        for name, (value, digits) in rows.items()
    ]
    return table(["", *map(_title, found["runs"])], lines)


def costs() -> str:
    """Of a step, in KL's."""
    texts = []
    for way, part in list(summary()["step_cost"].items())[1:]:
        quartiles = f"quartiles {num(part['low'])} to {num(part['high'])}; {num(part['operations'])} by operations"
        texts.append(f"{num(part['ratio'])} with {way.partition(' ')[0]} ({quartiles})")
    return ", ".join(texts)


def less(way: str) -> float:
    """By which share the decode error at the headline level is below KL's."""
    return 1 - math.exp(summary()["against_kl"][way]["log_decode_error"]["value"])


def against() -> str:
    """Differences to KL, paired by seed, with 95 % intervals where there are seeds for it."""
    rows = []
    for way, part in summary()["against_kl"].items():
        error, psnr = part["log_decode_error"], part["psnr"]
        cells = [percent(math.exp(error["value"]) - 1, 0), num(psnr["value"])]
        if error["low"] is not None:
            cells[0] += f" ({percent(math.exp(error['low']) - 1, 0)} to {percent(math.exp(error['high']) - 1, 0)})"
            cells[1] += f" ({num(psnr['low'])} to {num(psnr['high'])})"
        rows.append([way, *cells])
    return table(["against KL", f"decode error at noise {summary()['headline_level']}", "PSNR, dB"], rows)


def cost() -> float:
    """Of a step with the penalty."""
    return next(part["ratio"] for way, part in summary()["step_cost"].items() if way.startswith("penalty"))


def psnr(way: str) -> float:
    """Above KL's."""
    return summary()["against_kl"][way]["psnr"]["value"]


def mean(way: str, measure: str, level: str) -> float:
    """Over seeds."""
    return statistics.mean(run[measure][level] for run in summary()["runs"][way])


def reached() -> bool:
    """Whether the penalty reaches the goal."""
    ways = [way for way in summary()["against_kl"] if way.startswith("penalty")]
    return cost() <= COST and any(less(way) >= LESS and psnr(way) >= -APART for way in ways)
