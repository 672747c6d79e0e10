"""A training run from beginning to end: new, stopped or resumed."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.plugins.environments import LightningEnvironment
from rich.console import Console
from torch.utils.data import DataLoader

from curvae._typing import Tensor
from curvae.autoencoder import Autoencoder
from curvae.data import Batches, Dataset, absolute
from curvae.data.notes import note
from curvae.data.reasons import reason
from curvae.metrics.codes import deployed
from curvae.runs import Run, RunConfig, build_objective, likelihood_of, load_data, save_model
from curvae.runs.checks import check_data, choose_network, cure, remarks
from curvae.runs.device import choose_device
from curvae.runs.lines import HELD_OUT, cut_lines
from curvae.runs.objective import Objective
from curvae.runs.own import Build
from curvae.runs.own_run import build_for_run, check_outputs, rebuilt
from curvae.runs.taking import check_free, clear, locked
from curvae.training.batch_norm import PreciseBatchNorm
from curvae.training.callbacks import Checkpoints, Recorder
from curvae.training.checkpoint import Checkpoint
from curvae.training.compiling import compile_networks
from curvae.training.divergence import Watch
from curvae.training.errors import TrainingError
from curvae.training.interrupts import Interrupts
from curvae.training.module import Training
from curvae.training.progress import Bar
from curvae.training.resume import changed, changes, last_checkpoint
from curvae.training.schedule import learning_rate
from curvae.training.snapshots import Snapshots
from curvae.training.trial import try_out, typed

# data that the objective is tried on
_TRIED = 4


@dataclass(frozen=True)
class Outcome:
    """How a call of :func:`train` ended.

    Attributes:
        run: the run folder.
        step: steps done, over all starts.
        done_before: steps that were done before this call.
        stopped_by: the name of the signal that came, None for none; after the last step it ends nothing.
    """

    run: Run
    step: int
    done_before: int
    stopped_by: str | None = None

    @property
    def finished(self) -> bool:
        """Whether all steps are done; else a signal stopped the run and it can be resumed."""
        return self.step == self.run.config.steps


def train(
    config: RunConfig,
    out: Path,
    *,
    resume: bool = False,
    console: Console | None = None,
    keep: Collection[int] = (),
    model: Build | None = None,
    free: Collection[str] = (),
) -> Outcome:
    """Train a model into a run folder.

    Everything that can be wrong with the input is found before the folder is touched. The order of the data, the
    noise of each step and the initialisation depend on the seed alone, so that on a CPU a run that was killed and
    resumed ends with the same bits as one that was not.

    Args:
        config: what to train.
        out: the run folder; new or empty, or with ``resume`` the one to go on with.
        resume: go on from the last checkpoint, with more steps, with the data at another place or on another device
            if the configuration says so, which the run then tells in its history. A finished run of no more steps is
            left as it is.
        console: where to show progress; None shows none.
        keep: steps after which the model is exported, to :func:`~curvae.training.snapshots.snapshot`, beside the
            finished one.
        model: what makes a model of one's own, for a configuration that names one.
        free: of ``"latents"`` and ``"structure"`` those that nobody chose, so that such a model decides.

    Returns:
        The run and how far it is.

    Raises:
        InputError: bad data, settings, folder or checkpoint.
        TrainingError: training diverged, or the folder cannot be written any more; the last good checkpoint is kept.
    """
    config = replace(config, data=absolute(config.data))
    if resume:
        return _resumed(config, out, console, keep, model)
    check_free(out)
    build_objective(config)  # settings that do not go together are refused before data are read
    device = choose_device(config.device)
    dataset = load_data(config)
    chosen = choose_network(config, dataset)
    if chosen != config and chosen.network == "mlp":
        note(f"network: {chosen.network}, for data of shape {dataset.shape}")
    config = chosen
    check_data(config, dataset)
    if config.model and model is not None:
        built, config = build_for_run(model, config, dataset.shape, free)
    else:
        built = rebuilt(config, dataset.shape, model)
    _try_out(config, built, dataset)
    with locked(out):
        run = Run.create(out, config, dataset, device, model)
        for remark in remarks(config, dataset):
            _tell(f"note: {remark}", console)
        return _fit(run, built, dataset, device, None, console, keep)


def _try_out(config: RunConfig, model: Autoencoder, dataset: Dataset) -> None:
    if config.model:
        with deployed(model):
            check_outputs(model, typed(dataset.train[:_TRIED], config))
    try_out(config, model, dataset)


def _resumed(
    config: RunConfig, out: Path, console: Console | None, keep: Collection[int], build: Build | None = None
) -> Outcome:
    run = Run.open(out)
    if run.finished and not changes(run, config):
        return Outcome(run, config.steps, config.steps)
    device = choose_device(config.device)
    with locked(out):
        run = Run.open(out)
        clear(out)
        checkpoint = last_checkpoint(run, config)
        dataset = run.dataset_of(config)
        config = choose_network(config, dataset)
        check_data(config, dataset)
        model = rebuilt(config, dataset.shape, build, folder=out)
        _try_out(config, model, dataset)
        run = changed(run, config, checkpoint, device, console)
        if run.finished:
            return Outcome(run, config.steps, config.steps)
        return _fit(run, model, dataset, device, checkpoint, console, keep)


def _fit(
    run: Run,
    model: Autoencoder,
    dataset: Dataset,
    device: torch.device,
    checkpoint: Checkpoint | None,
    console: Console | None,
    keep: Collection[int],
) -> Outcome:
    config = run.config
    model.to(device)
    if config.precision == "bf16":  # its convolutions are fastest with the channels of a pixel side by side
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.Adam(model.parameters(), lr=config.lr, fused=True)
    start, seconds, watch = 0, 0.0, Watch()
    if checkpoint is not None:
        checkpoint.restore(run.checkpoint, model, optimizer)
        start, seconds, watch = checkpoint.step, checkpoint.seconds, Watch(checkpoint.start)
    objective = build_objective(config, likelihood_of(config, model))
    bf16, advice = config.precision == "bf16", cure(dataset)
    rate = partial(learning_rate, config)
    module = Training(model, objective, optimizer, seed=config.seed, bf16=bf16, step=start, cure=advice, rate=rate)
    if config.compile and start < config.steps:
        _compile(module, objective, typed(dataset.train[: config.batch_size], config).to(device), console)
    held_out = typed(dataset.test[:HELD_OUT], config).to(device)
    batch_norm = PreciseBatchNorm(dataset.train, config.batch_size, config.seed)
    recorder = Recorder(run.path / "metrics.jsonl", config, held_out, batch_norm, watch, seconds)
    checkpoints = Checkpoints(run.checkpoint, config, dataset.digest, watch, lambda: recorder.seconds, saved=start)
    # before the checkpoint of the same step, so that a resumed run has none to catch up on
    snapshots = Snapshots(run.path, config, dataset.shape, keep, batch_norm)
    bar = [] if console is None else [Bar(console, recorder, config.steps)]
    batches = Batches(_near(dataset.train, device), config.batch_size, config.seed, start, config.steps)
    with Interrupts() as interrupts, _failures(run, checkpoints):
        cut_lines(run.path / "metrics.jsonl", start)
        if start < config.steps:
            with _quiet():
                # the first of them, so that the end of a step is known before anything is written
                trainer = _trainer(device, run.path, [interrupts, recorder, snapshots, checkpoints, *bar])
                # a generator of its own: a loader without one draws from PyTorch's global one
                trainer.fit(module, DataLoader(batches, batch_size=None, generator=torch.Generator()))
        if module.step == config.steps:
            save_model(model.cpu(), config, dataset.shape, run.path)
    if module.step < config.steps and interrupts.received is None:
        raise TrainingError(f"training ended after step {module.step} of {config.steps} without a signal; use --resume")
    return Outcome(run, module.step, start, interrupts.received)


@contextmanager
def _failures(run: Run, checkpoints: Checkpoints) -> Iterator[None]:
    """Say with every error what is left on disk; one of the system's is in writing, as the data are in memory."""
    try:
        yield
    except (TrainingError, OSError) as error:
        full = f"{run.path} cannot be written: {reason(error)}; mend that and go on with --resume"
        what = full if isinstance(error, OSError) else str(error)
        kept = f"{run.checkpoint} keeps step {checkpoints.saved}" if checkpoints.saved else "no checkpoint was made"
        raise TrainingError(f"{what}; {kept}") from None


def _compile(module: Training, objective: Objective, x: Tensor, console: Console | None) -> None:
    """Compile the networks, or say in one line why not."""
    if module.bf16 and x.device.type == "cpu":
        reason: str | None = "the networks are not compiled: bf16 on a CPU is faster as it is"
    else:
        module.compiled = True
        reason = compile_networks(module.model, objective, x, module.precision())
        module.compiled = reason is None
    if reason:
        _tell(reason, console)


def _tell(line: str, console: Console | None) -> None:
    """To the person at the console, or to whoever called without one."""
    if console:
        console.print(line, highlight=False, soft_wrap=True, markup=False)
    else:
        warnings.warn(line, RuntimeWarning, stacklevel=3)


def _trainer(device: torch.device, folder: Path, callbacks: list[Callback]) -> Trainer:
    return Trainer(
        accelerator="gpu" if device.type == "cuda" else "cpu",
        devices=1,
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


def _near(data: Tensor, device: torch.device) -> Tensor:
    """The training data on the device where they fit easily: then no batch has to cross."""
    if device.type != "cuda":
        return data
    free, _ = torch.cuda.mem_get_info(device)
    return data.to(device) if data.nbytes < free / 4 else data


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
