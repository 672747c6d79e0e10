"""Run all trials of all panels, as many at a time as there are cores; show progress, survive interruption, resume.

A trial takes seconds at most and depends on nothing but its seed, so the unit of storage is the finished trial: an
interrupted run loses the trials under way and nothing else, and a resumed one ends with the same bits.
"""

from __future__ import annotations

import os
import time
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from curvae.experiments.uniqueness.config import Config, Panel
from curvae.experiments.uniqueness.engine import Row, run_trial
from curvae.experiments.uniqueness.store import PanelStore, Table, to_table

SAVE_EVERY = 10.0
"""Seconds between two writes of a table."""


@dataclass(frozen=True)
class Result:
    """An experiment's outcome.

    Attributes:
        config: what was run.
        tables: a table for each panel, by the panel's name.
        seconds: wall-clock time of this call for each panel; what an earlier call did is not in it.
    """

    config: Config
    tables: dict[str, Table]
    seconds: dict[str, float]

    def of(self, panel: Panel) -> Table:
        """The table of a panel."""
        return self.tables[panel.name]


def run(config: Config, out: Path | None = None, quiet: bool = False) -> Result:
    """Run an experiment.

    Args:
        config: what to run.
        out: folder for the tables; finished trials that lie there already are not run again. None keeps nothing.
        quiet: no progress on stderr.

    Raises:
        InputError: a table in ``out`` is damaged or belongs to another experiment, or Numba is not installed.
        KeyboardInterrupt: after the finished trials are stored.

    Example:
        >>> from curvae.experiments.uniqueness.config import Figure
        >>> import dataclasses
        >>> cfg = dataclasses.replace(Config.smoke(Figure.FIG1), schedule=((2, 1),))
        >>> sorted(run(cfg, quiet=True).tables)
        ['tanh-diagonal-orthogonal-amortised', 'tanh-full-orthogonal-amortised']
    """
    stores = {panel: PanelStore(out, config, panel) if out else None for panel in config.panels}
    # read every table before the first trial, so that a foreign one is refused at once
    kept = {panel: store.load() if store else [] for panel, store in stores.items()}
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    tables, seconds = {}, {}
    with Progress(*columns, console=Console(stderr=True), disable=quiet) as progress:
        for panel in config.panels:
            begun = time.monotonic()
            tables[panel.name] = _run_panel(config, panel, stores[panel], kept[panel], progress)
            seconds[panel.name] = time.monotonic() - begun
    return Result(config, tables, seconds)


def _run_panel(config: Config, panel: Panel, store: PanelStore | None, rows: list[Row], progress: Progress) -> Table:
    """All trials of one panel that are not in ``rows`` yet."""
    done = {row.index for row in rows}
    # longest first, so that no core idles at the end
    todo = sorted((i for i in range(config.trials) if i not in done), key=lambda i: -config.periods[i])
    task = progress.add_task(panel.name, total=config.trials, completed=len(done))
    pool = ThreadPoolExecutor(config.threads or len(os.sched_getaffinity(0)))
    pending = {pool.submit(run_trial, panel, config.seed, i, config.periods[i]) for i in todo}
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


def _drain(pool: ThreadPoolExecutor, pending: set[Future[Row]]) -> list[Row]:
    """Let the trials under way finish (seconds) and give up the rest."""
    pool.shutdown(wait=True, cancel_futures=True)
    return [future.result() for future in pending if not future.cancelled() and future.exception() is None]
