"""One start of a run's training: what it takes, and how it ended."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch
from lightning.pytorch import Callback
from lightning.pytorch.loggers import Logger
from rich.console import Console

from curvae.autoencoder import Autoencoder
from curvae.data import Dataset
from curvae.objectives import Objective
from curvae.runs import Run
from curvae.training.checkpoint import Checkpoint
from curvae.training.devices import Group


@dataclass(frozen=True)
class Outcome:
    """How a call of :func:`train` ended.

    Attributes:
        run: the run folder.
        step: steps done, over all starts.
        done_before: steps that were done before this call.
        stopped_by: the name of the signal that came, None for none; after the last step it ends nothing.
        stopped_early: whether the held-out values ended the training before its last step.
    """

    run: Run
    step: int
    done_before: int
    stopped_by: str | None = None
    stopped_early: bool = False

    @property
    def finished(self) -> bool:
        """Whether all steps are done, or no more are to be; else a signal stopped the run and it can be resumed."""
        return self.stopped_early or self.step == self.run.config.steps


@dataclass(frozen=True)
class Job:
    """One start of a run's training.

    Attributes:
        run: the folder, whose configuration says how to train.
        model: what is trained, in place.
        objective: what is minimised.
        dataset: on what.
        device: where.
        checkpoint: what training goes on from, None at the beginning.
        console: where progress is shown; None shows none.
        keep: steps after which the model is exported beside the finished one.
        callbacks: more of Lightning's.
        loggers: beside the one that the configuration names.
        group: the processes that share the training, where there are several; this job is of one of them.
    """

    run: Run
    model: Autoencoder
    objective: Objective
    dataset: Dataset
    device: torch.device
    checkpoint: Checkpoint | None = None
    console: Console | None = None
    keep: Collection[int] = ()
    callbacks: Sequence[Callback] = ()
    loggers: Sequence[Logger] = ()
    group: Group | None = None

    @property
    def writes(self) -> bool:
        """Whether this process is the one that writes to the folder."""
        return self.group is None or self.group.leads
