"""What a person sees of a training run: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from curvae.training.callbacks import Recorder
from curvae.training.module import Training


class Bar(Callback):
    """Shows the steps done and the named loss terms on a console; training outlives a console that was closed.

    Args:
        console: where to; on one that is no terminal, a line is printed at each held-out value.
        recorder: has the values.
        steps: of the whole run.
    """

    def __init__(self, console: Console, recorder: Recorder, steps: int) -> None:
        self.console, self.recorder, self.steps = console, recorder, steps
        self._progress: Progress | None = None
        self._next = 0.0
        self._shown: dict[str, Any] = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin the bar where the run begins."""
        assert isinstance(pl_module, Training)
        if not self.console.is_terminal:
            return
        columns = (TextColumn("step"), MofNCompleteColumn(), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
        self._progress = Progress(*columns, TextColumn("{task.fields[terms]}"), console=self.console)
        self._progress.add_task("train", total=self.steps, completed=pl_module.step, terms="")
        self._progress.start()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Show what is new, a few times a second."""
        assert isinstance(pl_module, Training)
        latest = self.recorder.latest
        if self._progress is not None:
            now = time.monotonic()
            if now >= self._next:
                self._next = now + 0.2
                task = self._progress.task_ids[0]
                self._progress.update(task, completed=pl_module.step, terms=terms_text(latest))
        elif "held_out" in latest and latest is not self._shown:
            self._shown = latest
            held_out = f"held out {latest['held_out']['total']:.4g}"
            line = f"step {latest['step']}/{self.steps}  {terms_text(latest)}  {held_out}"
            with suppress(OSError):
                self.console.print(line, highlight=False, soft_wrap=True)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave the bar at its last state."""
        assert isinstance(pl_module, Training)
        if self._progress is not None:
            task = self._progress.task_ids[0]
            with suppress(OSError):
                self._progress.update(task, completed=pl_module.step, terms=terms_text(self.recorder.latest))
                self._progress.stop()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Give the terminal back."""
        if self._progress is not None:
            with suppress(OSError):
                self._progress.stop()


def terms_text(record: dict[str, Any]) -> str:
    """The named terms of a line of metrics, for people.

    Example:
        >>> terms_text({"step": 1, "total": 3.25, "parts": {"nll": 3.0, "kl": 0.25}})
        'total 3.25  nll 3  kl 0.25'
    """
    if not record:
        return ""
    return "  ".join(f"{name} {value:.4g}" for name, value in {"total": record["total"], **record["parts"]}.items())
