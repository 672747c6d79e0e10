"""What a person sees of a training run: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from curvae.training.callbacks import Recorder
from curvae.training.module import Training

# after which the time that a run takes can be told
_SECONDS = 5.0


class Bar(Callback):
    """Shows the steps done and the named loss terms on a console; training outlives a console that was closed.

    On one that is not a terminal, a line is printed at each held-out value.
    """

    def __init__(self, console: Console, recorder: Recorder, steps: int) -> None:
        self.console, self.recorder, self.steps = console, recorder, steps
        self._progress: Progress | None = None
        self._next = 0.0
        self._shown: dict[str, Any] = {}
        self._began, self._from, self._told = 0.0, 0, False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin the bar where the run begins."""
        assert isinstance(pl_module, Training)
        self._began, self._from = time.monotonic(), pl_module.step
        if not self.console.is_terminal:
            return
        columns = (TextColumn("step"), MofNCompleteColumn(), BarColumn(16), TextColumn("{task.fields[told]}"))
        self._progress = Progress(*columns, console=self.console)
        self._progress.add_task("train", total=self.steps, completed=pl_module.step, told="")
        self._progress.start()

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: object) -> None:
        """Show what is new, a few times a second."""
        assert isinstance(pl_module, Training)
        latest = self.recorder.latest
        if self._progress is not None:
            now = time.monotonic()
            if now >= self._next:
                self._next = now + 0.2
                task = self._progress.task_ids[0]
                self._progress.update(task, completed=pl_module.step, told=self._bar_text(pl_module.step))
            return
        self._estimate(pl_module.step)
        if "held_out" in latest and latest is not self._shown:
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
                self._progress.update(task, completed=pl_module.step, told=self._bar_text(pl_module.step))
                self._progress.stop()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Give the terminal back."""
        if self._progress is not None:
            with suppress(OSError):
                self._progress.stop()

    def _rate(self, step: int) -> float:
        """Steps in a second, with what comes between them; 0 while it cannot be told."""
        passed, done = time.monotonic() - self._began, step - self._from
        return done / passed if passed >= 1 and done >= 2 else 0.0

    def _bar_text(self, step: int) -> str:
        rate, latest = self._rate(step), self.recorder.latest
        speed = f"{rate:.3g}/s  {duration((self.steps - step) / rate)} left  " if rate else ""
        return speed + (f"total {latest['total']:.4g}" if latest else "")

    def _estimate(self, step: int) -> None:
        """Once, after a few seconds: how long all of it takes."""
        if self._told or step == self.steps or time.monotonic() - self._began < _SECONDS:
            return
        rate = self._rate(step)
        if rate:
            self._told = True
            line = f"about {duration((self.steps - step) / rate)} to go, {rate:.3g} steps a second"
            with suppress(OSError):
                self.console.print(line, highlight=False, soft_wrap=True)


def duration(seconds: float) -> str:
    """A time for people, to the unit that matters.

    Example:
        >>> duration(42.4), duration(600.0), duration(9000.0), duration(4e5)
        ('42 s', '10 min', '2.5 h', '4.6 d')
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 172_800 else f"{seconds / 86_400:.1f} d"


def terms_text(record: dict[str, Any]) -> str:
    """The named terms of a line of metrics, for people.

    Example:
        >>> terms_text({"step": 1, "total": 3.25, "parts": {"nll": 3.0, "kl": 0.25}})
        'total 3.25  nll 3  kl 0.25'
    """
    return "  ".join(f"{name} {value:.4g}" for name, value in {"total": record["total"], **record["parts"]}.items())
