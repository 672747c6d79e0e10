"""The demo and the figures: the tables from ``results/*/summary.json`` and what else is stored there."""

from __future__ import annotations

from copy import deepcopy
from itertools import chain
from statistics import fmean
from typing import Any

from _numbers import RESULTS, interval, made_by, num, percent, read, span, table, thousands, wider, width

DEMOS = ("beta-vae", "grae")
KINDS = ("blocks", "diagonal", "autoencoder")
_PANEL = ("beta", "latents", "block")


def demo(which: str) -> dict[str, Any]:
    """The evaluation of one of the demo's two runs."""
    return read(f"demo/{which}.json")["evaluation"]["evaluation"]


def demo_table() -> str:
    """The three objectives of both runs."""
    names = {
        "beta_vae": "(2) β-VAE", "taylor": "(7) Taylor", "grae_full": "(13) GRAE, best full covariance",
        "grae": "the same, best diagonal covariance",
    }  # fmt: skip
    vae, grae = demo("beta-vae"), demo("grae")
    cell = lambda part: f"{num(part['mean'])} ± {num(part['se'])}"  # noqa: E731
    rows = [[title, cell(vae[key]), cell(grae[key])] for key, title in names.items()]
    return table(["", "trained as β-VAE", "trained as GRAE≈"], rows)


def demo_spread() -> float:
    """The largest share by which the objectives of one model differ."""
    values = [[model[key]["mean"] for key in ("beta_vae", "taylor", "grae_full")] for model in map(demo, DEMOS)]
    return max((max(v) - min(v)) / max(v) for v in values)


def demo_difference(key: str) -> str:
    """How GRAE≈ stands to the β-VAE in one objective."""
    vae, grae = (demo(name)[key]["mean"] for name in DEMOS)
    return f"{percent(abs(grae - vae) / vae)} {'higher' if grae > vae else 'lower'}"


# --- figures 2 and 7 ------------------------------------------------------------------------------------------------


def blocks_summary(figure: str) -> dict[str, Any]:
    """A summary; each setting has a list of ``seeds``."""
    summary, *others = _seeds(figure)
    for setting in summary["settings"]:
        setting["seeds"] = [dict(setting)]
    for other in others:
        for setting, again in zip(summary["settings"], other["settings"], strict=True):
            assert all(setting[key] == again[key] for key in _PANEL)
            setting["seeds"].append(again)
    return summary


def _seeds(figure: str) -> list[dict[str, Any]]:
    """Summaries of calls that differ in their seeds alone; the first has the seeds and commits of all."""
    more = sorted(str(path.relative_to(RESULTS)) for path in (RESULTS / figure).glob("seed*/summary.json"))
    calls = [deepcopy(read(name)) for name in (f"{figure}/summary.json", *more)]  # read keeps what it has read
    seeds = [call["config"]["training"].pop("seeds") for call in calls]
    assert all(call["config"] == calls[0]["config"] for call in calls)
    calls[0]["config"]["training"]["seeds"] = list(chain(*seeds))
    calls[0]["trained_under"] = list(chain(*(call["trained_under"] for call in calls)))
    return calls


def blocks_table(figure: str) -> str:
    """How much of the decoder's curvature lies inside the blocks of Σ."""
    rows = []
    for setting in blocks_summary(figure)["settings"]:
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
    seeds = [one for setting in blocks_summary(figure)["settings"] for one in setting["seeds"]]
    parts = [one["share"][name] for one in seeds for name in KINDS]
    return num(max(max(part["high"] - part["value"], part["value"] - part["low"]) for part in parts), 3)


def beyond_orders(setting: dict[str, Any]) -> bool:
    """Whether the share inside the blocks is beyond 95 % of random orders of the latents, with every seed."""
    return all(order["p_value"] < 0.05 for one in setting["seeds"] for order in one["permuted"]["blocks"])


def blocks_found(figure: str) -> dict[str, str]:
    """In how many settings the blocks show, by which measure, and how near Σ⁻¹ has come to (11) along training."""
    summary = blocks_summary(figure)
    settings, seeds = summary["settings"], len(summary["config"]["training"]["seeds"])
    along = [one["along_training"] for setting in settings for one in setting["seeds"]]
    first, last = ([steps[at]["distance_in_structure"]["blocks"]["value"] for steps in along] for at in (0, -1))

    def count(true: Any) -> str:
        return f"{sum(all(map(true, setting['seeds'])) for setting in settings)} of {len(settings)}"

    return {
        "above_diagonal": count(lambda part: part["share_above"]["diagonal"]["low"] > 0),
        "above_chance": count(lambda part: part["share"]["blocks"]["low"] > part["share_by_chance"]),
        "beyond_orders": f"{sum(map(beyond_orders, settings))} of {len(settings)}",
        "steps": thousands(along[0][-1]["step"]),
        "seeds": "one seed" if seeds == 1 else f"{seeds} seeds",
        "first_step": str(along[0][0]["step"]),
        "first": span(first),
        "last": span(last),
    }


def wider_blocks() -> str:
    """Figure 7 with networks twice as wide: how one seed's share stands to the figure's own, and where it goes."""
    figure = "fig7/eighth"
    summary, own = blocks_summary(figure), blocks_summary("fig7")
    found, panels = blocks_found(figure), summary["settings"]
    lower, higher, rising, falling = 0, 0, 0, 0
    for wide, narrow in zip(panels, own["settings"], strict=True):
        assert all(wide[key] == narrow[key] for key in _PANEL)
        *_, before, end = (at["share"]["blocks"] for at in wide["along_training"])
        other = narrow["share"]["blocks"]
        lower, higher = lower + (end["high"] < other["low"]), higher + (end["low"] > other["high"])
        rising, falling = rising + (end["low"] > before["high"]), falling + (end["high"] < before["low"])
    step = panels[0]["along_training"][-2]["step"]
    return (
        f"With networks × {wider(summary, own)} ({made_by(summary)}, `results/{figure}`) the share is beyond 95 % of "
        f"the orders in {found['beyond_orders']} settings, above that with a diagonal Σ in {found['above_diagonal']} "
        f"and above chance in {found['above_chance']}. It is significantly lower than that of the same seed above in "
        f"{lower} of {len(panels)} and higher in {higher}; after {step} steps it still rises significantly in {rising} "
        f"and falls in {falling}. The distance from (11) is "
        f"{found['last']} at the end:\n\n{blocks_table(figure)}"
    )


# --- figure 3 -------------------------------------------------------------------------------------------------------


def curves_summary(figure: str = "fig3") -> dict[str, Any]:
    """A summary, with the objectives and gaps of every seed in a list ``seeds``."""
    summary, *others = _seeds(figure)
    return summary | {"seeds": [each["blocks"] for each in (summary, *others)]}


def _shares(seeds: list[dict[str, Any]], size: str, gap: str, index: int, *, intervals: bool = True) -> str:
    """A gap at the end of training as a share of (7), seed by seed."""
    last = [(blocks[size]["gaps"][-1][gap], blocks[size]["objectives"][-1]["taylor"]) for blocks in seeds]
    cells = [
        interval(part, 1, scale) if intervals else num(scale * part["value"], 1)
        for part, scale in ((gaps[index], 100 / taylor[index]["value"]) for gaps, taylor in last)
    ]
    return ", ".join(cells) + " %"


def gaps_table() -> str:
    """The gaps between the three objectives at the end of training, as shares of (7), seed by seed."""
    summary = curves_summary()
    seeds = summary["seeds"]
    rows = []
    for index, beta in enumerate(summary["betas"]):
        price = [_shares(seeds, size, "(7) − (13)", index, intervals=False) for size in "123"]
        rows.append([f"{beta:g}", *price, _shares(seeds, "1", "(2) − (7)", index)])
    head = ["β", "(7) − (13), diagonal Σ", "blocks of 2", "blocks of 3", "(2) − (7), diagonal Σ"]
    return table(head, rows)


def wider_curves() -> str:
    """The gaps with networks twice as wide, as shares of (7), beside those of the figure; seed by seed."""
    summary, own = curves_summary("fig3/eighth"), curves_summary()
    size = width(own["config"]["training"]["width"])
    rows = []
    for index, beta in enumerate(summary["betas"]):
        both = (summary, index), (own, own["betas"].index(beta))
        cells = [_shares(each["seeds"], "1", gap, at) for gap in ("(7) − (13)", "(2) − (7)") for each, at in both]
        rows.append([f"{beta:g}", *cells])
    head = ["β", "(7) − (13)", f"with × {size}", "(2) − (7)", f"with × {size}"]
    which = f"diagonal Σ, {made_by(summary)}, `results/fig3/eighth`"
    return f"With networks × {wider(summary, own)} ({which}), as shares of (7):\n\n{table(head, rows)}"


def family_share() -> str:
    """What part of (7) − (13) is the price of the diagonal family, at β = 0.2."""
    summary = curves_summary()
    gaps, index = [blocks["1"]["gaps"][-1] for blocks in summary["seeds"]], summary["betas"].index(0.2)
    shares = [each["family − (13)"][index]["value"] / each["(7) − (13)"][index]["value"] for each in gaps]
    return " and ".join(dict.fromkeys(percent(share, 0) for share in shares))


# --- table 1 and figure 4 -------------------------------------------------------------------------------------------


def frechet_table() -> str:
    """The Fréchet distances of both models at every β."""
    summary = read("fig4/summary.json")
    rows = []
    for index, beta in enumerate(summary["betas"]):
        cells = [f"β = {beta:g}"]
        for where in ("frechet_prior", "frechet_mixture"):
            for model in ("β-VAE", "GRAE≈"):
                found = summary["models"][model][where][index]
                cells.append(f"{num(found['mean'], 0)} ± {num(found['sd'], 0)}")
            cells.append(num(summary["within_spread"][where][index]["ratio"], 1))
        rows.append(cells)
    prior, mixture = ["β-VAE, z from the prior", "GRAE≈"], ["β-VAE, z from a mixture", "GRAE≈"]
    return table(["", *prior, "gap ÷ spread of seeds", *mixture, "gap ÷ spread of seeds"], rows)


LONGER = "fig4/longer/summary.json"


def longer_faces_table() -> str:
    """The same of longer training, with the distance of reconstructions: one number a model."""
    summary = read(LONGER)
    measures = {"frechet_prior": 0, "frechet_mixture": 0, "frechet_reconstruction": 0, "sharpness_prior": 3, "mse": 4}
    names = ["FD, z from the prior", "FD, z from a mixture", "FD, reconstructions", "sharpness", "squared error"]
    rows = [
        [f"{model}, β = {beta:g}", *(num(found[key][index]["mean"], digits) for key, digits in measures.items())]
        for index, beta in enumerate(summary["betas"])
        for model, found in summary["models"].items()
    ]
    return table(["", *names], rows)


def times_real(measure: str) -> list[float]:
    """A Fréchet distance of each longer trained model over that of real images."""
    summary = read(LONGER)
    real = summary["frechet"]["of_training_images"]
    return [each["mean"] / real for found in summary["models"].values() for each in found[measure]]


def ablation(model: str, measure: str = "frechet_prior", digits: int = 0) -> str:
    """One number of figure 4's ablation."""
    return num(read("fig4/summary.json")["ablation"]["models"][model][measure]["mean"], digits)


def within_count() -> str:
    """At how many of the settings the two models differ by less than seeds do."""
    answers = [each["within"] for part in read("fig4/summary.json")["within_spread"].values() for each in part]
    return f"{sum(answers)} of {len(answers)}"


# --- approximation (6) ----------------------------------------------------------------------------------------------


def _trained_decoders() -> dict[tuple[str, str], list[dict[str, Any]]]:
    """By network and observation model, the rows of every seed."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for each in read("approximation/summary.json")["rows"]:
        if each["trained"]:
            groups.setdefault((each["network"], each["observation"]), []).append(each)
    return groups


def _dropped(group: list[dict[str, Any]]) -> float:
    return 100 * fmean(row["error"]["mean"] for row in group)


def dropped_span() -> str:
    """The part of the Hessian that (6) drops, in per cent, of the decoders where it drops any."""
    return span([part for part in map(_dropped, _trained_decoders().values()) if part > 0.5], 0)


def approximation_table() -> str:
    """How much of the exact Hessian (6) drops, and what that does to the objectives; trained decoders."""
    rows = [
        [
            network, observation, f"{num(_dropped(group), 0)} %",
            *(percent(fmean(r[f"{name}_difference"]["mean"] / r[f"{name}_exact"]["mean"] for r in group), 2)
              for name in ("taylor", "closed")),
            percent(fmean(r["missing"] for r in group), 0),
        ]
        for (network, observation), group in _trained_decoders().items()
    ]  # fmt: skip
    head = [
        "decoder",
        "observation model",
        "dropped part of the Hessian",
        "(7) − (4), as a share",
        "(12) − (10)",
        "no (10)",
    ]
    return table(head, rows)


# --- Lanczos --------------------------------------------------------------------------------------------------------


def lanczos(curve: str) -> list[float]:
    """Root mean square errors in per cent with 64 pairs of products, for every β."""
    betas = read("estimators/lanczos.json")["betas"].values()
    return [next(p["rms_percent"] for p in beta["curves"][curve] if p["pairs"] == 64) for beta in betas]
