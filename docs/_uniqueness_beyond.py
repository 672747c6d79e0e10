"""Why the nonlinear optimum is elsewhere, how different the variances must be, GRAE without noise, and the cost."""

from __future__ import annotations

from typing import Any

import _bench
from _numbers import OTHER, num, read, span, table
from _uniqueness import NUS, angle, degrees, exponent, one_w, summary

_FREED = {"neither": "neither freed", "means": "means freed", "variances": "variances freed", "both": "both"}


# --- the optimum ----------------------------------------------------------------------------------------------------


def _freed() -> list[dict[str, dict[str, float]]]:
    return list(read("fig1/freed.json")["freed"].values())


def freed_table() -> str:
    """Sizes of two angles with the encoder and Σ freed in turn."""
    rows = []
    for at, (own, found) in enumerate(zip(one_w(), _freed(), strict=True)):
        cells = [
            ", ".join(f"{num(abs(found[name][key]), 0)}°" for key in ("to_true_latents", "decoder_to_output_axes"))
            for name in _FREED
        ]
        rows.append([str(at), f"{num(abs(own['w_to_output_axes']), 0)}°", *cells])
    return table(["W", "its columns to the output axes", *_FREED.values()], rows)


def freed() -> dict[str, str]:
    """Where the decoder's columns end, what freeing gains, and how well two starts and two sizes of data agree."""
    found = _freed()
    columns = {name: [abs(each[name]["decoder_to_output_axes"]) for each in found] for name in _FREED}
    assert max(columns["variances"] + columns["both"]) < 5, OTHER
    assert min(columns["neither"]) > 35, OTHER
    assert all(map(float.__ge__, columns["neither"], columns["means"])), OTHER
    gains = {name: span([each[name]["elbo"] - each["neither"]["elbo"] for each in found], 1) for name in _FREED}
    starts = max(part["other_start_below"] for each in found for part in each.values())
    moved = [
        abs(own["optimum_to_true_latents"] - each["neither"]["to_true_latents"])
        for own, each in zip(one_w(), found, strict=True)
    ]
    return {
        **{name: span(values, 0) for name, values in columns.items()},
        **{f"{name}_gain": gain for name, gain in gains.items()},
        "starts": exponent(starts),
        "moved": num(max(moved), 0),
    }


# --- the variances --------------------------------------------------------------------------------------------------


def ratio_table() -> str:
    """Against the ratio of W's column norms, identity and tanh."""
    curves = read("fig5/beyond.json")["ratio"]
    rows = []
    for points in zip(*curves.values(), strict=True):
        cells = [
            cell
            for point in points
            for cell in (
                num(point["variances"]), degrees(point["trained_to_optimum"]), degrees(point["optimum_to_truth"]),
            )
        ]  # fmt: skip
        rows.append([f"{points[0]['ratio']:g}", *cells])
    heads = [
        f"{nu}: {what}" for nu in curves for what in ("ratio of variances", "trained to optimum", "optimum to truth")
    ]
    return table(["ρ", *heads], rows)


def at_ratio(nu: str, ratio: float, what: str) -> str:
    """One median of that curve."""
    point = next(each for each in read("fig5/beyond.json")["ratio"][nu] if each["ratio"] == ratio)
    return angle(point[what]["value"])


# --- GRAE -----------------------------------------------------------------------------------------------------------


def twins_table() -> str:
    """Two starts on the same data, in two dimensions and four."""
    found = read("fig5/beyond.json")
    rows = []
    for setting, each in found["grae_two_starts"].items():
        nu, structure = setting.split()
        assert (max(map(abs, each["between"])) < 1e-3) == (structure == "Diagonal()"), OTHER
        rows.append([f"{nu}, 2", structure, *_twins(each["between"], each["loss_difference"]), "–", "–"])
    for structure, each in found["grae_four_dimensions"].items():
        ends = [span(each["across_blocks"], 3), f"{span([abs(a) for a in each['within_blocks']], 1)}°"]
        rows.append(["identity, 4", structure, *_twins(each["axes_between_starts"], each["loss_difference"]), *ends])
    between = ["angle between the starts", "largest difference of their values"]
    return table(["ν, d", "structure", *between, "to the truth: across the blocks", "within the blocks"], rows)


def _twins(between: list[float], losses: list[float]) -> list[str]:
    sizes = [abs(each) for each in between]
    turned = f"at most {exponent(max(sizes))}°" if max(sizes) < 1e-3 else f"{span(sizes, 0)}°"
    return [turned, exponent(max(losses))]


# --- cost -----------------------------------------------------------------------------------------------------------


def _row(nu: str, reference: str, kind: str = "amortised") -> dict[str, Any]:
    return _bench.row("uniqueness", f"uniqueness, {nu}, {kind}", "", reference)


def cost() -> dict[str, str]:
    """Microseconds of an iteration, and how many times as long PyTorch takes."""
    one, batched = "PyTorch, one trial at a time", "PyTorch, 60 trials batched, per trial"
    amortised = [_row(nu, one)["milliseconds"] for nu in NUS]
    unamortised = [_row(nu, "amortised kernel", "unamortised")["milliseconds"] for nu in NUS]
    return {
        "amortised": span([1e3 * each for each in amortised], 1),
        "unamortised": span([1e3 * each for each in unamortised], 0),
        "one": span([1 / _row(nu, one)["ratio"] for nu in NUS], 0),
        "batched": span([1 / _row(nu, batched)["ratio"] for nu in NUS], 0),
    }


def panel_seconds(kind: str) -> str:
    """How long the iterations of a panel of 420 runs take one core."""
    iterations = sum(5 * n * trials for n, trials in summary("fig5")["schedule"])
    rows = read("bench/uniqueness.json")["uniqueness"]
    milliseconds = {row["name"]: row["milliseconds"] for row in rows}
    return span([iterations * milliseconds[f"uniqueness, {nu}, {kind}"] / 1e3 for nu in NUS], 0)
