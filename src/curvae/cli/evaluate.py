"""``curvae evaluate``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from typer import Argument, Option

from curvae.cli.group import writing

if TYPE_CHECKING:
    from curvae.metrics import Evaluation
    from curvae.runs import Run


def evaluate(
    run: Annotated[Path, Argument(help="A finished run folder.", metavar="RUN")],
    limit: Annotated[int, Option(help="Use at most this many held-out data.")] = 5000,
    samples: Annotated[int, Option(help="Draws per datum for objective (2).")] = 8,
    columns: Annotated[int, Option(help="Sampled columns per datum.")] = 1,
    batch_size: Annotated[int, Option(help="Data at a time.")] = 100,
    seed: Annotated[int, Option(help="Of the draws.")] = 0,
    device: Annotated[str, Option(help="auto, cpu or cuda.")] = "auto",
    as_json: Annotated[bool, Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure a run on its held-out data: the three objectives, reconstruction, penalty and alignment.

    Also kept in the run folder, where curvae report finds it.
    """
    from curvae.errors import InputError
    from curvae.runs import Run

    for name, value in (("limit", limit), ("batch-size", batch_size), ("samples", samples), ("columns", columns)):
        if value < 1:
            raise InputError(f"--{name} is {value}; expected a whole number >= 1")
    opened = Run.open(run)
    found = _measure(opened, limit, samples, columns, batch_size, seed, device)
    with writing(run):
        opened.save_evaluation(found)
    if as_json:
        typer.echo(json.dumps({"run": str(run), **found.to_json()}))
    else:
        Console().print(_table(run, found))


def _measure(run: Run, limit: int, samples: int, columns: int, batch_size: int, seed: int, device: str) -> Evaluation:
    from curvae.metrics import evaluate as measure
    from curvae.runs import build_likelihood, build_structure
    from curvae.runs.device import choose_device, generator

    where = choose_device(device)
    model = run.model().to(where)
    data = run.dataset().test[:limit]
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("evaluate", total=len(data))
        return measure(
            model,
            data,
            run.config.beta,
            build_likelihood(run.config.likelihood),
            build_structure(run.config.structure),
            generator=generator(seed, where),
            samples=samples,
            columns=columns,
            batch_size=batch_size,
            progress=lambda done: progress.update(task, completed=done),
        )


def _table(run: Path, found: Evaluation) -> Table:
    rows = {
        "β-VAE (2)": found.beta_vae,
        "Taylor (7)": found.taylor,
        f"GRAE (12), {found.structure}": found.grae,
        "GRAE (12), Full()": found.grae_full,
        "energy": found.energy,
        "squared error per output": found.mse,
        "penalty (14), exact": found.penalty_exact,
        "penalty (14), sampled": found.penalty_sampled,
        "gap (7) − (12) full": found.gap,
        "‖Σ⁻¹ − (I+M/β)‖ / ‖I+M/β‖": found.alignment,
        "the same within the structure": found.alignment_structure,
    }
    table = Table("", "mean", "± s.e.", title=f"{run}: {found.data} held-out data, β = {found.beta:g}")
    for name, estimate in rows.items():
        table.add_row(name, f"{estimate.mean:.5g}", f"{estimate.se:.2g}")
    if found.alignment_correlation is not None:
        table.add_row("correlation off the diagonal", f"{found.alignment_correlation:.4f}", "")
    if not found.own_posterior:
        table.caption = (
            "Σ is the best one (11), as a GRAE has none of its own: within its structure it fits by construction"
        )
    return table
