"""What a person sees of a sweep: a table of its runs, read from their folders wherever they are trained."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from curvae.errors import InputError
from curvae.files import open_regular

_TAIL = 4096
_ROWS = 20


class ProgressTable:
    """A table that follows the runs while they are trained; on a console that is no terminal, its last state.

    Args:
        steps: of each run folder, which need not exist yet.
        console: where to; None shows nothing.
    """

    def __init__(self, steps: Mapping[Path, int], console: Console | None) -> None:
        self.steps, self.console = steps, console
        self._live: Live | None = None

    def __enter__(self) -> ProgressTable:
        if self.console is not None:
            self._live = Live(get_renderable=self.table, console=self.console, refresh_per_second=1)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._live is not None:
            # of what was refused there is nothing to show
            refused = kind is not None and issubclass(kind, InputError)
            self._live.transient = refused
            self._live.stop()
            if not self._live.console.is_terminal and not refused:
                self._live.console.line()  # what is printed next begins a line of its own

    def table(self) -> Table:
        """One row a run: those under way first, then those that wait, then as many finished ones as fit."""
        done = {path: self.steps[path] if (path / "model.json").exists() else last_step(path) for path in self.steps}
        finished = [path for path, step in done.items() if step == self.steps[path]]
        waiting = [path for path, step in done.items() if step == 0]
        running = [path for path in self.steps if path not in {*finished, *waiting}]
        table = Table(title=f"{len(finished)} of {len(self.steps)} runs are finished", title_justify="left")
        table.add_column("run", overflow="fold")
        table.add_column("step", justify="right")
        table.add_column("", width=20)
        rows = [*running, *waiting, *finished]
        for path in rows[:_ROWS]:
            bar = ProgressBar(self.steps[path], done[path], width=20)
            table.add_row(path.name, f"{done[path]}/{self.steps[path]}", bar)
        if len(rows) > _ROWS:
            table.caption = f"and {len(rows) - _ROWS} more"
        return table


def last_step(run: Path) -> int:
    """The last step that a run has logged; 0 if none."""
    try:
        with open_regular(run / "metrics.jsonl") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - _TAIL))
            lines = file.read().split(b"\n")
    except (OSError, InputError):
        return 0
    for line in reversed(lines):
        try:
            return int(json.loads(line)["step"])
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
            continue  # nothing, or a line that is being written or was cut above
    return 0
