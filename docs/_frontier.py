"""Which objective for which purpose, at which cost: ``results/frontier`` with the long runs and the costs of steps."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain
from typing import Any

import _bench
import _long
from _numbers import counted, num, read, side, table, thousands

from curvae._extras import listed

_SHOWN = {"beta_vae": "(2)", "taylor": "(7)", "grae_full": "(13)"}
VAE, COLUMN, QUARTER = "β-VAE", "GRAE≈, one column", "GRAE≈, one column on 1/4"
EIGHTH = "frontier/eighth"
Cost = Callable[[str], float]

_MEASURES = {**_SHOWN, "squared_error": "squared error term", "nll": "NLL"}


def _ways(folder: str = "frontier") -> list[dict[str, Any]]:
    return read(f"{folder}/continued.json")["ways"]


def continued(
    first: str, then: str | None, steps: int = 0, head: str | None = None, folder: str = "frontier"
) -> dict[str, Any]:
    """The end of long runs of one kind, or what was trained from there, over seeds."""
    (found,) = (
        way
        for way in _ways(folder)
        if (way["first"], way["then"], way["more_steps"], way.get("head")) == (first, then, steps, head)
    )
    return found


def less(part: dict[str, Any], measure: str) -> str:
    """One measure of a difference, with its interval."""
    return _long.cell(part[measure])


def less_vae(way: dict[str, Any], measure: str) -> str:
    """One measure less that of the β-VAE of the same seeds after its long training."""
    return less(way["less_reference"], measure)


def scratch(way: str) -> dict[str, Any]:
    """The first seed of one way to train from the start."""
    return next(run for run in read("frontier/summary.json")["from_scratch"]["runs"] if run["way"] == way)


def _value(part: dict[str, float], sign: bool = False) -> str:
    plus = "+" if sign and part["mean"] > 0 else ""
    return f"{plus}{num(part['mean'])} ± {num(part['se'])}"


def continued_scale(folder: str = "frontier") -> str:
    """How much was measured, from which commits."""
    found = read(f"{folder}/continued.json")
    scale, commits = found["scale"], dict.fromkeys(commit[:7] for commit in found["runs"].values())
    own = found["evaluated"]["commit"][:7]
    return (
        f"{scale['finished']} digits, NLL of {scale['nll']}; rate {found['rate']}; long runs from "
        f"{', '.join(f'`{commit}`' for commit in commits)}, continued and measured by `{own}`"
    )


def continued_table() -> str:
    """What more steps of another objective make of models that are trained to the end, less the β-VAE's ends."""
    rows = []
    for way in sorted(filter(_in_table, _ways()), key=_order):
        what = f"then {way['more_steps']} steps as {way['then']}" if way["then"] else "20,000 steps"
        head = ", head as initialised" if way.get("head") == "as initialised" else ""
        cells = [less_vae(way, key) for key in _MEASURES]
        seeds = way["less_reference"]["beta_vae"]["seeds"]
        rows.append([f"{way['first']}, {what}{head}", str(seeds), *cells])
    return table(["trained as", "seeds", *_MEASURES.values()], rows)


def _in_table(way: dict[str, Any]) -> bool:
    """All ends and 1000 more steps; 300 steps, for the controls that have no more, of one column alone."""
    return "less_reference" in way and (way["more_steps"] != 300 or way["first"] == COLUMN)


def _order(way: dict[str, Any]) -> tuple[Any, ...]:
    return way["first"] == VAE, way["first"], way["more_steps"], way["then"] != VAE, way.get("head") == "as initialised"


def widths_table() -> str:
    """(2) by the rule that finds the widths, and the differences from the β-VAE's by the same rule."""
    found = read("frontier/summary.json")["widths"]
    rows = [
        [
            way,
            *(
                _value(part[rule], sign) if rule in part else ""
                for part, sign in parts
                for rule in ("(11)", "differences")
            ),
        ]
        for way, parts in (
            (way, ((part, False), (found["less_vae"].get(way, {}), True))) for way, part in found["rows"].items()
        )
    ]
    return table(
        [
            "after 20,000 steps",
            "(2) at (11)",
            "(2) at second differences",
            "(11), minus the β-VAE's",
            "differences, minus the β-VAE's",
        ],
        rows,
    )


def seen_table() -> str:
    """How much of the cost of noise each expansion sees."""
    rows = read("frontier/summary.json")["seen"]["rows"]
    names = ("(7)", "secants", "(4)", "(2)")
    return table(
        ["model after 20,000 steps", *names],
        [[way, *(num(found[name], 3) for name in names)] for way, found in rows.items()],
    )


def noise_table() -> str:
    """The noise of one step's gradient, for the estimators of (2)."""
    rows = read("frontier/summary.json")["gradient_noise"]["rows"]
    names = ("one draw", "two draws", "an antithetic pair", "(7), one column", "(7), one secant")
    cells = [
        [f"{thousands(int(way.split()[0]))} steps", *(num(found[name]) for name in names)]
        for way, found in rows.items()
    ]
    return table(["a β-VAE after", *names], cells)


def lead(way: str) -> str:
    """(2), (7) and (13) less the β-VAE's of the same seeds at the end of the long runs, where a run has got there."""
    less = _long.lead(way)
    return "not measured" if less is None else _led(less)


def last_lead(way: str) -> str:
    """The same after 1000 more steps as a β-VAE."""
    return _led(continued(way, VAE, 1000, "fitted")["less_reference"])


def _led(less: dict[str, Any]) -> str:
    """The three differences, and over how many seeds."""
    return f"{', '.join(num(less[key]['value']) for key in _SHOWN)} ({less['beta_vae']['seeds']})"


def equal_time(first: str, name: str, folder: str = "frontier", cost: Cost = _bench.cost) -> dict[str, Any]:
    """GRAE first and the β-VAE last, less a β-VAE of about as many steps as the same time pays for.

    Args:
        first: how the first 20,000 steps were trained.
        name: of its cost.
        folder: of the networks' width.
        cost: in steps of a β-VAE.
    """
    way = continued(first, VAE, 1000, "fitted", folder)
    paid = 20_000 * cost(name) + way["more_steps"]
    steps = min(way["less_longer"], key=lambda each: abs(int(each) - paid))
    return {"paid": paid, "steps": int(steps), "less": way["less_longer"][steps]}


def wider() -> dict[str, Any]:
    """The same with 1/4 of the batch and networks twice as wide."""
    return equal_time(QUARTER, _bench.QUARTER, EIGHTH, _bench.small_cost)


def wider_alone() -> dict[str, Any]:
    """The same without the last steps as a β-VAE: further behind than with the narrower networks, as the page says."""
    steps = str(wider()["steps"])
    narrow, wide = (continued(QUARTER, None, folder=folder)["less_longer"][steps] for folder in ("frontier", EIGHTH))
    assert narrow["beta_vae"]["high"] < wide["beta_vae"]["low"], "the page says more than was measured: write another"
    return dict(wide)


def equal_time_table() -> str:
    """Both ways to begin, and the cheaper one with networks twice as wide."""
    rows = []
    for width, first, found in (
        ("1/16", COLUMN, equal_time(COLUMN, _bench.COLUMN)),
        ("1/16", QUARTER, equal_time(QUARTER, _bench.QUARTER)),
        ("1/8", QUARTER, wider()),
    ):
        cells = [less(found["less"], key) for key in _MEASURES]
        steps = [thousands(round(each)) for each in (found["paid"], found["steps"])]
        rows.append([f"× {width}", first, *steps, str(found["less"]["nll"]["seeds"]), *cells])
    heads = ["networks", "first trained as", "costs as many steps", "minus a β-VAE of", "seeds"]
    return table([*heads, *_MEASURES.values()], rows)


def precisions() -> str:
    """What long runs of another precision end at, less those of the same seeds in float32."""
    said, objectives = [], []
    parts = [read(f"frontier/{name}continued.json")["precisions"] for name in ("", "precision/")]
    for each in chain(*parts):
        less = each["less_main"]
        objectives += [abs(less[key]["value"]) for key in ("beta_vae", "taylor", "grae_full")]
        values = listed([f"{_long.cell(less[key], 3)} in {_MEASURES[key]}" for key in ("beta_vae", "grae_full", "nll")])
        said.append(f"{each['way']} {values}, {counted(less['beta_vae']['seeds'], 'seed')}")
    return f"{'; '.join(said)}. No objective ends farther than {num(max(objectives))} from float32's"


def significantly(less: dict[str, Any]) -> str:
    """In words, in which measures a difference from another model is significantly better, and in which worse."""
    said = []
    for word, way in (("ahead", -1), ("behind", 1)):
        names = [
            name if name.startswith("(") else f"the {name}" for key, name in _MEASURES.items() if side(less[key]) == way
        ]
        said += [f"{word} in {listed(names)}"] if names else []
    return f"it is significantly {listed(said)}" if said else "no difference is significant"


def cost(way: str) -> str:
    """Measured steps of a β-VAE."""
    return num(_bench.cost(way))
