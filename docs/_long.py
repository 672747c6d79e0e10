"""The long runs along training: ``results/long``."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
from _numbers import OTHER, bold, interval, num, read, side, table, thousands
from _numbers import setting as as_written

from curvae.reproduce.intervals import paired

_SHOWN = ("beta_vae", "taylor", "grae_full", "squared_error", "left_out", "nll")
_DIGITS = {"nll": 1}
_DISTANCES = {"frechet_prior": "FD, prior", "frechet_mixture": "FD, mixture"}
_THEN = "then 1000 steps as β-VAE"


def _summary() -> dict[str, Any]:
    return read("long/summary.json")


def cell(part: dict[str, Any], digits: int = 2) -> str:
    """With its interval over seeds, or ± its standard error over samples where there is one seed."""
    if part["low"] is None:
        return f"{num(part['value'], digits)} ± {num(part['se_samples'], digits)}"
    return interval(part, digits)


def ends(ways: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Where each way to train ends, of those of which a run is finished: the finished models alone have the NLL."""
    last = {way: steps[max(steps, key=int)] for way, steps in ways.items()}
    return {way: found for way, found in last.items() if "nll" in found}


def setting(place: int = 0) -> tuple[str, dict[str, Any], str]:
    """Of those with several ways to train the name, the ways, and the last step of its β-VAEs."""
    summary = _summary()
    name, ways = [each for each in summary["settings"].items() if len(each[1]) > 1][place]
    return name, ways, max(ways[summary["reference"]], key=int)


def lead(way: str, place: int = 0) -> dict[str, Any] | None:
    """One way to train less the β-VAE at the end of a setting, with the step; none that has not got there."""
    _, ways, last = setting(place)
    less = ways.get(way, {}).get(last, {}).get("less_reference")
    return None if less is None else {**less, "step": int(last)}


def leads(place: int) -> str:
    """Every way without the noise minus the β-VAE at the end of a setting."""
    keys = ("beta_vae", "taylor", "left_out", "grae_full", "squared_error")
    rows = [
        [way, str(less["beta_vae"]["seeds"]), *(interval(less[key]) for key in keys)]
        for way in setting(place)[1]
        if (less := lead(way, place)) is not None
    ]
    return table(["minus the β-VAE", "seeds", *(_summary()["measures"][key] for key in keys)], rows)


def told_apart(place: int = 0) -> list[str]:
    """What differs significantly between two of the ways without the noise at the end, paired by seed."""
    summary = _summary()
    first, _, last = setting(place)
    ends: dict[str, dict[int, Any]] = {}
    for run in summary["runs"]:
        if run["setting"] == first and last in run["steps"] and run["trained as"] != summary["reference"]:
            ends.setdefault(run["trained as"], {})[run["seed"]] = run["steps"][last]
    found = []
    for (one, left), (other, right) in combinations(ends.items(), 2):
        seeds = sorted(left.keys() & right.keys())
        for key in ("beta_vae", "taylor", "grae_full", "squared_error"):
            less = paired(np.array([left[seed][key]["mean"] - right[seed][key]["mean"] for seed in seeds]))
            if len(seeds) > 1 and side(less):
                found.append(f"{one} minus {other} in {summary['measures'][key]}: {interval(less)}")
    return found


def tables() -> str:
    """For each setting the ends, and the differences from the β-VAE early and at the end."""
    summary = _summary()
    parts = []
    for title, ways in summary["settings"].items():
        found = ends(ways)
        if summary["reference"] in found:
            parts += [f"**{as_written(title)}.**", _ends(found, _samples(title))]
            if len(found) > 1:
                parts.append(_differences(ways, found))
    return "\n\n".join(parts)


def distances(place: str = "long") -> dict[str, Any]:
    """How far samples of the finished models are from real digits."""
    return read(f"{place}/distances.json")


def distances_table(place: str = "long") -> str:
    """The Fréchet distances of each way's samples, and less those of the β-VAE of the same seed."""
    rows = []
    for way, found in distances(place)["ways"].items():
        less = found.get("less_reference")
        parts = [*((each, key, 0) for each in (found, less) for key in _DISTANCES), (found, "sharpness_prior", 3)]
        cells = ["" if part is None else _alone(part[key], digits) for part, key, digits in parts]
        rows.append([way, str(len(found["seeds"])), *cells])
    names = [*_DISTANCES.values(), "prior, minus the β-VAE's", "mixture, minus the β-VAE's", "sharpness"]
    return table(["after 20,000 steps", "seeds", *names], rows)


def farther(found: dict[str, Any]) -> str:
    """What the ways without the noise lose in samples, and what last steps as a β-VAE make of it."""
    ways = found["ways"]
    alone = [
        each["less_reference"] for way, each in ways.items() if "less_reference" in each and not way.endswith(_THEN)
    ]
    assert all(side(each[key]) > 0 for each in alone for key in _DISTANCES), OTHER
    assert all(side(each[f"sharpness_{z}"]) < 0 for each in alone for z in ("prior", "mixture")), OTHER
    last = ways[f"GRAE≈, one column on 1/4, {_THEN}"]["less_reference"]
    assert not any(side(last[key]) > 0 for key in _DISTANCES), OTHER
    ends = [
        " and ".join(num(ways[f"{way}, {_THEN}"][key]["value"], 0) for key in _DISTANCES)
        for way in ("GRAE≈, one column on 1/4", "β-VAE")
    ]
    return (
        f"Here every one of the {len(alone)} ways without the noise gives samples that are significantly farther from "
        "digits than the β-VAE's, and less sharp, from either density. After one column on 1/4, 1000 more steps as a "
        f"β-VAE make up for it: its distances are {ends[0]} then, the β-VAE's with as many more {ends[1]}."
    )


def _alone(part: dict[str, Any], digits: int) -> str:
    """With its interval over seeds; a number a model has no other."""
    return num(part["value"], digits) if part["low"] is None else interval(part, digits)


def _samples(title: str) -> dict[str, dict[str, Any]]:
    """What is known of the samples of each way to train in a setting."""
    stored = [distances(place) for place in ("long", "long/eighth")]
    return next((found["ways"] for found in stored if found["setting"] == title), {})


def _ends(found: dict[str, dict[str, Any]], samples: dict[str, dict[str, Any]]) -> str:
    """Every measure; bold where the interval of its difference from the β-VAE lies on one side of 0."""
    rows = []
    for way, end in found.items():
        cells = [_marked(end, key, _DIGITS.get(key, 2)) for key in _SHOWN]
        if samples:
            cells += [_marked(samples[way], key, 0) if way in samples else "" for key in _DISTANCES]
        rows.append([way, str(end["beta_vae"]["seeds"]), *cells])
    heads = [_summary()["measures"][key] for key in _SHOWN]
    return table(["trained as", "seeds", *heads, *(_DISTANCES.values() if samples else ())], rows)


def _marked(of: dict[str, Any], key: str, digits: int) -> str:
    text = cell(of[key], digits) if "se_samples" in of[key] else _alone(of[key], digits)
    return bold(text, (of.get("less_reference") or {}).get(key))


def _differences(ways: dict[str, Any], found: dict[str, dict[str, Any]]) -> str:
    """Of the same seed, at a tenth of the steps and at the end."""
    rows = []
    for way, end in found.items():
        if "less_reference" in end:
            last = max(ways[way], key=int)
            early = min((step for step in ways[way] if "less_reference" in ways[way][step]), key=_from_tenth(int(last)))
            for step in (early, last):
                less = ways[way][step]["less_reference"]
                cells = [cell(less[key]) if key in less else "" for key in _SHOWN]
                rows.append([f"{way}, {thousands(int(step))} steps", str(less["beta_vae"]["seeds"]), *cells])
    return table(["minus the β-VAE of the same seed", "seeds", *(_summary()["measures"][key] for key in _SHOWN)], rows)


def _from_tenth(last: int) -> Any:
    return lambda step: abs(int(step) - last / 10)


def made() -> str:
    """The commits of the runs, and how much was measured."""
    summary, scale = _summary(), _summary()["scale"]
    runs = summary["runs"]
    commits = ", ".join(f"`{commit[:7]}`" for commit in dict.fromkeys(run["commit"] for run in runs))
    finished = sum(run["finished"] for run in runs)
    clean = "clean" if all(run["clean"] for run in runs) else "not all clean"
    bias = [run["steps"][max(run["steps"], key=int)]["nll_bias"]["mean"] for run in runs if run["finished"]]
    return (
        f"{finished} finished runs of {len(runs)}, trained from {commits} ({clean}) on "
        f"{', '.join(dict.fromkeys(run['device'] for run in runs))}; {scale['finished']} held-out digits of finished "
        f"models, {scale['snapshot']} of those on the way, {scale['draws']} draws in (2); the importance-weighted NLL "
        f"is of {scale['nll']} digits with {scale['nll_draws']} draws, to first order at most {num(max(bias))} too high"
    )
