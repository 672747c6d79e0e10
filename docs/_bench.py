"""What a training step costs and what it buys: the tables from ``results/bench/``."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from _numbers import num, read, table
from scipy.stats import t as student

# how the benchmarks and the learning curves name the ways to train, and what they are called here
COLUMN, QUARTER, EXACT, EXACT_32 = "one column", "one column on 1/4", "exact", "exact on 1/32"
_WAYS = {
    "β-VAE": ("β-VAE", "β-VAE"),
    COLUMN: ("GRAE≈, one column of every sample", "GRAE≈, one column"),
    QUARTER: ("GRAE≈, one column of 1/4 of the data", "GRAE≈, one column on 1/4"),
    "one column on 3/16": ("GRAE≈, one column of 3/16 of the data", "GRAE≈, one column on 3/16"),
    "one column on 1/8": ("GRAE≈, one column of 1/8 of the data", "GRAE≈, one column on 1/8"),
    "one column on 1/16": ("GRAE≈, one column of 1/16 of the data", None),
    EXACT: ("GRAE, all 12 columns of every sample", "GRAE, exact"),
    "exact on 1/16": ("GRAE, all 12 columns of 1/16 of the data", "GRAE, exact on 1/16"),
    EXACT_32: ("GRAE, all 12 columns of 1/32 of the data", "GRAE, exact on 1/32"),
}
TITLES = {
    "β-VAE": "β-VAE",
    COLUMN: "GRAE≈, one column of every sample",
    QUARTER: "GRAE≈, one column, 1/4 of the batch",
    "one column on 3/16": "GRAE≈, one column, 3/16 of the batch",
    "one column on 1/8": "GRAE≈, one column, 1/8 of the batch",
    "one column on 1/16": "GRAE≈, one column, 1/16 of the batch",
    EXACT: "GRAE, all columns of every sample",
    "exact on 1/16": "GRAE, all columns, 1/16 of the batch",
    EXACT_32: "GRAE, all columns, 1/32 of the batch",
}


def row(suite: str, name: str, size: str, reference: str) -> dict[str, Any]:
    """One measurement of a benchmark, by what was measured, on what, against what."""
    found = [
        r for r in read(f"bench/{suite}.json")[suite.rpartition("/")[2]]
        if r["name"] == name and r["reference"] == reference and size in f"{r['size']},"
    ]  # fmt: skip
    assert len(found) == 1, f"{len(found)} rows {name!r}, {size!r}, {reference!r} in {suite}"
    return found[0]


def compiled_secant(share: str) -> str:
    """A compiled step with one secant of a share of the batch, in compiled steps of the β-VAE."""
    return num(row("compiled", f"GRAE, one secant of {share}, --compile", "no-norm", "β-VAE, --compile")["ratio"])


def cost(way: str, reference: str = "β-VAE", size: str = "× 1,") -> float:
    """The time of a training step, in steps of ``reference``, at the paper's width."""
    return 1.0 if way == reference == "β-VAE" else row("steps", _WAYS[way][0], size, reference)["ratio"]


def _small(way: str) -> dict[str, Any]:
    return row("small/steps", _WAYS[way][0], "× 0.125,", "β-VAE")


def small_cost(way: str) -> float:
    """The same with networks × 1/8."""
    return float(_small(way)["ratio"])


def small(way: str) -> str:
    """That in words, and in brackets by FLOPs."""
    found = _small(way)
    return f"{num(found['ratio'])} ({num(found['operations_ratio'])})"


def cost_table() -> str:
    """Every way to train, against our β-VAE and pythae's."""
    rows = []
    for way, (name, _) in _WAYS.items():
        bf16 = row("steps", f"{name}, bf16", "× 1,", "pythae BetaVAE")["ratio"]
        own = ["1", "1"]
        if way != "β-VAE":
            own = [num(row("steps", name, "× 1,", "β-VAE")[key]) for key in ("ratio", "operations_ratio")]
        rows.append([TITLES[way], *own, num(cost(way, "pythae BetaVAE")), num(bf16)])
    gp = [row("steps", "pythae RAE_GP", "× 1,", reference)["ratio"] for reference in ("β-VAE", "pythae BetaVAE")]
    rows.append(["pythae's `RAE_GP`", num(gp[0]), "", num(gp[1]), ""])
    head = ["training step", "÷ β-VAE's, float32", "by FLOPs", "÷ pythae's `BetaVAE`, float32", "÷ the same, with bf16"]
    return table(head, rows)


def learned(way: str, networks: str = "0.0625", rate: str = "0.002") -> dict[str, Any]:
    """What 1500 steps at a rate that falls to 0 have made of a model."""
    rows = read("bench/learning/learning.json")["rows"]
    return rows[f"{_WAYS[way][1]}, networks × {networks}, 1500 steps, lr {rate} falling to 0"]


def lead(measure: str) -> dict[str, float]:
    """One column less the β-VAE of the same seeds after 1500 steps, with Student's 95 % interval."""
    vae = learned("β-VAE")
    part, seeds = vae["minus_one_column"][measure], len(vae["seeds"])
    half = float(student.ppf(0.975, seeds - 1)) * part["standard_error"]
    return {"value": -part["mean"], "low": -part["mean"] - half, "high": -part["mean"] + half}


def kept(way: str, measure: str) -> float:
    """Which share of one column's lead over the β-VAE another way keeps."""
    behind, vae = (learned(name)["minus_one_column"][measure]["mean"] for name in (way, "β-VAE"))
    return float(1 - behind / vae)


def plus_minus(part: dict[str, float], digits: int = 3) -> str:
    """A mean and its standard error."""
    return f"{num(part['mean'], digits)} ± {num(part['standard_error'], digits)}"


def learning_table() -> str:
    """Held-out values at the end of training."""
    rows = []
    for way in (way for way, (_, name) in _WAYS.items() if name):
        found = learned(way)
        less = "" if way == COLUMN else plus_minus(found["minus_one_column"]["grae_full"])
        last = found["last"]
        seeds = str(len(found["seeds"]))
        rows.append([TITLES[way], seeds, plus_minus(last["grae_full"]), less, plus_minus(last["beta_vae"])])
    return table(["", "seeds", "(13)", "(13), minus one column's, paired by seed", "(2)"], rows)


def crossing(way: str, key: str) -> float | None:
    """The step at which the mean curve over seeds reaches the β-VAE's last value."""
    goal = learned("β-VAE")["curve"][-1][key]
    curve = learned(way)["curve"]
    for before, after in pairwise(curve):
        if before[key] > goal >= after[key]:
            share = (before[key] - goal) / (before[key] - after[key])
            return before["step"] + share * (after["step"] - before["step"])
    return None


def crossing_table() -> str:
    """Steps and time to the β-VAE's values, the time in that of the β-VAE's own training."""
    rows = []
    for way in (COLUMN, QUARTER, "one column on 3/16", "one column on 1/8", "exact on 1/16", EXACT_32):
        cells = [TITLES[way]]
        for key in ("grae_full", "beta_vae"):
            steps = crossing(way, key)
            cells += ["not reached", ""] if steps is None else [num(steps, 0), num(steps / 1500 * cost(way))]
        rows.append(cells)
    return table(["", "steps for (13)", "time", "steps for (2)", "time"], rows)


def exact_table() -> str:
    """The log-determinant with its gradient against reverse mode."""
    sizes = ("d = 12", "d = 64", "d = 128")
    rows = [row("estimators", "Exact()", f"{size},", "vmap(jacrev), slogdet") for size in sizes]
    own = [f"{num(r['milliseconds'], 0)} ms, {num(r['megabytes'], 0)} MB" for r in rows]
    other = [f"{num(r['reference_milliseconds'] / 1000, 1)} s, {num(r['reference_megabytes'], 0)} MB" for r in rows]
    return table(["", *sizes], [["curvae", *own], ["`vmap(jacrev)` and `slogdet`", *other]])


def jacobian(reference: str, size: str = "× 0.125, batch 16, d = 12", what: str = "jacobian") -> dict[str, Any]:
    """One comparison of the exact Jacobian."""
    network = "the same with symmetric padding" if reference == "stochman nnj" else "paper's MNIST decoder"
    return row("jacobian", "curvae", f"{what}, {network} {size},", reference)


def growth(name: str) -> str:
    """Exponents of time and memory."""
    exponents = next(r["exponents"] for r in read("bench/scaling.json")["scaling"] if r["name"] == name)
    return f"{num(exponents['time'])} and {num(exponents['memory'])}"


def decoder_cost(way: str, network: str = "AutoencoderKL") -> str:
    """Steps of a β-VAE on a decoder of the kind that latent diffusion has."""
    return num(row("decoders", f"GRAE≈, {way}", network, "β-VAE")["ratio"])


def decoder_flops(way: str, network: str = "AutoencoderKL") -> str:
    """The same by FLOPs alone."""
    return num(row("decoders", f"GRAE≈, {way}", network, "β-VAE")["operations_ratio"])


def log_determinant_table() -> str:
    """Errors of one log-determinant by who estimates it, and how often the stated interval holds the truth."""
    rows = read("bench/log_determinant.json")["rows"]
    betas = sorted({row["beta"] for row in rows})
    cells: dict[str, list[str]] = {}
    for each in rows:
        covered = f" ({num(100 * each['covered'], 0)})" if "covered" in each else ""
        cells.setdefault(each["way"], []).append(f"{num(each['rms_percent'])}{covered}")
    return table(
        ["", *(f"β = {beta:g}" for beta in betas)],
        [[f"`{way}`" if way == "log_determinant" else way, *found] for way, found in cells.items()],
    )
