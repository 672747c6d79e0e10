"""Run all trials of all panels, as many at a time as there are cores; show progress, survive interruption, resume.

A trial takes seconds at most and depends on nothing but its seed, so the unit of storage is the finished trial: an
interrupted run loses the trials under way and nothing else, and a resumed one ends with the same bits.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from curvae.errors import InputError
from curvae.files import write_atomic
from curvae.reproduce import cores
from curvae.reproduce.uniqueness.config import Config, Panel
from curvae.reproduce.uniqueness.engine import FIELDS, TrialRow, run_trial
from curvae.reproduce.uniqueness.optimum import run_optimum
from curvae.reproduce.uniqueness.trial import GenerativeModel
from curvae.terminal import console

Table = dict[str, NDArray[Any]]
"""One array a column, one entry a trial, ordered by index. The columns are those of ``engine.TrialRow``."""

FORMAT = 1


def to_table(rows: Iterable[TrialRow]) -> Table:
    """Rows to columns, ordered by index."""
    ordered = sorted(rows, key=lambda row: row.index)
    return {name: np.array([getattr(row, name) for row in ordered]) for name in FIELDS}


def to_rows(table: Table) -> list[TrialRow]:
    """Columns back to rows."""
    columns = [table[name].tolist() for name in FIELDS]
    rows: list[Any] = [[tuple(v) if isinstance(v, list) else v for v in row] for row in zip(*columns, strict=True)]
    return [TrialRow(*values) for values in rows]


@dataclass(frozen=True)
class PanelStore:
    """The table of one panel in a folder; refuses a table that another experiment wrote.

    Attributes:
        folder: where tables lie.
        config: gives schedule and seed.
        panel: which panel.
        name: the table's name.
    """

    folder: Path
    config: Config
    panel: Panel
    name: str

    @property
    def path(self) -> Path:
        """The table's file."""
        return self.folder / f"{self.name}.npz"

    @property
    def _fingerprint(self) -> str:
        model = self.panel.model
        return json.dumps(
            {
                "format": FORMAT,
                "panel": self.name,
                "points": model.points,
                "sigma": model.sigma,
                "norms": list(model.norms),
                "schedule": [list(pair) for pair in self.config.schedule],
                "seed": self.config.seed,
            }
        )

    def load(self) -> list[TrialRow]:
        """The rows stored so far; none if there is no file.

        Raises:
            InputError: the file is damaged, or belongs to another experiment.
        """
        if not self.path.exists():
            return []
        try:
            with np.load(self.path, allow_pickle=False) as stored:
                fingerprint, rows = str(stored["fingerprint"]), to_rows({name: stored[name] for name in FIELDS})
        except Exception as error:  # zip, zlib, header and memory errors have no common ancestor
            raise InputError(f"{self.path} is not a table of trials ({error}); move it away to start afresh") from error
        if fingerprint != self._fingerprint:
            raise InputError(
                f"{self.path} holds {fingerprint} but this experiment is {self._fingerprint}; use another folder"
            )
        return rows

    def save(self, rows: Iterable[TrialRow]) -> None:
        """Replace the table."""
        table: dict[str, Any] = {**to_table(rows), "fingerprint": np.array(self._fingerprint)}
        write_atomic(self.path, lambda path: np.savez_compressed(path, allow_pickle=False, **table))


SAVE_EVERY = 10.0
"""Seconds between two writes of a table."""


@dataclass(frozen=True)
class TableJob:
    """A table to fill: one row a trial.

    Attributes:
        name: of the table.
        panel: what the trials are.
        work: (panel, seed, index, n) to a row.
        trials: how many rows the finished table has.
    """

    name: str
    panel: Panel
    work: Callable[[Panel, int, int, int], TrialRow]
    trials: int


@dataclass(frozen=True)
class TrialTables:
    """An experiment's outcome.

    Attributes:
        config: what was run.
        tables: a table for each panel, by the panel's name.
        optima: for each amortised model, the ELBO's own optimum on every trial's data (mean-field); one row where all
            trials have the same data.
        seconds: wall-clock time of this call by table; what an earlier call did is not in it.
    """

    config: Config
    tables: dict[str, Table]
    optima: dict[GenerativeModel, Table]
    seconds: dict[str, float]

    def of(self, panel: Panel) -> Table:
        """The table of a panel."""
        return self.tables[panel.name]


def run(config: Config, out: Path | None = None, quiet: bool = False) -> TrialTables:
    """Run an experiment.

    Args:
        config: what to run.
        out: folder for the tables; finished trials that lie there already are not run again. None keeps nothing.
        quiet: no progress on stderr.

    Raises:
        InputError: a table in ``out`` is damaged or belongs to another experiment, or Numba is not installed.
        KeyboardInterrupt: after the finished trials are stored.

    Example:
        >>> from curvae.reproduce.uniqueness.config import CONFIGS
        >>> import dataclasses
        >>> cfg = dataclasses.replace(CONFIGS["fig1", "smoke"], schedule=((2, 1),))
        >>> sorted(run(cfg, quiet=True).tables)[:2]  # of two W
        ['tanh-diagonal-orthogonal-w0-amortised', 'tanh-diagonal-orthogonal-w1-amortised']
    """
    optima = _optimum_jobs(config)
    jobs = [TableJob(panel.name, panel, run_trial, config.trials) for panel in config.panels] + list(optima.values())
    stores = {job.name: PanelStore(out, config, job.panel, job.name) if out else None for job in jobs}
    # read every table before the first trial, so that a foreign one is refused at once
    kept = {name: store.load() if store else [] for name, store in stores.items()}
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    tables, seconds = {}, {}
    with Progress(*columns, console=console(), disable=quiet) as progress:
        for job in jobs:
            begun = time.monotonic()
            tables[job.name] = _run_job(config, job, stores[job.name], kept[job.name], progress)
            seconds[job.name] = time.monotonic() - begun
    panels = {panel.name: tables[panel.name] for panel in config.panels}
    return TrialTables(config, panels, {model: tables[job.name] for model, job in optima.items()}, seconds)


def _optimum_jobs(config: Config) -> dict[GenerativeModel, TableJob]:
    """The search for the optimum of every amortised model; it does not depend on the family or the guard."""
    models = dict.fromkeys(panel.model for panel in config.panels if panel.amortised and config.optima)
    return {
        model: TableJob(
            f"{model.nu.value}-optimum-{model.name}",
            Panel(model, mean_field=True),
            run_optimum,
            config.trials if model.draw is None else 1,
        )
        for model in models
    }


def _run_job(
    config: Config, job: TableJob, store: PanelStore | None, rows: list[TrialRow], progress: Progress
) -> Table:
    """All trials of one table that are not in ``rows`` yet."""
    done = {row.index for row in rows}
    # longest first, so that no core idles at the end
    todo = sorted((i for i in range(job.trials) if i not in done), key=lambda i: -config.periods[i])
    task = progress.add_task(job.name, total=job.trials, completed=len(done))
    pool = ThreadPoolExecutor(config.threads or cores.usable())
    pending = {pool.submit(job.work, job.panel, config.seed, i, config.periods[i]) for i in todo}
    saved = time.monotonic()
    try:
        while pending:
            finished, pending = wait(pending, timeout=1.0, return_when=FIRST_COMPLETED)
            rows.extend(future.result() for future in finished)
            progress.update(task, completed=len(rows))
            if store and finished and time.monotonic() - saved > SAVE_EVERY:
                store.save(rows)
                saved = time.monotonic()
    except KeyboardInterrupt:
        rows.extend(_drain(pool, pending))
        raise
    finally:
        pool.shutdown(cancel_futures=True)
        if store and todo:
            store.save(rows)
    return to_table(rows)


def _drain(pool: ThreadPoolExecutor, pending: set[Future[TrialRow]]) -> list[TrialRow]:
    """Let the trials under way finish (seconds) and give up the rest."""
    pool.shutdown(wait=True, cancel_futures=True)
    return [future.result() for future in pending if not future.cancelled() and future.exception() is None]
