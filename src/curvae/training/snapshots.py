"""The model at chosen steps of a run, kept as exported weights beside the checkpoint that training goes on from."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from lightning.pytorch import Callback, LightningModule, Trainer

from curvae.runs import RunConfig, save_model
from curvae.training.batch_norm import PreciseBatchNorm
from curvae.training.module import Training


def snapshot(run: Path, step: int) -> Path:
    """Where a run folder keeps the model after ``step``; :func:`curvae.runs.load_model` reads it.

    Example:
        >>> snapshot(Path("run"), 200).as_posix()
        'run/snapshots/200'
    """
    return run / "snapshots" / str(step)


class Snapshots(Callback):
    """Exports the model after each of some steps, with batch-norm statistics estimated anew.

    A step that is done again after a resume is exported again, with the same bits on a CPU. Of several processes one
    writes.
    """

    def __init__(
        self,
        run: Path,
        config: RunConfig,
        shape: tuple[int, ...],
        steps: Collection[int],
        batch_norm: PreciseBatchNorm,
        writes: bool = True,
    ) -> None:
        self.run, self.config, self.shape, self.steps = run, config, shape, frozenset(steps)
        self.batch_norm, self.writes = batch_norm, writes

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: object) -> None:
        """Export if this is one of the steps."""
        assert isinstance(pl_module, Training)
        if pl_module.step in self.steps:
            with pl_module.deployed():
                self.batch_norm(pl_module)
                if self.writes:
                    save_model(pl_module.model, self.config, self.shape, snapshot(self.run, pl_module.step))
