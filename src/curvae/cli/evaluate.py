"""``curvae evaluate``."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import Progress
from rich.table import Table
from typer import Argument, Option

from curvae.cli import options
from curvae.cli.group import fail
from curvae.cli.own import Code
from curvae.cli.places import path
from curvae.errors import InputError
from curvae.terminal import console, print_table

if TYPE_CHECKING:
    from curvae.autoencoder import Autoencoder
    from curvae.likelihoods import Likelihood
    from curvae.metrics import ActiveUnits, Estimate, Evaluation, Likelihoods
    from curvae.runs import Run


# what is drawn averages out like one over its square root: beyond these a person has mistyped
_MOST = {"samples": 100_000, "columns": 10_000, "nll": 1_000_000}


def evaluate(
    runs: Annotated[list[Path], Argument(help="Run folders; several make one table.", metavar="RUN...", parser=path)],
    limit: Annotated[int, Option(help="Use at most this many held-out samples.")] = 5000,
    samples: Annotated[int, Option(help="Draws per sample for objective (2).")] = 8,
    columns: Annotated[int, Option(help="Sampled columns per sample.")] = 1,
    nll: Annotated[
        int | None, Option(help="Also estimate -log p(x), with K importance-weighted draws per sample.", metavar="K")
    ] = None,
    batch_size: options.BatchSize = 100,
    seed: options.Seed = 0,
    device: options.Device = "auto",
    model: options.Model = None,
    trust: options.Trust = False,
    as_json: options.Json = False,
) -> None:
    """Measure runs on their held-out data: the three objectives, reconstruction, penalty, alignment, active units.

    The results are also kept in the run folder, where curvae report finds them; if they cannot be written there, they
    are printed all the same and the exit code is 1. Of an unfinished run the last checkpoint is measured, and nothing
    is kept.
    """
    from curvae.runs import Run

    counts = {"limit": limit, "batch-size": batch_size, "samples": samples, "columns": columns, "nll": nll}
    for name, value in counts.items():
        if value is not None and not 1 <= value <= _MOST.get(name, value):
            most = f" and at most {_MOST[name]}" if name in _MOST else ""
            raise InputError(f"--{name} is {value}; expected a whole number >= 1{most}")
    code, unwritable = Code.of(model, trust), []
    opened = [Run.open(run) for run in runs]
    code.check(opened)
    measured: list[_Found] = []
    with code.errors():
        finished = [run.finished for run in opened]  # now: a training may end while its checkpoint is measured
        models = [code.latest(run) for run in opened]  # all of them first: one that cannot be read costs no time
        for run, done, (own, step) in zip(opened, finished, models, strict=True):
            found = _measure(run, own, limit, samples, columns, nll, batch_size, seed, device)
            measured.append(found if done else replace(found, step=step))
            if done:
                unwritable.append(_keep(run, measured[-1]))
    _print(runs, measured, as_json)
    for line in filter(None, unwritable):
        fail(f"what was measured is printed but not kept: {line}", 1)


def _print(runs: list[Path], measured: list[_Found], as_json: bool) -> None:
    if as_json:
        found = [
            {"run": str(run), **one.evaluation.to_json(), **one.beside()}
            for run, one in zip(runs, measured, strict=True)
        ]
        typer.echo(json.dumps({"runs": found} if len(runs) > 1 else found[0]))
    elif len(runs) == 1:
        print_table(_table(runs[0], measured[0]))
    else:
        above = os.path.commonpath([run.absolute().parent for run in runs])
        _print_beside([os.path.relpath(run.absolute(), above) for run in runs], measured)


def _print_beside(names: list[str], measured: list[_Found]) -> None:
    """One table, or as many as it takes for the numbers to fit."""
    where = console(stderr=False)
    anything = where.options.update(max_width=10**6)
    count = len(names)
    while count > 1 and where.measure(_beside(names[:count], measured), options=anything).maximum > where.width:
        count -= 1
    print_table(_beside(names[:count], measured))
    if names[count:]:
        _print_beside(names[count:], measured[count:])


def _keep(run: Run, found: _Found) -> str | None:
    """Store what was measured in the run folder, or say why that cannot be."""
    try:
        run.save_evaluation(found.evaluation, found.beside())
    except InputError as error:
        return str(error)
    except OSError as error:
        return f"{run.path} cannot be written: {error.strerror or error}"
    return None


@dataclass(frozen=True)
class _Found:
    """What was measured, and with which observation models: the run's, and ``noise`` for −log p(x).

    ``step`` is that of the checkpoint of a run that is not finished.
    """

    evaluation: Evaluation
    likelihood: Likelihood
    units: ActiveUnits | None
    nll: Likelihoods | None
    noise: Likelihood
    step: int | None = None

    def beside(self) -> dict[str, Any]:
        """What the evaluation itself does not hold, ready for JSON."""
        found: dict[str, Any] = {"likelihood": repr(self.likelihood)}
        if self.step is not None:
            found["checkpoint_step"] = self.step
        if self.units is not None:
            found["active_units"] = {
                "count": self.units.count,
                "latents": self.units.variance.numel(),
                "threshold": self.units.threshold,
                "variance": self.units.variance.tolist(),
            }
        if self.nll is not None:
            mean, several = self.nll.mean(), self.nll.samples > 1
            found["nll"] = {
                "mean": mean.mean,
                "se": mean.se,
                "samples": self.nll.samples,
                "bias": float(self.nll.bias.mean()) if several else None,
                "effective_samples": float(self.nll.ess.mean()),
                "likelihood": repr(self.noise),
            }
        return found


def _measure(
    run: Run,
    model: Autoencoder,
    limit: int,
    samples: int,
    columns: int,
    nll: int | None,
    batch_size: int,
    seed: int,
    device: str,
) -> _Found:
    from curvae.metrics import Implied, active_units, at_unit_beta, importance_weighted_nll
    from curvae.metrics import evaluate as measure
    from curvae.metrics.codes import has_posterior
    from curvae.runs.conditions import at_conditions
    from curvae.runs.device import choose_device, generator

    where = choose_device(device)
    own = model.to(where)
    dataset = run.dataset()
    # a number beyond 64 bits is one that PyTorch does not take
    at, data = at_conditions(own, dataset, min(limit, len(dataset.test)))
    batch_size = min(batch_size, len(data))
    likelihood, structure = run.noise(own)
    noise = likelihood if nll is None else at_unit_beta(likelihood, run.config.beta)
    shown_on = console()
    with Progress(console=shown_on, transient=True, disable=not shown_on.is_terminal) as progress:

        def bar(name: str) -> Callable[[int], None]:
            task = progress.add_task(name, total=len(data))
            return lambda done: progress.update(task, completed=done)

        evaluation = measure(
            at,
            data,
            run.config.beta,
            likelihood,
            structure,
            generator=generator(seed, where),
            samples=samples,
            columns=columns,
            batch_size=batch_size,
            progress=bar("evaluate"),
        )
        units = active_units(at, data, batch_size=batch_size) if len(data) > 1 else None
        likelihoods = None
        if nll is not None:
            likelihoods = importance_weighted_nll(
                # a deterministic model draws from the posterior that it implies where the noise is at β = 1
                at if has_posterior(at) else Implied(at, 1.0, noise, structure),
                data,
                noise,
                samples=nll,
                # one of its own: the other numbers are the same with and without --nll
                generator=generator(seed, where),
                batch_size=batch_size,
                progress=bar("likelihood"),
            )
    return _Found(evaluation, likelihood, units, likelihoods, noise)


def _rows(found: _Found, several: bool) -> dict[str, Estimate]:
    """What is measured of every run, by its name in a table; ``several``: whose structures may differ."""
    evaluation = found.evaluation
    return {
        "β-VAE (2)": evaluation.beta_vae,
        "Taylor (7)": evaluation.taylor,
        "GRAE (12), own structure" if several else f"GRAE (12), {evaluation.structure}": evaluation.grae,
        "GRAE (12), Full()": evaluation.grae_full,
        "reconstruction term": evaluation.reconstruction,
        "squared error per output": evaluation.mse,
        "penalty (14), exact": evaluation.penalty_exact,
        "penalty (14), sampled": evaluation.penalty_sampled,
        "gap (7) − (12) full": evaluation.gap,
        "‖Σ⁻¹ − (I+M/β)‖ / ‖I+M/β‖": evaluation.alignment,
        "the same within the structure": evaluation.alignment_structure,
    }


def _beside(names: list[str], measured: list[_Found]) -> Table:
    """The first runs, a column for each name."""
    measured = measured[: len(names)]
    table = Table("", *names, title="held-out data, mean ± standard error")
    evaluations = [one.evaluation for one in measured]
    table.add_row("data", *(str(one.data) for one in evaluations))
    table.add_row("β", *(f"{one.beta:g}" for one in evaluations))
    table.add_row("structure", *(one.structure for one in evaluations))
    table.add_row("observation model", *(str(one.likelihood) for one in measured), end_section=True)
    rows = [_rows(one, True) for one in measured]
    for name in rows[0]:
        table.add_row(name, *(_cell(row[name]) for row in rows))
    table.add_row("active units", *("" if one.units is None else f"{one.units.count}" for one in measured))
    if any(one.nll is not None for one in measured):
        table.add_row("−log p(x)", *(_cell(None if one.nll is None else one.nll.mean()) for one in measured))
    if any(not one.own_posterior for one in evaluations):
        table.caption = "Σ of a deterministic model is the best one (11), as it has none of its own"
    return table


def _cell(estimate: Estimate | None) -> str:
    return "" if estimate is None else " ± ".join(filter(None, _numbers(estimate)))


def _numbers(estimate: Estimate) -> tuple[str, str]:
    """Mean and standard error, which is empty where it is not known."""
    return f"{estimate.mean:.5g}", "" if estimate.se is None else f"{estimate.se:.2g}"


def _table(run: Path, found: _Found) -> Table:
    evaluation = found.evaluation
    table = Table("", "mean", "± s.e.", title=f"{run}: {evaluation.data} held-out samples, β = {evaluation.beta:g}")
    for name, estimate in _rows(found, False).items():
        table.add_row(name, *_numbers(estimate))
    if evaluation.alignment_correlation is not None:
        table.add_row("correlation off the diagonal", f"{evaluation.alignment_correlation:.4f}", "")
    if found.units is not None:
        table.add_row("active units", f"{found.units.count} of {found.units.variance.numel()}", "")
    notes = [f"observation model {found.likelihood}"]
    if not evaluation.own_posterior:
        notes.append(
            "Σ is the best one (11), as a deterministic model has none of its own: within its structure it fits by "
            "construction"
        )
    if found.nll is not None:
        _add_nll(table, found.nll)
        same = found.noise is found.likelihood and evaluation.beta != 1
        role = "β only weighs the KL term in training" if same else "the noise where β is 1"
        notes.append(f"−log p(x) is in nats per sample under {found.noise}: {role}")
    table.caption = "\n".join(notes)
    return table


def _add_nll(table: Table, nll: Likelihoods) -> None:
    table.add_row(f"−log p(x), {nll.samples} draw{'s' * (nll.samples > 1)}", *_numbers(nll.mean()))
    if nll.samples > 1:
        table.add_row("  of which bias, about", f"{float(nll.bias.mean()):.2g}", "")
        table.add_row("  effective draws", f"{float(nll.ess.mean()):.1f}", "")
