"""Curves that can be watched while a run trains: the lines of metrics, handed to loggers as well."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger, Logger

from curvae._extras import require
from curvae.objectives import Objective
from curvae.runs import Run, RunConfig
from curvae.runs.spelling import own_beta
from curvae.training.callbacks import Recorder
from curvae.training.schedule import beta_at, learning_rate

FOLDER = "logs"
"""Where a run's loggers by name write, in its folder."""


def check_logger(name: str) -> None:
    """See that a logger's package is there.

    Raises:
        MissingExtraError: it is not.
    """
    if name == "tensorboard":
        require("logger tensorboard needs", "tensorboard", extra="tensorboard")


def logger_of(config: RunConfig, folder: Path, start: int) -> list[Logger]:
    """The logger that a configuration names; what TensorBoard was told of steps after ``start`` is dropped."""
    if config.logger == "csv":
        # written anew from the lines, see Logs; the logger would warn that it deletes an older file
        shutil.rmtree(folder / FOLDER / "csv", ignore_errors=True)
        return [CSVLogger(folder, name=FOLDER, version="csv", flush_logs_every_n_steps=1)]
    if config.logger == "tensorboard":
        from lightning.pytorch.loggers import TensorBoardLogger

        return [TensorBoardLogger(folder, name=FOLDER, version="tensorboard", purge_step=start + 1)]
    return []


class Logs(Callback):
    """Hands every line of metrics to loggers as well, with the learning rate and the objective's β, if it has one.

    A CSV file begins with the run's earlier lines, since its logger deletes an older file.
    """

    def __init__(self, loggers: Sequence[Logger], recorder: Recorder, run: Run, objective: Objective) -> None:
        self.loggers, self.recorder, self.config = loggers, recorder, run.config
        self._beta = own_beta(objective)
        self._last = recorder.latest
        for logger in loggers:
            for line in run.metrics if isinstance(logger, CSVLogger) else ():
                self._log(logger, line)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: object) -> None:
        """Hand on what is new."""
        if self.recorder.latest is not self._last:
            self._last = self.recorder.latest
            for logger in self.loggers:
                self._log(logger, self._last)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Close the loggers' files."""
        for logger in self.loggers:
            logger.finalize("success")

    def _log(self, logger: Logger, line: Mapping[str, Any]) -> None:
        step = line["step"]
        settings = {"lr": learning_rate(self.config, step - 1)}
        if self._beta is not None:
            settings["beta"] = beta_at(self.config, self._beta, step - 1)
        held_out = line.get("held_out")
        later = {} if held_out is None else {f"held_out/{name}": value for name, value in _named(held_out).items()}
        logger.log_metrics({**_named(line), **later, **settings}, step)


def _named(values: Mapping[str, Any]) -> dict[str, float]:
    return {"total": values["total"], **values["parts"]}
