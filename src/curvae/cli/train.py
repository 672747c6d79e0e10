"""``curvae train``."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from typer import Option

from curvae.cli import options
from curvae.cli.group import as_typed, fail
from curvae.cli.own import Code
from curvae.cli.pairs import pairs
from curvae.cli.places import check_folder, path
from curvae.cli.settings_file import read_settings, write_settings
from curvae.errors import InputError
from curvae.terminal import console

_MODEL = "Your own model: a function build(shape, …) that returns an Autoencoder; its file is run."
_OUT = "Run folder: a new one, or with --resume the one to continue."
# what is not a field of a configuration
_BESIDE = ("out", "config", "resume", "trust", "print_config", "as_json")
_LENGTHS = frozenset(("steps", "epochs"))
_PRINT = "Print all options as YAML for --config, and exit."


def train(
    out: Annotated[Path | None, Option(help=_OUT, parser=path)] = None,
    config: Annotated[
        Path | None, Option(help="YAML file of options; those on the command line win.", parser=path)
    ] = None,
    data: Annotated[
        str | None,
        Option(
            help="mnist, fashion-mnist, avatars, sprites, orl, or a path to .npy, .npz, .csv, .parquet, .h5ad, IDX, "
            "images, CelebA."
        ),
    ] = None,
    size: Annotated[int | None, Option(help="Resize images to this many pixels per side.")] = None,
    split_seed: Annotated[
        int | None, Option(help="Seed of the train/test split, for data that come without one.", show_default="0")
    ] = None,
    damaged: Annotated[
        str | None, Option(help="What to do with images that cannot be read: stop or skip.", show_default="stop")
    ] = None,
    labels: Annotated[str | None, Option(help="Columns of a table to keep beside the data: COLUMN,COLUMN.")] = None,
    drop: Annotated[str | None, Option(help="Columns of a table to leave out: COLUMN,COLUMN.")] = None,
    condition: Annotated[
        str | None,
        Option(help="What the networks are told about each sample: labels, or columns or .npz arrays NAME,NAME."),
    ] = None,
    objective: Annotated[str | None, Option(help="beta-vae, taylor, grae or rae.", show_default="grae")] = None,
    structure: Annotated[
        str | None, Option(help="diagonal, block:B, banded:W or full.", show_default="diagonal")
    ] = None,
    shared: Annotated[
        bool | None, Option("--shared", help="One covariance for all samples.", show_default=False)
    ] = None,
    curvature: Annotated[
        str | None, Option(help="taylor, grae: gauss-newton or hessian.", show_default="gauss-newton")
    ] = None,
    estimator: Annotated[
        str | None,
        Option(
            help="grae: exact, columns:K, secants:K, lanczos:PROBES:DEPTH or trace:K; rae: exact, columns:K or "
            "trace:K; taylor: exact or secants:K. secants:K:central takes central differences.",
            show_default="exact",
        ),
    ] = None,
    batch_fraction: Annotated[
        str | None,
        Option(help="grae, taylor: compute the penalty on this part of each batch, for example 1/4.", show_default="1"),
    ] = None,
    likelihood: Annotated[
        str | None,
        Option(
            help="gaussian, gaussian:SIGMA, gaussian:learned, laplace:SCALE, student-t:DOF:SCALE, bernoulli, "
            "bernoulli-logits, continuous-bernoulli, poisson, negative-binomial:DISPERSION, mixed (a table of columns "
            "of several kinds), or masked: before one of these (missing values).",
            show_default="gaussian",
        ),
    ] = None,
    network: Annotated[
        str | None,
        Option(
            help="auto (by the data), paper (28x28 grey, 64x64), paper-no-norm, mlp or linear.", show_default="auto"
        ),
    ] = None,
    model: Annotated[
        str | None, Option(help=_MODEL, metavar="FILE.py:FUNCTION", show_default="none: --network")
    ] = None,
    model_set: Annotated[
        list[str] | None,
        Option("--set", help="A setting of the --model function; repeatable.", metavar="NAME=VALUE"),
    ] = None,
    init_from: Annotated[
        str | None,
        Option(
            help="Start from the weights of a finished run with the same networks.", metavar="RUN", show_default="none"
        ),
    ] = None,
    width: Annotated[float | None, Option(help="Factor on the widths of the network.", show_default="1.0")] = None,
    beta: Annotated[float | None, Option(help="Weight of the KL term, > 0.", show_default="0.2")] = None,
    encoder_weight: Annotated[
        float | None, Option(help="grae, rae: weight of the term in ‖h‖².", show_default="beta")
    ] = None,
    decoder_weight: Annotated[
        float | None, Option(help="grae, rae: weight of the penalty.", show_default="beta; rae: 1")
    ] = None,
    orthogonality: Annotated[
        float | None, Option(help="grae: weight of the penalty on columns that are not orthogonal.", show_default="0.0")
    ] = None,
    latents: Annotated[int | None, Option(help="Number of latents.", show_default="12")] = None,
    steps: Annotated[int | None, Option(help="Optimiser steps.", show_default="20000")] = None,
    epochs: Annotated[int | None, Option(help="Passes over the data, instead of --steps.")] = None,
    batch_size: Annotated[int | None, Option(help="Samples per batch.", show_default="64")] = None,
    accumulate: Annotated[int | None, Option(help="Batches per step.", show_default="1")] = None,
    lr: Annotated[float | None, Option(help="Adam's learning rate.", show_default="0.001")] = None,
    schedule: Annotated[
        str | None, Option(help="Learning-rate schedule: constant, or cosine (decays to 0).", show_default="constant")
    ] = None,
    warmup: Annotated[
        int | None, Option(help="Steps of linear warm-up of the learning rate.", show_default="0")
    ] = None,
    beta_warmup: Annotated[
        int | None, Option(help="Steps over which beta rises to its value.", show_default="0")
    ] = None,
    clip: Annotated[float | None, Option(help="Largest norm of the gradient.", show_default="none")] = None,
    ema: Annotated[
        float | None, Option(help="Decay of averaged weights, such as 0.999; 0 for none.", show_default="0.0")
    ] = None,
    early_stop: Annotated[
        int | None,
        Option(help="Stop after this many held-out values in a row without a better one; 0: never.", show_default="0"),
    ] = None,
    samples: Annotated[int | None, Option(help="beta-vae: draws per sample.", show_default="1")] = None,
    antithetic: Annotated[
        bool | None,
        Option(
            "--antithetic/--no-antithetic",
            help="beta-vae: draws in pairs of opposite noise.",
            show_default="no-antithetic",
        ),
    ] = None,
    seed: Annotated[int | None, Option(help="Random seed for weights, data order and noise.", show_default="0")] = None,
    precision: Annotated[
        str | None, Option(help="Floating-point precision: 32, bf16 or 64.", show_default="32")
    ] = None,
    compile: Annotated[
        bool | None, Option("--compile/--no-compile", help="Compile the networks.", show_default="no-compile")
    ] = None,
    device: Annotated[str | None, Option(help="auto, cpu or cuda.", show_default="auto")] = None,
    devices: Annotated[
        int | None, Option(help="Processes that share each batch, with a GPU each or on the CPU.", show_default="1")
    ] = None,
    checkpoint_every: Annotated[int | None, Option(help="Steps between checkpoints.", show_default="1000")] = None,
    log_every: Annotated[int | None, Option(help="Steps between lines of metrics.", show_default="20")] = None,
    logger: Annotated[
        str | None, Option(help="tensorboard or csv: curves to watch.", show_default="none, metrics.jsonl alone")
    ] = None,
    resume: Annotated[bool, Option("--resume", help="Continue the run in --out.")] = False,
    trust: Annotated[
        bool, Option("--trust", help="Run the model's code that --config or the run folder names.")
    ] = False,
    print_config: Annotated[bool, Option("--print-config", help=_PRINT)] = False,
    as_json: options.Json = False,
) -> None:
    """Train an autoencoder into a run folder.

    A run that was stopped or killed continues, to the same weights, with: curvae train --resume --out RUN
    """
    every = {name: value for name, value in locals().items() if name not in _BESIDE}
    given = {name: value for name, value in every.items() if value is not None}
    if model_set is not None:
        given["model_set"] = pairs("--set", model_set)
    file = {} if config is None else read_settings(config)
    # a file and a run folder have the settings' own names
    with as_typed(given if file or resume else every):
        wanted = _wanted(given, out, file, resume, trust)
        if print_config:
            typer.echo(wanted.printed(), nl=False)
        else:
            _train(wanted, resume, as_json)


@dataclass(frozen=True)
class _Wanted:
    """What the command line, the file of options and, on resume, the run folder ask for together.

    Attributes:
        values: fields of the configuration that somebody chose.
        out: the run folder.
        named: functions that make a model, whose code may be run because the command line names them.
        trust: whether it may be run because the file or the folder names it.
    """

    values: dict[str, Any]
    out: Path | None
    named: tuple[str, ...]
    trust: bool

    def printed(self) -> str:
        """As YAML; what a model of one's own decides is left open."""
        from curvae.runs import RunConfig

        values = {**asdict(RunConfig.from_json(self.values)), **dict.fromkeys(self.left_to_the_model())}
        del values["condition_size"]
        if values["epochs"] is not None:
            values["steps"] = None
        return write_settings({"out": None if self.out is None else str(self.out), **values})

    def left_to_the_model(self) -> list[str]:
        """What nobody chose and the model tells."""
        free = ("latents", "structure") if self.values.get("model") else ()
        chosen = {*self.values, *(["structure"] if self.values.get("shared") else [])}
        return [name for name in free if name not in chosen]


def _wanted(given: dict[str, Any], out: Path | None, file: dict[str, Any], resume: bool, trust: bool) -> _Wanted:
    from curvae.data import NAMES
    from curvae.runs import Run
    from curvae.runs.builder import absolute_name
    from curvae.runs.fields import AUTO

    place = file.pop("out", None)
    out = path(place) if out is None and place is not None else out
    if resume and out is None:
        raise InputError("--out is missing; expected the folder of the run to continue")
    stored = Run.open(out).config.to_json() if resume and out is not None else {}
    for chosen in (file, given):
        if set(chosen) >= _LENGTHS:
            raise InputError(f"steps is {chosen['steps']} and epochs is {chosen['epochs']}; expected one of the two")
    if not _LENGTHS.isdisjoint(given):  # either of the two on the command line wins over either in the file
        file = {name: value for name, value in file.items() if name not in _LENGTHS}
    values = stored | file | given
    if "data" not in values:
        raise InputError(f"--data is missing; expected {NAMES} or a path (or --resume to continue a run)")
    if values.get("model_set") and not values.get("model"):
        raise InputError("--set is given without --model: it is for your own model; curvae's networks have --width")
    if values.get("model"):
        if values.get("network", AUTO) != AUTO or values.get("width", 1.0) != 1.0:
            raise InputError("--network and --width are for curvae's networks, but --model is given; leave them out")
        values["model"] = absolute_name(values["model"])
    return _Wanted(values, out, (given["model"],) if "model" in given else (), trust)


def _train(wanted: _Wanted, resume: bool, as_json: bool) -> None:
    from curvae.runs import Run, RunConfig
    from curvae.runs.commands import resume_command
    from curvae.training import TrainingError
    from curvae.training import train as run_training
    from curvae.training.devices import follows
    from curvae.training.launching import Launch

    out = wanted.out
    if out is None:
        raise InputError("--out is missing; expected a folder for the run")
    if not resume:
        check_folder("--out", out)
    config = RunConfig.from_json(wanted.values)
    code = Code(wanted.named, wanted.trust)
    # with a model of one's own: the function whose code the other processes run too
    launch = Launch(wanted.named[0] if wanted.named else config.model)
    try:
        with code.errors():
            build = code.builder(Run.open(out)) if resume else code.starting(config)
            outcome = run_training(
                config,
                out,
                resume=resume,
                console=console(),
                model=build,
                free=wanted.left_to_the_model(),
                launch=launch,
            )
    except (TrainingError, InputError) as error:
        if follows():  # the first process has said so
            raise typer.Exit(1) from None
        if isinstance(error, InputError):
            raise
        fail(str(error), 1)
    if follows():
        return
    if as_json:
        last = next(reversed(outcome.run.metrics), None)
        summary = {"run": str(out), "step": outcome.step, "finished": outcome.finished, "last": last}
        typer.echo(json.dumps(summary))
    if not outcome.finished:
        again = resume_command(out, outcome.run.config, model=outcome.run.config.model)
        what = f"stopped by {outcome.stopped_by} after step {outcome.step} of {outcome.run.config.steps}"
        typer.echo(f"{what}; continue with: {again}", err=True)
        raise typer.Exit(1)
    already = outcome.done_before == outcome.step
    early = f" of {outcome.run.config.steps}, stopped early" if outcome.stopped_early else ""
    typer.echo(f"{out} {'was finished already' if already else 'is finished'}: {outcome.step} steps{early}", err=True)
