"""The parts of the README that hold measured numbers."""

from __future__ import annotations

import _bench as bench
import _figures as figures
import _frontier as frontier
import _long as long
from _links import SITE
from _numbers import num, percent, table


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


def _long() -> str:
    """What is left of that at the end of the long runs, and after a few steps with the noise."""
    less, more = long.lead("GRAE≈, one column"), frontier.continued("GRAE≈, one column", "β-VAE", 1000, "fitted")
    seeds, paid = less["beta_vae"]["seeds"], frontier.equal_time("GRAE≈, one column on 1/4", "one column on 1/4")
    return (
        f"After {less['step']:,} steps with a decaying rate (networks 1/16 as wide, {seeds} seed{'s' * (seeds > 1)}) "
        f"GRAE≈ minus the β-VAE is {long.cell(less['grae_full'])} in (13) and {long.cell(less['beta_vae'])} in (2) "
        f"([Long runs]({SITE}results.html#and-after-the-papers-20-000-steps)); with 1000 more steps as a β-VAE it is "
        f"{frontier.less_vae(more, 'grae_full')} and {frontier.less_vae(more, 'beta_vae')}. At equal time, with one "
        f"column of 1/4 of the batch against a β-VAE of {paid['steps']:,} steps, "
        f"{long.cell(paid['less']['grae_full'])} and {long.cell(paid['less']['beta_vae'])} are left "
        f"([GRAE first, β-VAE last]({SITE}objectives.html#grae-first-vae-last))."
    )


def _results() -> str:
    vae, column, few = (bench.learned(way)["last"]["grae_full"] for way in ("β-VAE", bench.COLUMN, bench.EXACT_32))
    buys, blocks = f"{SITE}results.html#what-a-step-buys", figures.blocks_found("fig7")
    lines = [
        "- **A step without noise learns more.** After 1500 steps on MNIST, objective (13) on held-out digits (lower "
        f"is better) is {bench.plus_minus(column, 2)} with GRAE≈, {bench.plus_minus(few, 2)} with all columns of 1/32 "
        f"of each batch, and {bench.plus_minus(vae, 2)} with the β-VAE ([What a step buys]({buys})). {_long()}",
        f"- **Structure in the noise becomes structure in the decoder.** After {blocks['steps']} steps on MNIST "
        f"(networks 1/16 as wide, {blocks['seeds']}) the blocks of Σ show in JᵀJ beyond 95 % of random orders of the "
        f"latents in {blocks['beyond_orders']} settings "
        f"([Blocks]({SITE}results.html#do-the-blocks-of-show-in-the-decoder)).",
        f"- **Diagonal posteriors single out one rotation, full ones do not.** For a linear decoder, "
        f"{percent(figures.within('identity-diagonal'))} of the long runs end within 2° of the true latents with "
        f"a diagonal Σ, {percent(figures.within('identity-full'))} with a full one "
        f"([Uniqueness]({SITE}uniqueness.html)).",
    ]
    return "\n".join(lines)
