"""The training loop: from a model, its data and its objective to a finished run, new or gone on with."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path

import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.plugins.environments import LightningEnvironment
from rich.console import Console
from torch.utils.data import DataLoader

from curvae._part import LostProcessError
from curvae._typing import Tensor
from curvae.data import Batch, Batches, Samples
from curvae.data.paired import Paired, values
from curvae.data.reasons import reason
from curvae.errors import InputError
from curvae.objectives import Objective
from curvae.objectives.support import known_to_fit
from curvae.runs import save_model
from curvae.runs.checks import cure
from curvae.runs.lines import HELD_OUT, cut_lines
from curvae.training.arguments import named
from curvae.training.average import WeightAverage
from curvae.training.batch_norm import PreciseBatchNorm
from curvae.training.callbacks import Checkpoints, Recorder, Together
from curvae.training.compiling import compile_networks, uncompile
from curvae.training.devices import plainly_normalised
from curvae.training.divergence import Watch
from curvae.training.errors import Stopped, TrainingError
from curvae.training.guests import Steps
from curvae.training.interrupts import Interrupts
from curvae.training.job import Job, Outcome
from curvae.training.logs import Logs, logger_of
from curvae.training.module import Training
from curvae.training.progress import Bar
from curvae.training.schedule import learning_rate, warmed
from curvae.training.snapshots import Snapshots
from curvae.training.stopping import EarlyStop
from curvae.training.trial import typed


def run_job(job: Job) -> Outcome:
    """Train until the last step, a signal, or held-out values that get no better.

    Raises:
        InputError: the checkpoint is not of this model.
        TrainingError: training diverged, or the folder cannot be written any more; the last good checkpoint is kept.
    """
    run, config, model, dataset, device = job.run, job.run.config, job.model, job.dataset, job.device
    model.to(device)
    if config.precision == "bf16":  # its convolutions are fastest with the channels of a pixel side by side
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.Adam(model.parameters(), lr=config.lr, fused=True)
    average = WeightAverage(model, config.ema) if config.ema else None
    stop = EarlyStop(config.early_stop) if config.early_stop else None
    start, seconds, watch = 0, 0.0, Watch()
    if job.checkpoint is not None:
        job.checkpoint.restore(run.checkpoint, model, optimizer, average, stop)
        start, seconds, watch = job.checkpoint.step, job.checkpoint.seconds, Watch(job.checkpoint.start)
    module = _module(job, optimizer, average, start)
    if config.compile and start < config.steps:
        _compile(module, values(typed(dataset.train[: config.batch_size], config)).to(device), job.console)
    held_out = typed(dataset.half(test=True)[:HELD_OUT], config).to(device)
    batch_norm = PreciseBatchNorm(dataset.half(), config.batch_size, config.seed)
    recorder = Recorder(run.path / "metrics.jsonl", config, held_out, batch_norm, watch, seconds, stop, job.writes)
    checkpoints = Checkpoints(run.checkpoint, config, dataset.digest, watch, lambda: recorder.seconds, start, stop)
    # before the checkpoint of the same step, so that a resumed run has none to catch up on
    snapshots = Snapshots(run.path, config, dataset.shape, job.keep, batch_norm, job.writes)
    ended = stop is not None and stop.due
    with Interrupts(alone=job.group is None) as interrupts, _failures(job, checkpoints):
        if job.writes:
            cut_lines(run.path / "metrics.jsonl", start)
        if start < config.steps and not ended:
            # the first of them, so that the end of a step is known before anything is written
            callbacks = [interrupts, recorder, snapshots, *_beside(job, recorder, checkpoints, start)]
            if job.group is not None:  # the last, so that all have had their say
                callbacks.append(Together(job.group, interrupts, config.checkpoint_every))
            # samples that are read one by one were not all looked at
            seen = None if isinstance(dataset.train, Samples) else getattr(job.objective, "likelihood", None)
            with _quiet(), _generators(module, device), plainly_normalised(model), known_to_fit(seen):
                _trainer(device, run.path, callbacks).fit(module, _loader(job, start))
            ended = stop is not None and stop.due
        uncompile(model)
        if ended or module.step == config.steps:
            _finish(job, average, stop)
    if not ended and module.step < config.steps and interrupts.received is None:
        raise TrainingError(f"training ended after step {module.step} of {config.steps} without a signal; use --resume")
    return Outcome(run, module.step, start, interrupts.received, ended and module.step < config.steps)


def _beside(job: Job, recorder: Recorder, checkpoints: Checkpoints, start: int) -> list[Callback]:
    """What writes, shows and calls the caller: of several processes in one."""
    if not job.writes:
        return []
    loggers = [*logger_of(job.run.config, job.run.path, start), *job.loggers]
    logs = [Logs(loggers, recorder, job.run, job.objective)] if loggers else []
    bar = [] if job.console is None else [Bar(job.console, recorder, job.run.config.steps)]
    return [checkpoints, *logs, *bar, *([Steps(), *job.callbacks] if job.callbacks else [])]


def _module(job: Job, optimizer: torch.optim.Optimizer, average: WeightAverage | None, start: int) -> Training:
    config, objective = job.run.config, job.objective

    def warming(step: int) -> Objective:
        # the objective itself when β has risen
        return warmed(objective, config, step) if step < config.beta_warmup else objective

    return Training(
        job.model,
        objective,
        optimizer,
        seed=config.seed,
        bf16=config.precision == "bf16",
        step=start,
        cure=cure(job.dataset, config),
        rate=partial(learning_rate, config),
        warming=warming if config.beta_warmup else None,
        pieces=config.accumulate,
        clip=config.clip,
        average=average,
        seeded=bool(config.model),
        group=job.group,
        part=None if job.group is None else job.group.part(config.batch_size),
    )


def _loader(job: Job, start: int) -> DataLoader[Tensor | Batch]:
    """The batches of the steps; each is all that a step sees."""
    config, data = job.run.config, job.dataset.half()
    size, rows = config.batch_size * config.accumulate, None
    if job.group is not None:  # this process's part of each piece of a step
        part = job.group.part(config.batch_size).rows
        rows = torch.arange(size).view(config.accumulate, -1)[:, part].flatten()
    batches = Batches(_near(data, job.device), size, config.seed, start, config.steps, rows)
    # a generator of its own: a loader without one draws from PyTorch's global one
    workers = int(getattr(data, "workers", 0))
    return DataLoader(batches, batch_size=None, generator=torch.Generator(), num_workers=workers)


def _finish(job: Job, average: WeightAverage | None, stop: EarlyStop | None) -> None:
    """Leave the model with the weights that were measured, and export it."""
    if stop is not None and stop.model:
        job.model.load_state_dict(stop.model)
    elif average is not None:
        average.keep(job.model)
    job.model.cpu()
    if job.writes:
        save_model(job.model, job.run.config, job.dataset.shape, job.run.path)


def _generators(module: Training, device: torch.device) -> AbstractContextManager[None]:
    """PyTorch's global generators as they were, after a training that seeds them for each step."""
    if not module.seeded:
        return nullcontext()
    return torch.random.fork_rng(devices=[device] if device.type == "cuda" else [])


@contextmanager
def _failures(job: Job, checkpoints: Checkpoints) -> Iterator[None]:
    """Say with every error what is left on disk; one of the system's is in writing, as the data are in memory."""
    run = job.run
    try:
        yield
    except (TrainingError, OSError, LostProcessError, InputError) as error:
        if isinstance(error, InputError) and job.group is None:
            raise
        if isinstance(error, LostProcessError):
            assert job.group is not None
            error = TrainingError(job.group.failure())
        full = f"{run.path} cannot be written: {reason(error)}; correct that and continue with --resume"
        what = full if isinstance(error, OSError) else str(error)
        kept = f"{run.checkpoint} keeps step {checkpoints.saved}" if checkpoints.saved else "no checkpoint was made"
        told = f"{what}; {kept}"
        raise (Stopped(told, error.signal) if isinstance(error, Stopped) else TrainingError(told)) from None


def _compile(module: Training, x: Tensor, console: Console | None) -> None:
    """Compile the networks, or say in one line why not."""
    if module.bf16 and x.device.type == "cpu":
        reason: str | None = "the networks are not compiled: bf16 on a CPU is faster as it is"
    elif module.model.condition is not None:
        reason = "the networks are not compiled: they take a condition"
    else:
        module.compiled = True
        reason = compile_networks(module.model, module.objective, x, module.precision())
        module.compiled = reason is None
    if reason:
        tell(reason, console)


def tell(line: str, console: Console | None) -> None:
    """To the person at the console, or to whoever called without one."""
    line = named(line)
    if console:
        console.print(line, highlight=False, soft_wrap=True, markup=False)
    else:
        warnings.warn(line, RuntimeWarning, stacklevel=3)


def _trainer(device: torch.device, folder: Path, callbacks: list[Callback]) -> Trainer:
    return Trainer(
        accelerator="gpu" if device.type == "cuda" else "cpu",
        devices=1 if device.type == "cpu" else [device.index or 0],
        max_epochs=1,
        callbacks=callbacks,
        plugins=[LightningEnvironment()],
        default_root_dir=folder,
        # all of these write files, print or take time between steps
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_autolog_hparams=False,
        num_sanity_val_steps=0,
        limit_val_batches=0,
    )


def _near(data: Tensor | Samples | Paired, device: torch.device) -> Tensor | Samples | Paired:
    """The training data on the device where they fit easily: then no batch has to cross."""
    x = data.x if isinstance(data, Paired) else data
    if device.type != "cuda" or isinstance(data, Samples) or isinstance(x, Samples):
        return data
    free, _ = torch.cuda.mem_get_info(device)
    return data.to(device) if x.nbytes < free / 4 else data


@contextmanager
def _quiet() -> Iterator[None]:
    """Without Lightning's remarks about devices, workers and products."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="lightning")
            yield
    finally:
        logger.setLevel(level)
