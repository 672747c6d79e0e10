"""A training run from beginning to end: new, stopped or resumed."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from lightning.pytorch import Callback
from lightning.pytorch.loggers import Logger
from rich.console import Console

from curvae._checks import shown
from curvae.autoencoder import Autoencoder
from curvae.data import Dataset, absolute
from curvae.data.notes import note
from curvae.errors import InputError
from curvae.likelihoods import Categorical, Gaussian, Masked, Mixed, SizeFactors
from curvae.metrics.codes import deployed
from curvae.objectives import Objective
from curvae.runs import Run, RunConfig, build_objective, likelihood_of, load_data
from curvae.runs.checks import check_data, choose_network, remarks
from curvae.runs.device import choose_device
from curvae.runs.handed import Handed
from curvae.runs.mixed import begin, continued, is_mixed, is_open
from curvae.runs.own import Build
from curvae.runs.own_run import build_for_run, check_finite, check_outputs, rebuilt
from curvae.runs.placing import begin_noise
from curvae.runs.spelling import own_beta
from curvae.runs.start import start_from, told_otherwise
from curvae.runs.taking import check_free, clear, locked
from curvae.training import findings
from curvae.training.devices import Group, launched
from curvae.training.engine import run_job, tell
from curvae.training.job import Job, Outcome
from curvae.training.launching import Launch
from curvae.training.logs import check_logger
from curvae.training.module import at_its_conditions
from curvae.training.resume import changed, changes, last_checkpoint, steps_done
from curvae.training.several import check_shareable, follow, lead, leave, told
from curvae.training.trial import fill_lazy, try_out, typed
from curvae.training.widths import fit_widths, has_widths

# training samples that a new head for Σ is fitted to, and latents beyond which it would take long
_FITTED, _MOST_WIDTHS = 2000, 256


def train(
    config: RunConfig,
    out: Path,
    *,
    resume: bool = False,
    console: Console | None = None,
    keep: Collection[int] = (),
    model: Build | None = None,
    free: Collection[str] = (),
    data: Dataset | None = None,
    objective: Objective | None = None,
    callbacks: Sequence[Callback] = (),
    loggers: Sequence[Logger] = (),
    launch: Launch | None = None,
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
        model: what makes a model of one's own, or such a model, for a configuration that names one.
        free: of ``"latents"`` and ``"structure"`` those that nobody chose, so that such a model decides.
        data: the data, where they are not to be read from where the configuration says.
        objective: what is minimised, where the configuration does not say it.
        callbacks: more of Lightning's.
        loggers: of Lightning's, beside the one that the configuration names.
        launch: starts further processes where the configuration asks for several devices and nobody has started them.

    Returns:
        The run and how far it is.

    Raises:
        InputError: bad data, settings, folder or checkpoint.
        TrainingError: training diverged, or the folder cannot be written any more; the last good checkpoint is kept.
    """
    config, handed = replace(config, data=absolute(config.data)), Handed(model, data, objective)
    check_logger(config.logger)
    group = launched(config.devices)
    if group is not None and not group.leads:
        return follow(group, handed)
    if group is not None:
        config = replace(config, devices=group.size)
    elif config.devices > 1:
        launch = launch or Launch(handed=handed)
        launch.check()
    call = _Call(config, out, console, keep, handed, free, callbacks, loggers, group, launch)
    with told(group):
        return _resumed(call) if resume else _begun(call)


@dataclass(frozen=True)
class _Call:
    """What :func:`train` was given, and the processes that there are."""

    config: RunConfig
    out: Path
    console: Console | None
    keep: Collection[int]
    handed: Handed
    free: Collection[str]
    callbacks: Sequence[Callback]
    loggers: Sequence[Logger]
    group: Group | None
    launch: Launch | None

    def device(self) -> torch.device:
        """Where this process computes.

        Raises:
            InputError: there are fewer GPUs here than processes that would be started here.
        """
        device, wanted = choose_device(self.config.device), self.config.devices
        if device.type == "cuda" and self.group is None and wanted > torch.cuda.device_count():
            raise InputError(
                f"devices is {wanted} but PyTorch finds {torch.cuda.device_count()} GPUs; give fewer, or device cpu"
            )
        return device

    def together(self, devices: int) -> AbstractContextManager[Group | None]:
        """The processes of the training, started where nobody has done so."""
        if self.group is not None or devices == 1:
            return nullcontext(self.group)
        assert self.launch is not None
        return self.launch.start(devices)

    def run(self, job: Job, group: Group | None) -> Outcome:
        """One start of the training."""
        job = replace(job, console=self.console, keep=self.keep, callbacks=self.callbacks, loggers=self.loggers)
        outcome = run_job(job) if group is None else lead(job, group)
        if outcome.finished and (remark := findings.remark(job.model, job.objective, job.dataset, job.run.config)):
            tell(f"note: {remark}", self.console)
        return outcome

    def leave(self, run: Run) -> Outcome:
        """A finished run, of which nothing is asked."""
        step = steps_done(run)
        return leave(Outcome(run, step, step, stopped_early=step < run.config.steps), self.group)


def _begun(call: _Call) -> Outcome:
    config, out, handed = call.config, call.out, call.handed
    check_free(out)
    if handed.objective is None:
        # settings that do not go together are refused before data are read
        build_objective(config, Gaussian() if is_open(config.likelihood) else None)
    device = call.device()
    dataset = load_data(config) if handed.data is None else handed.data
    chosen = choose_network(config, dataset)
    told_network = chosen.network == "mlp" and chosen.network != config.network
    config = _in_steps(chosen, len(dataset.train))
    check_data(config, dataset, getattr(handed.objective, "likelihood", None))
    if config.model and handed.model is not None:
        built, config = build_for_run(handed.model, config, dataset.shape, call.free)
        check_finite(built)
    else:
        built = rebuilt(config, dataset.shape, handed.model)
    started = _started(config, built, dataset, handed)
    minimised = _tried(config, built, dataset, handed)
    # before the folder is made: a process may not start
    with call.together(config.devices) as group, locked(out):
        run = Run.create(out, config, dataset, device, handed)
        if told_network:
            note(f"network: {config.network}, for data of shape {dataset.shape}")
        for remark in (*remarks(config, dataset), *started):
            tell(f"note: {remark}", call.console)
        return call.run(Job(run, built, minimised, dataset, device), group)


def _resumed(call: _Call) -> Outcome:
    config, out, handed = call.config, call.out, call.handed
    run = replace(Run.open(out), handed=handed)
    config = _in_steps(config, int(run.data.get("train", 0)))
    names = run.data.get("columns") or [str(number) for number in range(run.data["shape"][0])]
    config = replace(config, likelihood=continued(config.likelihood, run.config.likelihood, names))
    if run.finished and not changes(run, config):
        return call.leave(run)
    device = call.device()
    with locked(out):
        run = replace(Run.open(out), handed=handed)
        clear(out)
        checkpoint = last_checkpoint(run, config)
        dataset = run.dataset_of(config)
        config = choose_network(config, dataset)
        check_data(config, dataset, getattr(handed.objective, "likelihood", None))
        model = rebuilt(config, dataset.shape, handed.model, folder=out)
        if checkpoint is None:
            _started(config, model, dataset, handed)
        objective = _tried(config, model, dataset, handed)
        run = changed(run, config, checkpoint, device, call.console)
        if run.finished:
            return call.leave(run)
        with call.together(config.devices) as group:
            return call.run(Job(run, model, objective, dataset, device, checkpoint), group)


def _started(config: RunConfig, model: Autoencoder, dataset: Dataset, handed: Handed) -> list[str]:
    """Give a new model the scales and weights that it is to start from, and say which parts have begun otherwise."""
    if not isinstance(handed.model, Autoencoder):  # which its owner has initialised, or will by PyTorch's generator
        fill_lazy(config, model, dataset)
    if is_mixed(config.likelihood):
        begin(model, config.likelihood, dataset)
    elif handed.objective is None:
        begin_noise(likelihood_of(config, model), dataset.train)
    if not config.init_from:
        return []
    new = start_from(Path(config.init_from), model, config)
    remarks = told_otherwise(Path(config.init_from), dataset)
    if "factor_head" in new and has_widths(model) and model.latents <= _MOST_WIDTHS:
        new.remove("factor_head")
        half, channels = dataset.half(), getattr(model.factor_head, "out_features", model.latents)
        count = min(len(half), max(100, _FITTED * channels // model.latents))  # each position counts
        batches = (typed(half[start : min(start + 100, count)], config) for start in range(0, count, 100))
        fit_widths(model, batches, config.beta, likelihood_of(config, model))
        remarks += [f"{config.init_from} has no such widths: they begin as those that its decoder implies (11)"]
    return remarks + [f"{', '.join(new)} initialised anew: {config.init_from} has no such weights"] * bool(new)


def _in_steps(config: RunConfig, samples: int) -> RunConfig:
    if config.epochs is None:
        return config
    each = max(1, samples // (config.batch_size * config.accumulate))
    return replace(config, steps=config.epochs * each, epochs=None)


def _tried(config: RunConfig, model: Autoencoder, dataset: Dataset, handed: Handed) -> Objective:
    """The objective of the run, after it was tried on a few samples."""
    if dataset.conditional and model.condition is None:
        raise InputError(
            "the data have conditions but the model takes none; build it with Autoencoder(…, condition='both') over "
            "networks with a second argument, or leave the condition out"
        )
    if model.condition is not None and not dataset.conditional:
        raise InputError(
            f"the model takes a condition (condition={model.condition!r}) but the data have none; say which with "
            "--condition"
        )
    objective = handed.objective or build_objective(config, likelihood_of(config, model))
    if config.beta_warmup and not hasattr(objective, "with_beta"):
        raise InputError(
            f"beta_warmup is {config.beta_warmup} but the objective, {objective}, has no with_beta(beta); leave it out"
        )
    if config.beta_warmup and own_beta(objective) is None:
        given = shown(getattr(objective, "beta", None))
        raise InputError(
            f"beta_warmup is {config.beta_warmup} but the objective's beta is {given}; give it the number that "
            "β rises to, or leave the warm-up out"
        )
    # these have outputs of another shape than their data, and refuse wrong ones themselves
    others = isinstance(getattr(objective, "likelihood", None), Categorical | Masked | Mixed | SizeFactors)
    if config.model:
        with deployed(model):
            check_outputs(*at_its_conditions(model, typed(dataset.half()[:2], config)), alike=not others)
    if config.devices > 1:
        check_shareable(config, objective, model)
    try_out(config, model, objective, dataset)
    return objective
