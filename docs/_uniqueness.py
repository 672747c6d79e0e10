"""Figures 1, 5 and 6: what a diagonal and a full Σ leave of the latents' rotation."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from typing import Any

import numpy as np
from _numbers import OTHER, RESULTS, num, percent, read, side, significant, span, table
from numpy.typing import NDArray
from scipy.stats import spearmanr

from curvae._extras import listed

NUS = ("identity", "tanh", "sigmoid", "elu")
FAMILIES = ("diagonal", "full")
LONG = 10_000
"""n of the runs that count as long."""
_TRUE, _AXES, _OPTIMUM = "to_true_latents", "to_principal_axes", "to_elbo_optimum"
_GUARDS = {"-guard-off": "none", "": "the paper's", "-guard-all": "and the decoder's"}


def summary(figure: str) -> dict[str, Any]:
    """All of one figure."""
    return read(f"{figure}/summary.json")


def panel(figure: str, nu: str, family: str, columns: str = "orthogonal", guard: str = "") -> dict[str, Any]:
    """One panel of one figure."""
    kind = "unamortised" if figure == "fig6" else "amortised"
    return summary(figure)["panels"][f"{nu}-{family}-{columns}-{kind}{guard}"]


def degrees(part: dict[str, float]) -> str:
    """An angle with its interval."""
    value, low, high = (num(part[key], significant(part["value"])) for key in ("value", "low", "high"))
    return f"{value}° ({low} to {high})"


def angle(value: float) -> str:
    """An angle alone."""
    return f"{num(value, significant(value))}°"


def share(part: dict[str, float]) -> str:
    """A share of the runs with its interval."""
    value, low, high = (num(100 * part[key], 1) for key in ("value", "low", "high"))
    return f"{value} % ({low} to {high})"


def exponent(value: float) -> str:
    """A small number as ``3e-6``."""
    return re.sub("e-0*", "e-", f"{value:.0e}")


def p_value(value: float) -> str:
    """Two digits, one where it is small."""
    return exponent(value) if value < 1e-3 else num(value, max(2, significant(value, 1)))


def within(figure: str, nu: str, family: str, target: str = _TRUE) -> str:
    """The share of the long runs that end within 2° of a target."""
    return percent(panel(figure, nu, family)[target]["converged"]["within"]["value"])


def of(count: int, total: int) -> str:
    """``all 8``, ``6 of 8``, ``none``."""
    return "none" if not count else f"all {total}" if count == total else f"{count} of {total}"


def uniform(part: dict[str, Any]) -> float:
    """The p-value of all runs' angles against uniform ones."""
    return float(part["uniform"]["p_value"])


# --- figure 1 -------------------------------------------------------------------------------------------------------


def one_w() -> list[dict[str, Any]]:
    """The W of figure 1, with what both families make of each."""
    panels = summary("fig1")["panels"]
    names = [name for name, each in panels.items() if "one_w" in each and "-diagonal-" in name]
    return [
        panels[name]["one_w"] | {"diagonal": panels[name], "full": panels[name.replace("-diagonal-", "-full-")]}
        for name in names
    ]


def funnel() -> dict[str, Any]:
    """In how many panels the spread closes, and where; how far the longest runs of the others are."""
    found, within_degrees = one_w(), summary("fig1")["within_degrees"]
    ends = {family: [each[family][_OPTIMUM] for each in found] for family in FAMILIES}
    closed = [
        side(end["worst_minus_best"]) > 0 and end["best_quarter"]["high"] < within_degrees for end in ends["diagonal"]
    ]
    slow = [at for at, true in enumerate(closed) if not true]
    assert slow, OTHER
    assert max(found[at]["optimum_ratio_of_variances"] for at in slow) < 1.5, OTHER
    assert not any(side(end["worst_minus_best"]) for end in ends["full"]), OTHER
    optima = [each["optimum_to_true_latents"] for each in found]
    columns = [each["diagonal"]["decoder_to_output_axes"]["converged"]["median_abs"]["value"] for each in found]
    return {
        "panels": len(found),
        "narrower": of(sum(side(end["worst_minus_best"]) > 0 for end in ends["diagonal"]), len(found)),
        "closed": of(sum(closed), len(found)),
        "least": num(min(end["worst_minus_best"]["low"] for end in ends["diagonal"]), 0),
        "slow": " and ".join(f"W {at}" for at in slow),
        "slow_ratios": span([found[at]["optimum_ratio_of_variances"] for at in slow], 1),
        "slow_medians": span([ends["diagonal"][at]["converged"]["median_abs"]["value"] for at in slow], 1),
        "optima": span(optima, 0),
        "near": of(sum(abs(each) < within_degrees for each in optima), len(found)),
        "columns": span(columns, 0),
    }


def funnel_table() -> str:
    """Every W."""
    rows = [
        [
            str(at), f"{num(each['w_to_output_axes'], 0)}°", f"{num(each['optimum_to_true_latents'], 1)}°",
            num(each["optimum_ratio_of_variances"], 1),
            *(degrees(each[family][_OPTIMUM][f"{end}_quarter"]) for family in FAMILIES for end in ("worst", "best")),
        ]
        for at, each in enumerate(one_w())
    ]  # fmt: skip
    head = ["W", "its columns to the output axes", "optimum to the true latents", "ratio of posterior variances"]
    return table([*head, "diagonal Σ: lowest", "highest", "full Σ: lowest", "highest"], rows)


# --- figure 5 -------------------------------------------------------------------------------------------------------


def _pairs() -> Iterable[tuple[str, str]]:
    return ((nu, family) for nu in NUS for family in FAMILIES)


def ends_table() -> str:
    """Orthogonal columns."""
    rows = []
    for nu, family in _pairs():
        true, optimum = (panel("fig5", nu, family)[target] for target in (_TRUE, _OPTIMUM))
        ends = [part["converged"] for part in (true, optimum)]
        assert (ends[1]["within"]["low"] > 0.5) == (family == "diagonal"), OTHER
        off = panel("fig5", nu, "diagonal")["optimum_to_true_latents"]
        assert (off["low"] > summary("fig5")["within_degrees"]) == (nu != "identity"), OTHER
        rows.append([
            f"{nu}, {family}", *(share(end["within"]) for end in ends), *(degrees(end["median_abs"]) for end in ends),
            *(degrees(optimum[f"{end}_quarter"]) for end in ("worst", "best")), p_value(uniform(true)),
        ])  # fmt: skip
    head = ["ν, Σ", "within 2° of the true latents", "of the optimum", "median to the true latents", "to the optimum"]
    return table([*head, "quarter farthest below the optimum", "nearest", "uniform about the true latents, p"], rows)


def uniqueness_table() -> str:
    """Figure 5 in short."""
    rows = []
    for nu in NUS:
        diagonal, full = (panel("fig5", nu, family) for family in FAMILIES)
        rows.append([
            nu, within("fig5", nu, "diagonal"), within("fig5", nu, "diagonal", _OPTIMUM),
            f"{num(diagonal['optimum_to_true_latents']['value'], 1)}°",
            within("fig5", nu, "full"), f"{full[_TRUE]['uniform']['p_value']:.2g}",
        ])  # fmt: skip
    head = [
        "ν", "diagonal Σ within 2° of the true latents", "of the ELBO's own optimum",
        "that optimum to the true latents", "full Σ within 2° of the true latents", "full Σ uniform, p",
    ]  # fmt: skip
    return table(head, rows)


def gaussian_table() -> str:
    """Figure 5 with columns that are not orthogonal."""
    rows = []
    for nu, family in _pairs():
        ends = {t: panel("fig5", nu, family, "gaussian")[t]["converged"] for t in (_TRUE, _AXES, _OPTIMUM)}
        medians = [degrees(end["median_abs"]) for end in ends.values()]
        rows.append([f"{nu}, {family}", *medians, *(share(ends[t]["within"]) for t in (_AXES, _OPTIMUM))])
    head = ["ν, Σ", "median to the true latents", "to W's principal axes", "to the optimum"]
    return table([*head, "within 2° of the principal axes", "of the optimum"], rows)


def free_gaussian_table() -> str:
    """Figure 6 with columns that are not orthogonal."""
    rows, ends = [], {}
    for nu, family in _pairs():
        found = panel("fig6", nu, family, "gaussian")
        axes = ends[nu, family] = found[_AXES]["converged"]
        rows.append([
            f"{nu}, {family}", degrees(found[_TRUE]["converged"]["median_abs"]), degrees(axes["median_abs"]),
            longest("fig6", nu, family, "gaussian", _AXES), share(axes["within"]),
            *(degrees(found[_AXES][f"{end}_quarter"]) for end in ("worst", "best")), p_value(uniform(found[_AXES])),
        ])  # fmt: skip
    nearer = [ends[nu, "diagonal"]["median_abs"]["high"] < ends[nu, "full"]["median_abs"]["low"] for nu in NUS]
    assert all(nearer), OTHER
    head = ["ν, Σ", "median to the true latents", "to W's principal axes", "n = 20,000", "within 2°"]
    return table([*head, "quarter with the lowest ELBO", "highest", "uniform, p"], rows)


def at_the_axes(family: str) -> str:
    """Median angles to the principal axes of the quarter with the highest ELBO, Gaussian mixing in figure 6."""
    found = [panel("fig6", nu, family, "gaussian")[_AXES]["best_quarter"]["value"] for nu in NUS]
    assert max(found) < 5 if family == "diagonal" else min(found) > 15, OTHER
    return f"{angle(min(found))} to {angle(max(found))}"


def guard_table() -> str:
    """What becomes of the full family with each guard."""
    rows = []
    for nu in NUS:
        found = [panel("fig5", nu, "full", guard=guard) for guard in _GUARDS]
        true = [f"{degrees(p[_TRUE]['converged']['median_abs'])}, {p_value(uniform(p[_TRUE]))}" for p in found]
        near = [percent(p[_OPTIMUM]["converged"]["within"]["value"]) for p in found]
        rows.append([nu, *true, ", ".join(near)])
    return table(["guard", *_GUARDS.values(), "within 2° of the optimum, each"], rows)


def guards() -> dict[str, Any]:
    """How many of the full family's angles are surely not uniform, and what the diagonal family makes of guards."""
    found: dict[str, list[float]] = {guard: [] for guard in _GUARDS}
    for name, each in summary("fig5")["panels"].items():
        if "-full-" in name:
            # with orthogonal columns the principal axes are the true latents
            targets = [_TRUE, _OPTIMUM, *([_AXES] if "-gaussian-" in name else [])]
            found["-guard" + name.partition("-guard")[2] if "-guard" in name else ""] += [
                uniform(each[target]) for target in targets
            ]
    shares = [
        panel("fig5", nu, "diagonal", guard=guard)[_OPTIMUM]["converged"]["within"] for nu in NUS for guard in _GUARDS
    ]
    groups = [shares[at : at + len(_GUARDS)] for at in range(0, len(shares), len(_GUARDS))]
    assert all(max(p["low"] for p in group) < min(p["high"] for p in group) for group in groups), OTHER
    full = {nu: uniform(panel("fig5", nu, "full", guard="-guard-off")[_TRUE]) for nu in NUS}
    assert min(full, key=full.__getitem__) == "tanh", OTHER
    return {
        "chance": percent(2 * summary("fig5")["within_degrees"] / 90, 0),
        "low": {guard: f"{sum(p < 0.05 for p in values)} of {len(values)}" for guard, values in found.items()},
    }


@cache
def _trials(figure: str, name: str) -> dict[str, NDArray[Any]]:
    with np.load(RESULTS / figure / "tables" / f"{name}.npz", allow_pickle=False) as stored:
        return {key: stored[key] for key in stored.files}


@cache
def long_runs(nu: str) -> dict[str, NDArray[Any]]:
    """|angle| to the optimum, the ratio of its variances, and how far below it the ELBO is, of the long runs.

    The angle is the difference of two stored ones to the true latents.
    """
    trained = _trials("fig5", f"{nu}-diagonal-orthogonal-amortised")
    optimum = _trials("fig5", f"{nu}-optimum-orthogonal")
    turned = np.abs(45 - np.mod(45 - (trained["angle"] - optimum["angle"]), 90))
    variances = optimum["variances"][:, :2]
    columns = {"angle": turned, "ratio": variances.max(1) / variances.min(1), "gap": optimum["elbo"] - trained["elbo"]}
    return {name: values[trained["period"] >= LONG] for name, values in columns.items()}


def angle_and_elbo(nu: str) -> str:
    """Rank correlation of the size of the optimum's angle to the true latents with its ELBO, over data sets."""
    optimum = _trials("fig5", f"{nu}-optimum-orthogonal")
    return num(float(spearmanr(np.abs(optimum["angle"]), optimum["elbo"]).statistic))


def exceptions(nu: str) -> dict[str, str]:
    """The long runs more than 2° from the optimum: how many, and that their variances differ little."""
    runs = long_runs(nu)
    far = runs["angle"] >= summary("fig5")["within_degrees"]
    stored = panel("fig5", nu, "diagonal")[_OPTIMUM]["converged"]
    assert far.sum() == round((1 - stored["within"]["value"]) * stored["trials"]), nu
    assert runs["ratio"][far].max(initial=1) < np.median(runs["ratio"]), OTHER
    return {
        "count": f"{far.sum()} of {far.size}",
        "below": num(runs["ratio"][far].max()) if far.any() else "",
        "above": num(runs["ratio"][~far].min()),
        "gap": num(runs["gap"][far].max(), 4) if far.any() else "",
    }


# --- figure 6 -------------------------------------------------------------------------------------------------------


def free_table() -> str:
    """Orthogonal columns, a posterior of its own for each sample."""
    rows = []
    for nu, family in _pairs():
        found = panel("fig6", nu, family)
        true, columns = found[_TRUE], found["decoder_to_output_axes"]["converged"]["median_abs"]
        aligned = family == "diagonal" and nu in ("tanh", "elu")
        assert (columns["high"] < 2, columns["low"] < 10) == (aligned, aligned), OTHER
        rows.append([
            f"{nu}, {family}", degrees(true["converged"]["median_abs"]), longest("fig6", nu, family),
            share(true["converged"]["within"]), *(degrees(true[f"{end}_quarter"]) for end in ("worst", "best")),
            p_value(uniform(true)), degrees(columns),
        ])  # fmt: skip
    head = ["ν, Σ", "median to the true latents", "n = 20,000", "within 2°", "quarter with the lowest ELBO", "highest"]
    return table([*head, "uniform, p", "decoder's columns to the output axes"], rows)


def _both_guards(nu: str, family: str) -> list[dict[str, Any]]:
    """Figure 6 to the true latents, without the guard and with the paper's."""
    return [panel("fig6", nu, family, guard=guard)[_TRUE] for guard in ("-guard-off", "")]


def free_guard_table() -> str:
    """Figure 6 without the guard, beside the paper's."""
    rows = []
    for nu, family in _pairs():
        cells = []
        for found in _both_guards(nu, family):
            ends = found["converged"]
            cells += [degrees(ends["median_abs"]), share(ends["within"]), p_value(uniform(found))]
        rows.append([f"{nu}, {family}", *cells])
    heads = [f"{guard}: {what}" for guard in ("none", "the paper's") for what in ("median", "within 2°", "uniform, p")]
    return table(["ν, Σ", *heads], rows)


def unguarded(nu: str, family: str) -> str:
    """Figure 6 without the guard and with it: the share of the long runs within 2° of the true latents."""
    shares = [found["converged"]["within"] for found in _both_guards(nu, family)]
    assert shares[0]["low"] > shares[1]["high"], OTHER
    return f"{share(shares[0])} in place of {share(shares[1])}"


def unguarded_alike() -> str:
    """The other ν, whose diagonal families are no farther apart than their intervals."""
    others = [nu for nu in NUS if nu != "identity"]
    for nu in others:
        for key in ("median_abs", "within"):
            one, other = (found["converged"][key] for found in _both_guards(nu, "diagonal"))
            assert max(one["low"], other["low"]) < min(one["high"], other["high"]), OTHER
    return listed(others)


def unguarded_full() -> str:
    """The full family's medians without the guard, over ν."""
    found = [_both_guards(nu, "full")[0] for nu in NUS]
    assert max(map(uniform, found)) < 1e-3, OTHER
    medians = [each["converged"]["median_abs"]["value"] for each in found]
    assert max(medians) < 15, OTHER
    return f"{angle(min(medians))} to {angle(max(medians))}"


def longest(figure: str, nu: str, family: str, columns: str = "orthogonal", target: str = _TRUE) -> str:
    """Median |angle| of the longest runs."""
    found = panel(figure, nu, family, columns)[target]["median_abs_by_n"]
    return angle(found[max(found, key=int)])


def singular_values(nu: str, period: int, family: str = "diagonal") -> str:
    """Of the decoders that figure 6 trains: medians."""
    runs = _trials("fig6", f"{nu}-{family}-orthogonal-unamortised")
    decoders = runs["decoder"][runs["period"] == period].reshape(-1, 2, 2)
    return " and ".join(num(float(each), 1) for each in np.median(np.linalg.svd(decoders, compute_uv=False), axis=0))


def quadrature(figure: str) -> str:
    """The largest difference between two quadratures of a run's ELBO, in nats."""
    return f"{max(each['elbo_quadrature_error_max'] for each in summary(figure)['panels'].values()):.1g}"
