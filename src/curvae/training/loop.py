"""A training run from beginning to end: new, stopped or resumed."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from filelock import FileLock, Timeout
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.plugins.environments import LightningEnvironment
from rich.console import Console
from torch.utils.data import DataLoader

from curvae._typing import Tensor
from curvae.autoencoder import Autoencoder
from curvae.data import Batches, Dataset, absolute, as_float
from curvae.data.notes import note
from curvae.errors import IndefiniteError, InputError
from curvae.metrics.codes import deployed
from curvae.runs import Run, RunConfig, build_model, build_objective, likelihood_of, load_data, save_model
from curvae.runs.checks import check_data, choose_network, cure, remarks
from curvae.runs.device import choose_device
from curvae.runs.folder import check_free
from curvae.runs.lines import HELD_OUT, cut_lines
from curvae.runs.objective import Objective
from curvae.training.batch_norm import PreciseBatchNorm
from curvae.training.callbacks import Checkpoints, Interrupts, Recorder
from curvae.training.checkpoint import Checkpoint
from curvae.training.compiling import compile_networks
from curvae.training.errors import TrainingError
from curvae.training.module import Training
from curvae.training.progress import Bar
from curvae.training.snapshots import Snapshots

# data that the objective is tried on
_TRIED = 4


@dataclass(frozen=True)
class Outcome:
    """How a call of :func:`train` ended.

    Attributes:
        run: the run folder.
        step: steps done, over all starts.
        done_before: steps that were done before this call.
        stopped_by: the name of the signal that ended it early, None if it went to its end.
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
) -> Outcome:
    """Train a model into a run folder.

    Everything that can be wrong with the input is found before the folder is touched. The order of the data, the
    noise of each step and the initialisation depend on the seed alone, so that on a CPU a run that was killed and
    resumed ends with the same bits as one that was not.

    Args:
        config: what to train.
        out: the run folder; new or empty, or with ``resume`` the one to go on with.
        resume: go on from the last checkpoint; a finished run is left as it is.
        console: where to show progress; None shows none.
        keep: steps after which the model is exported, to :func:`~curvae.training.snapshots.snapshot`, beside the
            finished one.

    Returns:
        The run and how far it is.

    Raises:
        InputError: bad data, settings, folder or checkpoint.
        TrainingError: the loss or a weight is not finite; the last good checkpoint is kept.
    """
    config = replace(config, data=absolute(config.data))
    run = _opened(out, config) if resume else None
    if run is None:
        check_free(out)
    elif run.finished:
        return Outcome(run, config.steps, config.steps)
    build_objective(config)  # settings that do not go together are refused before data are read
    device = choose_device(config.device)
    dataset = load_data(config) if run is None else run.dataset()
    chosen = choose_network(config, dataset)
    if chosen != config and chosen.network == "mlp":
        note(f"network: {chosen.network}, for data of shape {dataset.shape}")
    config = chosen
    check_data(config, dataset)
    model = build_model(config, dataset.shape)
    _try_out(config, model, dataset)
    if run is None:
        for remark in remarks(config, dataset):
            _tell(f"note: {remark}", console)
        run = Run.create(out, config, dataset, device)
    with _locked(out):
        return _fit(run, model, dataset, device, console, keep)


def _fit(
    run: Run,
    model: Autoencoder,
    dataset: Dataset,
    device: torch.device,
    console: Console | None,
    keep: Collection[int],
) -> Outcome:
    config = run.config
    model.to(device)
    if config.precision == "bf16":  # its convolutions are fastest with the channels of a pixel side by side
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.Adam(model.parameters(), lr=config.lr, fused=True)
    start, seconds = _restored(run, model, optimizer)
    cut_lines(run.path / "metrics.jsonl", start)
    objective = build_objective(config, likelihood_of(config, model))
    bf16, advice = config.precision == "bf16", cure(dataset)
    module = Training(model, objective, optimizer, seed=config.seed, bf16=bf16, step=start, cure=advice)
    if config.compile and start < config.steps:
        _compile(module, objective, _typed(as_float(dataset.train[: config.batch_size]), config).to(device), console)
    held_out = _typed(as_float(dataset.test[:HELD_OUT]), config).to(device)
    batch_norm = PreciseBatchNorm(dataset.train, config.batch_size, config.seed)
    recorder = Recorder(run.path / "metrics.jsonl", config, held_out, batch_norm, seconds)
    checkpoints = Checkpoints(run.checkpoint, config, dataset.digest, lambda: recorder.seconds, saved=start)
    # before the checkpoint of the same step, so that a resumed run has none to catch up on
    snapshots = Snapshots(run.path, config, dataset.shape, keep, batch_norm)
    interrupts = Interrupts()
    bar = [] if console is None else [Bar(console, recorder, config.steps)]
    batches = Batches(_near(dataset.train, device), config.batch_size, config.seed, start, config.steps)
    try:
        if start < config.steps:
            with _quiet():
                trainer = _trainer(device, run.path, [recorder, snapshots, checkpoints, interrupts, *bar])
                # a generator of its own: a loader without one draws from PyTorch's global one
                trainer.fit(module, DataLoader(batches, batch_size=None, generator=torch.Generator()))
    except TrainingError as error:
        kept = f"{run.checkpoint} keeps step {checkpoints.saved}" if checkpoints.saved else "no checkpoint was made"
        raise TrainingError(f"{error}; {kept}") from None
    if module.step == config.steps:
        save_model(model.cpu(), config, dataset.shape, run.path)
    elif interrupts.received is None:
        raise TrainingError(f"training ended after step {module.step} of {config.steps} without a signal; use --resume")
    return Outcome(run, module.step, start, interrupts.received)


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


def _opened(out: Path, config: RunConfig) -> Run:
    run = Run.open(out)
    names = run.config.differences(config)
    if names:
        values = ", ".join(f"{name} {getattr(config, name)} (was {getattr(run.config, name)})" for name in names)
        raise InputError(f"{out} cannot be resumed with another configuration: {values}; leave them out or start anew")
    return run


def _restored(run: Run, model: Autoencoder, optimizer: torch.optim.Optimizer) -> tuple[int, float]:
    """Steps done and seconds taken, after putting the last checkpoint into model and optimiser if there is one."""
    for leftover in run.checkpoint.parent.glob(".last-*.ckpt"):
        leftover.unlink()  # of a process that was killed while it wrote
    if not run.checkpoint.exists():
        return 0, 0.0
    checkpoint = Checkpoint.load(run.checkpoint)
    names = run.config.differences(checkpoint.config)
    if names or checkpoint.digest != run.data["digest"] or not 0 < checkpoint.step <= run.config.steps:
        what = ", ".join(names) or "data or step"
        raise InputError(f"{run.checkpoint} is of another run (it differs in {what}); restore it, or delete it")
    checkpoint.restore(run.checkpoint, model, optimizer)
    return checkpoint.step, checkpoint.seconds


@torch.no_grad()
def _try_out(config: RunConfig, model: Autoencoder, dataset: Dataset) -> None:
    """Evaluate the objective once, in eval mode, so that what does not fit is found before anything is written."""
    objective = build_objective(config, likelihood_of(config, model))
    try:
        with deployed(model):
            objective(model, _typed(as_float(dataset.train[:2]), config), torch.Generator())
    except IndefiniteError as error:
        raise InputError(f"curvature is {config.curvature} but {error}") from error


def _typed(x: Tensor, config: RunConfig) -> Tensor:
    return x.double() if config.precision == "64" else x


def _near(data: Tensor, device: torch.device) -> Tensor:
    """The training data on the device where they fit easily: then no batch has to cross."""
    if device.type != "cuda":
        return data
    free, _ = torch.cuda.mem_get_info(device)
    return data.to(device) if data.nbytes < free / 4 else data


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keep a second process from training the same run; the lock goes with the process, however it ends."""
    try:
        with FileLock(folder / ".lock", timeout=0):
            yield
    except Timeout:
        raise InputError(f"{folder} is being trained by another process; wait for it or stop it") from None


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
