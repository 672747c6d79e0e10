"""What the penalty does to the first stage of a latent diffusion model: tables from ``results/first_stage/``."""

from __future__ import annotations

import math
import statistics
from typing import Any

from _numbers import num, percent, read, table

NAMES = {"KL": "KL 10⁻⁶", "noise": "with latent noise", "penalty": "with the penalty"}
LESS, APART, COST = 0.3, 0.1, 1.15
"""The goal: so much less decode error, PSNR within so many dB, at so many steps' cost."""


def summary() -> dict[str, Any]:
    """All of it."""
    return read("first_stage/summary.json")


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
        [name, *(_over_seeds([value(run) for run in found["runs"][way]], digits) for way in NAMES)]
        for name, (value, digits) in rows.items()
    ]
    cost = ["processor time of a step ÷ KL's (quartiles)"]
    for way in NAMES:
        part = found["step_cost"][way]
        cost.append(f"{num(part['ratio'])} ({num(part['low'])} to {num(part['high'])})")
    return table(["", *NAMES.values()], [*lines, cost])


def less(way: str) -> float:
    """By which share the decode error at the headline level is below KL's."""
    return 1 - math.exp(summary()["against_kl"][way]["log_decode_error"]["value"])


def against() -> str:
    """Differences to KL, paired by seed, with 95 % intervals where there are seeds for it."""
    rows = []
    for way in ("noise", "penalty"):
        part = summary()["against_kl"][way]
        error, psnr = part["log_decode_error"], part["psnr"]
        cells = [percent(math.exp(error["value"]) - 1, 0), num(psnr["value"])]
        if error["low"] is not None:
            cells[0] += f" ({percent(math.exp(error['low']) - 1, 0)} to {percent(math.exp(error['high']) - 1, 0)})"
            cells[1] += f" ({num(psnr['low'])} to {num(psnr['high'])})"
        rows.append([NAMES[way], *cells, num(summary()["step_cost"][way]["ratio"])])
    level = summary()["headline_level"]
    return table(["less KL's", f"decode error at noise {level}", "PSNR, dB", "cost of a step"], rows)


def reached() -> dict[str, bool]:
    """Which parts of the goal the penalty reaches."""
    part = summary()["against_kl"]["penalty"]
    return {
        "error": less("penalty") >= LESS,
        "psnr": abs(part["psnr"]["value"]) <= APART,
        "cost": summary()["step_cost"]["penalty"]["ratio"] <= COST,
    }
