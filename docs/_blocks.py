"""Figures 2 and 7: how much of the decoder's curvature lies inside the blocks of Σ."""

from __future__ import annotations

from typing import Any

from _numbers import by_seed, made_by, num, span, table, thousands, wider

KINDS = ("blocks", "diagonal", "autoencoder")
_PANEL = ("beta", "latents", "block")


def summary_of(figure: str) -> dict[str, Any]:
    """A summary; each setting has a list of ``seeds``."""
    summary, *others = by_seed(figure)
    for setting in summary["settings"]:
        setting["seeds"] = [dict(setting)]
    for other in others:
        for setting, again in zip(summary["settings"], other["settings"], strict=True):
            assert all(setting[key] == again[key] for key in _PANEL)
            setting["seeds"].append(again)
    return summary


def _models(summary: dict[str, Any]) -> list[dict[str, Any]]:
    """Each setting with each seed."""
    return [one for setting in summary["settings"] for one in setting["seeds"]]


def table_of(figure: str) -> str:
    """How much of the decoder's curvature lies inside the blocks of Σ."""
    rows = []
    for setting in summary_of(figure)["settings"]:
        seeds = setting["seeds"]
        p_values = [order["p_value"] for one in seeds for order in one["permuted"]["blocks"]]
        rows.append([
            f"β = {setting['beta']}, d = {setting['latents']}, b = {setting['block']}",
            *(", ".join(num(one["share"][name]["value"]) for one in seeds) for name in KINDS),
            num(setting["share_by_chance"]), ", ".join(f"{p:.2g}" for p in p_values),
        ])  # fmt: skip
    head = ["", "blocks in Σ", "diagonal Σ", "plain autoencoder", "chance", "p, latents permuted"]
    return table(head, rows)


def shares_width(figure: str) -> str:
    """The largest half-width of the intervals over images of the table's shares."""
    parts = [one["share"][name] for one in _models(summary_of(figure)) for name in KINDS]
    return num(max(max(part["high"] - part["value"], part["value"] - part["low"]) for part in parts), 3)


def beyond_orders(setting: dict[str, Any]) -> bool:
    """Whether the share inside the blocks is beyond 95 % of random orders of the latents, with every seed."""
    return all(map(_beyond, setting["seeds"]))


def _beyond(one: dict[str, Any]) -> bool:
    return all(order["p_value"] < 0.05 for order in one["permuted"]["blocks"])


def found(figure: str) -> dict[str, str]:
    """In how many settings the blocks show, by which measure, and how near Σ⁻¹ has come to (11) along training."""
    summary = summary_of(figure)
    settings, seeds = summary["settings"], len(summary["config"]["training"]["seeds"])
    models = _models(summary)
    along = [one["along_training"] for one in models]
    first, last = ([steps[at]["distance_in_structure"]["blocks"]["value"] for steps in along] for at in (0, -1))

    def count(true: Any) -> str:
        return f"{sum(all(map(true, setting['seeds'])) for setting in settings)} of {len(settings)}"

    return {
        "above_diagonal": count(lambda part: part["share_above"]["diagonal"]["low"] > 0),
        "above_chance": count(lambda part: part["share"]["blocks"]["low"] > part["share_by_chance"]),
        "beyond_orders": f"{sum(map(beyond_orders, settings))} of {len(settings)}",
        "models_beyond": f"{sum(map(_beyond, models))} of {len(models)}",
        "steps": thousands(along[0][-1]["step"]),
        "seeds": "one seed" if seeds == 1 else f"{seeds} seeds",
        "first_step": str(along[0][0]["step"]),
        "first": span(first),
        "last": span(last),
    }


def wider_found() -> str:
    """Figure 7 with networks twice as wide: how the share stands to the figure's own, and where it goes."""
    figure = "fig7/eighth"
    summary, own = summary_of(figure), summary_of("fig7")
    assert summary["config"]["training"]["seeds"] == own["config"]["training"]["seeds"]
    at, (wide, narrow) = found(figure), map(_models, (summary, own))
    lower, higher, rising, falling = 0, 0, 0, 0
    for one, other in zip(wide, narrow, strict=True):
        assert all(one[key] == other[key] for key in _PANEL)
        *_, before, end = (step["share"]["blocks"] for step in one["along_training"])
        less = other["share"]["blocks"]
        lower, higher = lower + (end["high"] < less["low"]), higher + (end["low"] > less["high"])
        rising, falling = rising + (end["low"] > before["high"]), falling + (end["high"] < before["low"])
    step = wide[0]["along_training"][-2]["step"]
    return (
        f"With networks × {wider(summary, own)} ({made_by(summary)}, `results/{figure}`) the share is beyond 95 % of "
        f"the orders in {at['beyond_orders']} settings with every seed ({at['models_beyond']} models), above "
        f"that with a diagonal Σ in {at['above_diagonal']} and above chance in {at['above_chance']}. It is "
        f"significantly lower than that of the same seed above in {lower} of {len(wide)} models and higher in "
        f"{higher}; after {step} steps it still rises significantly in {rising} and falls in {falling}. The distance "
        f"from (11) is {at['last']} at the end:\n\n{table_of(figure)}"
    )
