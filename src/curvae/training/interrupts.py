"""An orderly stop: a signal ends training after the running step, and what is being written is finished."""

from __future__ import annotations

import signal
import threading
import time
from types import FrameType
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from curvae.training.errors import Stopped

_HANGUP = getattr(signal, "SIGHUP", None)  # not everywhere
_SIGNALS = tuple(number for number in (signal.SIGINT, signal.SIGTERM, _HANGUP) if number is not None)
# seconds after which a second signal is not an echo of the first
_IMPATIENCE = 1.0


class Interrupts(Callback):
    """Lets SIGINT, SIGTERM and SIGHUP end training after the running step, with everything written.

    While this context lasts, a signal ends nothing by itself: what is being written is finished. A second signal that
    comes more than a second after the first gives up a step that is still being computed. Several processes first have
    to agree on the step. The name of the signal that came is ``received``.
    """

    def __init__(self, alone: bool = True) -> None:
        self.alone = alone
        self.received: str | None = None
        self._since = 0.0
        self._computing = False
        self._trainer: Trainer | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interrupts:
        """Take over the signals; only a main thread can."""
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                # nohup has a process ignore its terminal's end, and so does this
                if number != _HANGUP or signal.getsignal(number) != signal.SIG_IGN:
                    self._before[number] = signal.getsignal(number)
        self._take()
        return self

    def __exit__(self, *_: object) -> None:
        """Give the signals back."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the signals back from Lightning, which gives up on SIGTERM without a checkpoint."""
        self._trainer = trainer
        trainer.should_stop = self.alone and self.received is not None
        self._take()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, *_: object) -> None:
        """From here on the step is computed."""
        self._computing = True

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: object) -> None:
        """The step is done: what follows is writing."""
        self._computing = False

    def _take(self) -> None:
        for number in self._before:
            signal.signal(number, self._stop)

    def _stop(self, number: int, _frame: FrameType | None) -> None:
        name, now = signal.Signals(number).name, time.monotonic()
        if self.received is None:
            self.received, self._since = name, now
            if self._trainer is not None and self.alone:
                self._trainer.should_stop = True
        elif self._computing and now - self._since > _IMPATIENCE:
            raise Stopped(f"stopped by a second {name}, in the middle of a step", name)
