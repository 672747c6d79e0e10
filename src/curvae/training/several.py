"""A training that several processes share: the first decides and writes, the others do as it says."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from curvae._part import LostProcessError
from curvae._typing import Tensor
from curvae.autoencoder import Autoencoder
from curvae.data import Dataset
from curvae.errors import InputError
from curvae.forward.compiled import is_opaque
from curvae.forward.first_use import check_first_use
from curvae.metrics.codes import deployed
from curvae.objectives import BetaVAE, Objective
from curvae.runs import Run, RunConfig, build_objective, likelihood_of
from curvae.runs.device import choose_device
from curvae.runs.handed import Handed
from curvae.runs.own_run import rebuilt
from curvae.training.checkpoint import Checkpoint
from curvae.training.devices import Group, own_device
from curvae.training.engine import run_job
from curvae.training.errors import TrainingError
from curvae.training.job import Job, Outcome
from curvae.training.module import at_its_conditions
from curvae.training.trial import typed


@dataclass(frozen=True)
class _Plan:
    """What the first process tells the others."""

    run: Run
    weights: dict[str, Tensor] | None = None  # at the beginning
    checkpoint: Checkpoint | None = None
    keep: tuple[int, ...] = ()  # every process has a share in exporting the model
    outcome: Outcome | None = None  # of a run of which nothing is asked any more


def lead(job: Job, group: Group) -> Outcome:
    """The first process's share of a training."""
    with told(group):
        group.connect()
        weights = {name: value.cpu() for name, value in job.model.state_dict().items()}
        group.broadcast(_Plan(replace(job.run, handed=Handed()), weights, job.checkpoint, tuple(job.keep)))
        return _shared(replace(job, group=group, device=own_device(job.device)), group)


def leave(outcome: Outcome, group: Group | None) -> Outcome:
    """Let the others know that nothing is to be done."""
    if group is not None:
        group.connect()
        group.broadcast(_Plan(outcome.run, outcome=replace(outcome, run=replace(outcome.run, handed=Handed()))))
        group.close()
    return outcome


def follow(group: Group, handed: Handed) -> Outcome:
    """Another process's share: it makes the same model on the same data, and writes nothing.

    Raises:
        TrainingError: it failed here or elsewhere.
        InputError: this process finds other data, or none.
    """
    with told(group):
        group.connect()
        plan: _Plan = group.broadcast(None)
        run = replace(plan.run, handed=handed)
        if plan.outcome is not None:
            group.close()
            return replace(plan.outcome, run=run)
        config, dataset = run.config, run.dataset()
        model = rebuilt(config, dataset.shape, handed.model, folder=run.path)
        model.load_state_dict(plan.weights or {})
        objective = handed.objective or build_objective(config, likelihood_of(config, model))
        device = own_device(choose_device(config.device))
        return _shared(Job(run, model, objective, dataset, device, plan.checkpoint, keep=plan.keep, group=group), group)


def _shared(job: Job, group: Group) -> Outcome:
    if not isinstance(job.objective, BetaVAE):
        _look_at(job.model, job.dataset, job.run.config)
    outcome = run_job(job)
    group.any(True)  # the others leave when the model is written
    group.close()
    return outcome


def _look_at(model: Autoencoder, dataset: Dataset, config: RunConfig) -> None:
    """What is looked at in a decoder's first pass, before a batch is a part of one."""
    at, x = at_its_conditions(model, typed(dataset.half()[:4], config))
    with deployed(model), torch.no_grad():
        z = at.encode(x)
    check_first_use(at.decode, z)


@contextmanager
def told(group: Group | None) -> Iterator[None]:
    """Tell the others of what ends this process's share; and say of theirs what is known of it.

    Raises:
        TrainingError: another process is gone.
    """
    try:
        yield
    except LostProcessError:
        assert group is not None
        group.close()
        raise TrainingError(group.failure()) from None
    except BaseException as error:
        if group is not None:
            known = isinstance(error, InputError | TrainingError)
            what = f"process {group.rank} of {group.size} failed ({type(error).__name__}: {error})"
            group.fail(str(error) if known else what)
        raise


def check_shareable(config: RunConfig, objective: Objective, model: nn.Module) -> None:
    """Refuse what several processes would not compute as one does.

    Raises:
        InputError: parts that are not curvae's own, or networks that cannot be looked into.
    """
    if config.compile:
        raise InputError(f"devices is {config.devices} and compile is true; compiled networks are for one device")
    for part in _parts(objective):
        if not type(part).__module__.startswith("curvae."):
            raise InputError(
                f"devices is {config.devices} but {type(part).__name__} is not curvae's, and whether its values for "
                "parts of a batch are those for all of it is not known; train on one device, or in a loop of your "
                "own with DistributedDataParallel(objectives.Loss(model, objective))"
            )
    hidden = [name for name, layer in model.named_modules() if is_opaque(layer)]
    if hidden:
        raise InputError(
            f"devices is {config.devices} but {hidden[0]} is compiled or scripted, and whether it normalises by the "
            "batch cannot be seen; use it as it was before, or one device"
        )


def _parts(thing: Any) -> Iterator[Any]:
    """An objective and what it draws, pushes and averages with."""
    yield thing
    for name in ("estimator", "trace", "probes", "structure"):
        inner = getattr(thing, name, None)
        if inner is not None:
            yield from _parts(inner)
