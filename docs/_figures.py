"""The demo and the figures: the tables from ``results/*/summary.json`` and what else is stored there."""

from __future__ import annotations

from statistics import fmean
from typing import Any

from _numbers import (
    OTHER,
    RESULTS,
    by_seed,
    interval,
    made_by,
    mean_sd,
    num,
    percent,
    read,
    same_but,
    span,
    table,
    wider,
)

DEMOS = ("beta-vae", "grae")


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


# --- figure 3 -------------------------------------------------------------------------------------------------------


WIDER_CURVES = "fig3/eighth"


def curves_summary(figure: str = "fig3") -> dict[str, Any]:
    """A summary, with the objectives and gaps of every seed in a list ``seeds``.

    Blocks that were trained in calls of their own, in folders ``blocks…``, count among them.
    """
    summary, *others = by_seed(figure)
    seeds = [each["blocks"] for each in (summary, *others)]
    for folder in sorted((RESULTS / figure).glob("blocks*")):
        more = curves_summary(f"{figure}/{folder.name}")
        assert same_but(summary, more, "blocks"), "they differ in more than their blocks"
        summary["trained_under"] += more["trained_under"]
        seeds = [own | further for own, further in zip(seeds, more["seeds"], strict=True)]
    return summary | {"seeds": seeds}


def _shares(seeds: list[dict[str, Any]], size: str, gap: str, index: int, *, intervals: bool = True) -> str:
    """A gap at the end of training as a share of (7), seed by seed."""
    last = [(blocks[size]["gaps"][-1][gap], blocks[size]["objectives"][-1]["taylor"]) for blocks in seeds]
    cells = [
        interval(part, 1, scale) if intervals else num(scale * part["value"], 1)
        for part, scale in ((gaps[index], 100 / taylor[index]["value"]) for gaps, taylor in last)
    ]
    return ", ".join(cells) + " %"


def gaps_table(figure: str = "fig3") -> str:
    """The gaps between the three objectives at the end of training, as shares of (7), seed by seed."""
    summary = curves_summary(figure)
    seeds = summary["seeds"]
    rows = []
    for index, beta in enumerate(summary["betas"]):
        price = [_shares(seeds, size, "(7) − (13)", index, intervals=False) for size in seeds[0]]
        rows.append([f"{beta:g}", *price, _shares(seeds, "1", "(2) − (7)", index)])
    blocks = [f"blocks of {size}" for size in seeds[0] if size != "1"]
    return table(["β", "(7) − (13), diagonal Σ", *blocks, "(2) − (7), diagonal Σ"], rows)


def wider_curves() -> str:
    """The same with networks twice as wide."""
    summary, own = curves_summary(WIDER_CURVES), curves_summary()
    assert summary["betas"] == own["betas"], "shares are compared in order"
    pairs = list(zip(_price(summary), _price(own), strict=True))
    larger = sum(wide > narrow for wide, narrow in pairs)
    assert larger > 0.8 * len(pairs), OTHER
    which = f"{made_by(summary)}, `results/{WIDER_CURVES}`"
    return (
        f"With networks × {wider(summary, own)} ({which}) the objectives are no closer: (7) − (13) is a larger share "
        f"than above in {larger} of {len(pairs)} models.\n\n{gaps_table(WIDER_CURVES)}"
    )


def _price(summary: dict[str, Any]) -> list[float]:
    """(7) − (13) as a share of (7) at the end of training, by block, seed and β."""
    return [
        gap["value"] / taylor["value"]
        for size in summary["seeds"][0]
        for blocks in summary["seeds"]
        for gap, taylor in zip(
            blocks[size]["gaps"][-1]["(7) − (13)"], blocks[size]["objectives"][-1]["taylor"], strict=True
        )
    ]


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
            cells += [mean_sd(summary["models"][model][where][index], 0) for model in ("β-VAE", "GRAE≈")]
            cells.append(num(summary["within_spread"][where][index]["ratio"], 1))
        rows.append(cells)
    prior, mixture = ["β-VAE, z from the prior", "GRAE≈"], ["β-VAE, z from a mixture", "GRAE≈"]
    return table(["", *prior, "gap ÷ spread of seeds", *mixture, "gap ÷ spread of seeds"], rows)


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
