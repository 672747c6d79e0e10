"""``curvae.fit``: anyone's model, data and objective, through the loop that the command uses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback
from lightning.pytorch.loggers import Logger
from torch import nn
from torch.utils.data import DataLoader

from curvae._checks import a_kind, positive_int, shown
from curvae.autoencoder import Autoencoder
from curvae.data import Dataset, as_dataset, in_order, load
from curvae.data.samples import Take
from curvae.errors import InputError
from curvae.likelihoods.masked import takes_missing
from curvae.objectives import GRAE, RAE, Objective
from curvae.objectives.loss import check_model
from curvae.runs import Run, RunConfig, load_model
from curvae.runs.fields import PYTHON, checked_field
from curvae.runs.handed import Handed, Temporary, copied
from curvae.runs.spelling import spelled_with
from curvae.terminal import console as stderr
from curvae.training.arguments import with_arguments
from curvae.training.devices import is_launched
from curvae.training.errors import Stopped
from curvae.training.guests import check_callbacks
from curvae.training.loop import train
from curvae.training.trial import check_arguments

# held-out values and checkpoints of a whole run, if nobody says how often
_LOOKS = 10
_SELDOM = 1000


@with_arguments()
def fit(
    model: Autoencoder,
    data: Any,
    objective: Objective,
    *,
    steps: int | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    accumulate: int = 1,
    lr: float = 1e-3,
    schedule: str = "constant",
    warmup: int = 0,
    beta_warmup: int = 0,
    clip: float | None = None,
    ema: float = 0.0,
    early_stop: int = 0,
    validation: Any = None,
    take: Take | None = None,
    condition: Any = None,
    precision: str | None = None,
    compile: bool = False,
    device: str | torch.device = "auto",
    devices: int = 1,
    seed: int = 0,
    checkpoint_every: int | None = None,
    log_every: int = 20,
    logger: str | Logger | Sequence[Logger] | None = None,
    callbacks: Sequence[Callback] = (),
    out: Path | str | None = None,
    resume: bool = False,
    progress: bool = True,
) -> Run:
    """Train a model in place, with Adam, and keep the run in a folder.

    The loop is that of ``curvae train``: batches and noise depend on the seed and the step alone, so that a run that
    was stopped and resumed ends, on a CPU, with the bits of one that was not. What a network draws from PyTorch's
    global generator (dropout) is seeded for each step too; that generator is given back as it was.

    Args:
        model: an :class:`~curvae.Autoencoder` over any modules. It has the trained weights afterwards, on the CPU.
        data: an array or tensor ``[N, *D]``, a :class:`~curvae.data.Dataset`, a map-style data set or ``DataLoader`` of
            torch (of which the data set, ``collate_fn``, workers and batch size are taken, and not the order), or what
            :func:`curvae.data.load` takes. uint8 means pixels; see :func:`curvae.data.as_samples`. NaN stands for what
            was not observed if the observation model is :class:`~curvae.likelihoods.Masked`.
        objective: one of :mod:`curvae.objectives`, or a function like them: ``(model, x, generator) -> Terms``.
        steps: optimiser steps; or
        epochs: passes over the training data.
        batch_size: samples in a batch; default that of a ``DataLoader``, else 64 (or all, if there are fewer).
        accumulate: batches in a step, whose gradients are averaged.
        lr: Adam's learning rate.
        schedule: ``"constant"``, or ``"cosine"``, which falls to 0.
        warmup: steps in which the rate rises to ``lr`` first.
        beta_warmup: steps in which β rises from nearly 0 to the objective's own first (KL annealing); held-out values
            are of the objective itself all along.
        clip: largest norm of a step's gradient.
        ema: decay of an exponential moving average of the weights, such as 0.999, which is then the model that is
            measured and kept.
        early_stop: end after so many held-out values that are no better than the best one before, and keep the model
            of that.
        validation: held-out samples, of the kinds that ``data`` may be, or the share of ``data`` to hold out; default
            the data's own held-out half, or a tenth.
        take: the number or key of x in each batch (a tuple or a mapping), or a function from a batch to it; default the
            first of a tuple.
        condition: of a conditional model, what its condition is: the number or key of a part of each batch, a function
            from a batch to it, or an array ``[N, *C]`` beside ``data``; for data that are named by text, what
            :func:`curvae.data.load` takes, such as ``"labels"``.
        precision: ``"32"``, ``"bf16"`` (networks under autocast) or ``"64"``; default that of the model's weights.
        compile: compile the networks.
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``, or such a ``torch.device``.
        devices: how many processes share each batch, with a GPU each or on the CPU; they are started here unless
            ``torchrun`` has started them. What a script runs then stands under ``if __name__ == "__main__":``. Needs
            ``out``.
        seed: of the split, the order of the data and the noise. The model is initialised already.
        checkpoint_every: steps between checkpoints and held-out values; default ten of them, at most 1000 steps apart,
            and on ``resume`` as the run has it.
        log_every: steps between lines of metrics.
        logger: ``"tensorboard"`` or ``"csv"``, or loggers of Lightning's.
        callbacks: callbacks of Lightning's, which see ``trainer.global_step`` and ``on_train_…``; there are no hooks of
            its validation, its optimisers or its checkpoints.
        out: the run folder; default a temporary one that is removed with the run that is returned.
        resume: go on with the run in ``out``, from its last checkpoint, with more steps if there are to be more. A
            ``"cosine"`` is then that of all the steps, so that the rate rises again first.
        progress: show it on stderr.

    Returns:
        The run: ``.model()``, ``.metrics``, ``.evaluate()``, ``.report(…)``.

    Raises:
        InputError: anything about the arguments that cannot be used; nothing is written.
        TrainingError: training diverged, or was stopped by a signal; the last good checkpoint is kept in ``out``.

    Example:
        >>> from curvae import likelihoods, objectives
        >>> model = Autoencoder(nn.Linear(5, 8), nn.Linear(2, 5), latents=2)
        >>> x = torch.randn(200, 5, generator=torch.Generator().manual_seed(0))
        >>> run = fit(model, x, objectives.GRAE(beta=0.2), steps=20, device="cpu", progress=False)
        >>> run.metrics[-1]["step"], run.model().encode(x).shape
        (20, torch.Size([200, 2]))
    """
    _check(model, objective, steps, epochs)
    seed = checked_field("seed", "int", seed)
    check_callbacks(callbacks)
    if out is not None and not isinstance(out, str | Path):
        raise InputError(f"out is {shown(out)}; expected the path of a folder")
    devices = checked_field("devices", "int", devices)
    # asked before data are read, of which the first process alone is to tell
    if (is_launched(devices) or devices != 1) and out is None:
        raise InputError("several devices without out; say which run folder the processes share")
    missing = takes_missing(getattr(objective, "likelihood", None))
    dataset, source = _data(data, validation, take, seed, condition, missing)
    if not isinstance(batch_size, int | None):  # a number of NumPy's, say
        batch_size = checked_field("batch_size", "int", batch_size)
    if batch_size is None:
        given = data.batch_size if isinstance(data, DataLoader) else None
        batch_size = given or min(64, len(dataset.train))
    each = max(1, len(dataset.train) // max(1, batch_size * accumulate)) if isinstance(batch_size, int) else 1
    many = steps if steps is not None else positive_int("epochs", epochs or 0) * each
    config = RunConfig(
        data=source,
        model=PYTHON,
        latents=model.latents,
        split_seed=seed,
        **_condition(condition, source, dataset),
        **spelled_with(objective, model),
        steps=positive_int("steps", many),
        batch_size=batch_size,
        accumulate=accumulate,
        lr=lr,
        schedule=schedule,
        warmup=warmup,
        beta_warmup=beta_warmup,
        clip=clip,
        ema=ema,
        early_stop=early_stop,
        precision=_precision(model) if precision is None else precision,
        compile=compile,
        device=str(device) if isinstance(device, torch.device) else device,
        devices=devices,
        seed=seed,
        checkpoint_every=_seldom(many, out, resume) if checkpoint_every is None else checkpoint_every,
        log_every=log_every,
        logger=logger if isinstance(logger, str) else "",
    )
    if resume and out is None:
        raise InputError("resume is True without out; say which run folder to go on with")
    temporary = Temporary() if out is None else None
    outcome = train(
        config,
        Path(out) if temporary is None else temporary.path,  # type: ignore[arg-type]
        resume=resume,
        console=stderr() if progress else None,
        model=model,
        data=dataset,
        objective=objective,
        callbacks=callbacks,
        loggers=[] if logger is None or isinstance(logger, str) else _listed(logger),
    )
    if outcome.finished and outcome.step == outcome.done_before:  # the run was left as it is
        load_model(outcome.run.path, model)
    model.cpu().eval()
    if not outcome.finished:
        again = "the model has the weights of that step" if out is None else f"go on with out={str(out)!r}, resume=True"
        signal = outcome.stopped_by or ""
        raise Stopped(f"stopped by {signal} after step {outcome.step} of {many}; {again}", signal)
    # a copy for each time the run is asked for its model: the one that was trained is its owner's
    return replace(outcome.run, handed=Handed(lambda: copied(model), dataset, objective, temporary))


def _check(model: Autoencoder, objective: Objective, steps: int | None, epochs: int | None) -> None:
    """What is wrong with the arguments before any data are read; a learned observation model joins the model."""
    if (steps is None) == (epochs is None):
        raise InputError(f"steps is {shown(steps)} and epochs is {shown(epochs)}; expected one of the two")
    check_model(model)
    if not isinstance(model, Autoencoder):
        raise InputError(
            f"the model is {a_kind(model)}; expected a curvae.Autoencoder(encoder, decoder, latents=…) over "
            "your modules"
        )
    if not callable(objective):
        raise InputError(f"the objective is {shown(objective)}; expected one of curvae.objectives, such as GRAE(0.2)")
    check_arguments(objective)
    if isinstance(objective, nn.Module) and any(True for _ in objective.parameters()):
        raise InputError(
            f"the objective, {type(objective).__name__}, has weights of its own, which no run would keep; make them "
            "part of the model"
        )
    if type(objective) in (GRAE, RAE) and model.structure is not None:
        raise InputError(
            f"the objective is {type(objective).__name__}, which trains the mean alone, but the model has a posterior, "
            f"{model.structure}, that would stay as it is initialised; build it without a structure"
        )
    likelihood = getattr(objective, "likelihood", None)
    if isinstance(likelihood, nn.Module) and all(part is not likelihood for part in model.modules()):
        if hasattr(model, "likelihood"):
            raise InputError("the model and the objective have observation models of their own; give both the same")
        model.add_module("likelihood", likelihood)


def _data(
    data: Any, validation: Any, take: Take | None, seed: int, condition: Any, missing: bool
) -> tuple[Dataset, str]:
    """The data, and what a configuration calls them."""
    if isinstance(data, str | Path):
        names = _names(condition)
        if validation is not None and not isinstance(validation, float) and names:
            raise InputError(
                "validation is given with data named by text and a condition; give a share, or no data by text"
            )
        if not isinstance(validation, float) or not 0 < validation < 1:
            loaded = load(data, split_seed=seed, condition=names, missing=missing)
            if validation is not None and loaded.split["kind"] == "seeded":  # nothing of it is to be held out
                loaded = replace(loaded, train=in_order(loaded))
            given = as_dataset(loaded, validation, take=take, missing=missing)
            return given, str(data) if validation is None else PYTHON
        dataset = load(data, split_seed=seed, test_fraction=validation, condition=names, missing=missing)
        # a set with halves of its own has nothing to split, and refuses
        return as_dataset(dataset, None if dataset.split["kind"] == "seeded" else validation, take=take), PYTHON
    return as_dataset(data, validation, take=take, seed=seed, condition=condition, missing=missing), PYTHON


def _condition(condition: Any, source: str, dataset: Dataset) -> dict[str, Any]:
    if not dataset.conditional:
        return {}
    size = {} if dataset.coding is None else {"condition_size": dataset.coding.size}
    return {"condition": PYTHON if source == PYTHON else ",".join(_names(condition)), **size}


def _names(condition: Any) -> list[str]:
    """Names of conditions in data that are named by text."""
    if condition is None:
        return []
    named = [condition] if isinstance(condition, str) else condition
    if not isinstance(named, list | tuple) or not all(isinstance(one, str) for one in named):
        raise InputError(f"condition is {shown(condition)}; expected names, such as 'labels', for data named by text")
    return [part.strip() for one in named for part in one.split(",") if part.strip()]


def _seldom(steps: int, out: Path | str | None, resume: bool) -> int:
    """Steps between checkpoints where nobody says: a run that goes on, with more steps perhaps, keeps its own."""
    if resume and out is not None:
        return Run.open(out).config.checkpoint_every
    return min(_SELDOM, -(-steps // _LOOKS))


def _precision(model: Autoencoder) -> str:
    kinds = {weight.dtype for weight in model.parameters()}
    return "64" if torch.float64 in kinds else "32"


def _listed(logger: Logger | Sequence[Logger]) -> list[Logger]:
    found = [logger] if isinstance(logger, Logger) else list(logger)
    for one in found:
        if not isinstance(one, Logger):
            raise InputError(f"logger is {shown(one)}; expected tensorboard, csv, or loggers of lightning.pytorch")
    return found
