"""The parts of the README that hold measured numbers."""

from __future__ import annotations

import _bench as bench
import _blocks
import _claims as claims
import _frontier as frontier
import _long as long
import _uniqueness as uniqueness
import _verdicts as verdicts
from _links import SITE
from _numbers import interval, num, side, table, thousands

RESULTS, LAST = f"{SITE}results.html#", f"{SITE}objectives.html#grae-first-vae-last"
COLUMN = frontier.COLUMN


def parts() -> list[str]:
    """The table of objectives and the headline results, in the order of the README."""
    return [_objectives(), _results()]


def _objectives() -> str:
    rows = [
        ["`BetaVAE(β)`", "(2), with sampled noise", "1"],
        ["`Taylor(β)`", "(7); (4) with `curvature=\"hessian\"`", "as all columns, not measured"],
        ["`GRAE(β, Full(), Exact())`", "(12), (13): all columns of the Jacobian", _cost(bench.EXACT)],
        ["… with `Fraction(Exact(), 1/32)`", "the same, from 1/32 of each batch", _cost(bench.EXACT_32)],
        ["`GRAE(β, Diagonal(), Columns(1))`", "(14): GRAE≈, one random column", _cost(bench.COLUMN)],
        ["… with `Fraction(Columns(1), 1/4)`", "the same, from 1/4 of each batch", _cost(bench.QUARTER)],
        ["`RAE(…)`", "first order: ½‖J‖² with weights of its own", "as GRAE's estimator"],
    ]  # fmt: skip
    return table(["objective", "equation", "cost of a step"], rows)


def _cost(way: str) -> str:
    return num(bench.cost(way))


def _results() -> str:
    """The conclusion first, then the few numbers that it rests on, each with a link to all of them."""
    more = frontier.continued(COLUMN, frontier.VAE, 1000, "fitted")["less_reference"]
    paid = frontier.equal_time(frontier.QUARTER, bench.QUARTER)
    wide, bare = frontier.wider(), frontier.wider_alone()
    few, end, time = bench.lead("grae_full"), long.lead(COLUMN), paid["less"]["grae_full"]
    wider = long.lead(frontier.QUARTER, 1)
    blocks, wider_blocks = (_blocks.found(figure) for figure in ("fig7", "fig7/eighth"))
    measured = few["high"] < 0 > end["grae_full"]["high"] and wider["grae_full"]["high"] < 0 < wider["beta_vae"]["low"]
    assert measured, "the conclusion is no longer what was measured: write another"
    before = num(bench.learned("β-VAE")["last"]["grae_full"]["mean"])
    lines = [
        "**Without the noise early steps learn more; after long training it depends on the measure, and at equal time "
        f"the gain is {_gain(time)}.** GRAE≈ minus the β-VAE in (13) on held-out MNIST digits, with 95 % intervals "
        "over seeds (negative is better; networks 1/16 as wide as the paper's):",
        "",
        f"- [After 1500 steps]({RESULTS}what-a-step-buys): {interval(few)}, from the β-VAE's {before}; "
        f"in the β-VAE's own objective, (2): {_compared(bench.lead('beta_vae'))}.",
        f"- [After {thousands(end['step'])} steps]({RESULTS}and-after-the-papers-20000-steps): "
        f"{interval(end['grae_full'])}; in (2): {_compared(end['beta_vae'])}, and {_compared(more['beta_vae'])} after "
        f"[1000 more steps as a β-VAE]({LAST}). With networks twice as wide and one column on 1/4 of each batch: "
        f"{interval(wider['grae_full'])}; in (2): {_compared(wider['beta_vae'])}, {interval(wider['beta_vae'])}.",
        f"- [At equal time]({LAST}): {interval(time)}; in (2): {_compared(paid['less']['beta_vae'])}; with one column "
        f"on 1/4 of each batch and the last 1000 steps as a β-VAE, minus a β-VAE of {thousands(paid['steps'])} steps. "
        f"With networks twice as wide {interval(wide['less']['grae_full'])}; in (2): "
        f"{_compared(wide['less']['beta_vae'])}, and without the last steps {interval(bare['beta_vae'])}.",
        "",
        "**Structure in the noise becomes structure in the decoder.** The blocks of Σ show in JᵀJ beyond 95 % of "
        "random orders of the latents in "
        f"[{blocks['beyond_orders']} settings]({RESULTS}do-the-blocks-of-show-in-the-decoder) "
        f"({blocks['steps']} steps on MNIST, {blocks['seeds']}), and with networks twice as wide in "
        f"{wider_blocks['beyond_orders']} ({wider_blocks['models_beyond']} models).",
        "",
        "**A diagonal Σ singles out one rotation of the latents, a full Σ does not.** On linear data x = Wz with "
        f"orthogonal columns in W, [{uniqueness.within('fig5', 'identity', 'diagonal')} of the long runs]"
        f"({SITE}uniqueness.html) end within 2° of the true latents with a diagonal Σ, "
        f"{uniqueness.within('fig5', 'identity', 'full')} with a full one. For other W the rotation is that of W's "
        f"principal axes, and with nonlinear decoders it is not the true one either. {_verdicts()}",
    ]
    return "\n".join(lines)


def _verdicts() -> str:
    """How many of the paper's claims are shown, and which are not."""
    found = {name: verdict for name, *_, verdict in claims.verdicts()}
    names = [name for name, *_ in claims.FIGURES.values()]
    shown, partly, left = (
        sum(found[name] == each for name in names) for each in (verdicts.SHOWN, verdicts.PARTLY, verdicts.NOT_SHOWN)
    )
    missing = {name for name in names if found[name] == verdicts.NOT_SHOWN}
    assert missing == {"Figure 4", "Table 1, app. G", "§3.2"}, "not shown is another claim: write another"
    return (
        f"Of the paper's {len(names)} figures and claims, [{shown} are shown here, {partly} partly and {left} not]"
        f"({RESULTS}the-papers-claims-and-what-is-shown): what is not shown is that samples are as good without the "
        "noise, and that single latents stand for single factors."
    )


def _compared(part: dict[str, float]) -> str:
    """How it compares with the β-VAE: no more than what the interval says."""
    return {-1: "better", 1: "worse", 0: "no significant difference"}[side(part)]


def _gain(part: dict[str, float]) -> str:
    return "none" if part["value"] >= 0 else "small" if part["high"] < 0 else "small and not significant"
