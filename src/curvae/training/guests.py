"""Callbacks that a caller hands over."""

from __future__ import annotations

from collections.abc import Sequence

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch import callbacks as lightnings

from curvae._checks import shown
from curvae.errors import InputError
from curvae.training.module import Training

# what fit does itself: theirs would find nothing to do, or refuse in words about a trainer that nobody has made
_INSTEAD: tuple[tuple[type[Callback], str], ...] = (
    (lightnings.EarlyStopping, "early_stop"),
    (lightnings.Checkpoint, "checkpoint_every"),
    (lightnings.ProgressBar, "progress"),
    (lightnings.WeightAveraging, "ema"),
    (lightnings.StochasticWeightAveraging, "ema"),
    (lightnings.GradientAccumulationScheduler, "accumulate"),
    (lightnings.LearningRateMonitor, "logger"),
    (lightnings.DeviceStatsMonitor, "logger"),
    (lightnings.LearningRateFinder, "lr"),
    (lightnings.BatchSizeFinder, "batch_size"),
)


def check_callbacks(callbacks: Sequence[object]) -> None:
    """Refuse what is no callback, and those of Lightning's that have a place among the arguments of ``fit``.

    Raises:
        InputError: one of them is such.

    Example:
        >>> check_callbacks([lightnings.EarlyStopping("loss")])
        Traceback (most recent call last):
        curvae.errors.InputError: callbacks has EarlyStopping, which this loop does not run; use the argument early_stop
    """
    for callback in callbacks:
        if not isinstance(callback, Callback):
            raise InputError(f"callbacks has {shown(callback)}; expected callbacks of lightning.pytorch")
        for kind, argument in _INSTEAD:
            if isinstance(callback, kind):
                name = type(callback).__name__
                raise InputError(f"callbacks has {name}, which this loop does not run; use the argument {argument}")


class Steps(Callback):
    """Keeps ``trainer.global_step``, which counts the steps of Lightning's own optimiser loop, at the run's steps."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Those that an earlier start has done."""
        _count(trainer, pl_module)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: object) -> None:
        """One more."""
        _count(trainer, pl_module)


def _count(trainer: Trainer, module: LightningModule) -> None:
    assert isinstance(module, Training)
    trainer.fit_loop.epoch_loop.manual_optimization.optim_step_progress.total.completed = module.step
