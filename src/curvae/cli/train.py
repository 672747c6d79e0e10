"""``curvae train``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from typer import Option

from curvae.cli.group import fail
from curvae.cli.places import check_folder, path
from curvae.terminal import console, quoted


def train(
    out: Annotated[Path, Option(help="Run folder; new, or with --resume the one to go on with.", parser=path)],
    data: Annotated[
        str | None,
        Option(help="mnist, fashion-mnist, avatars, sprites, orl, or a path to .npy, .npz, IDX, images, CelebA"),
    ] = None,
    size: Annotated[int | None, Option(help="Bring images to this many pixels a side.")] = None,
    split_seed: Annotated[int | None, Option(help="Seed of the split of data without one.", show_default="0")] = None,
    damaged: Annotated[
        str | None, Option(help="Images that cannot be read: stop or skip.", show_default="stop")
    ] = None,
    objective: Annotated[str | None, Option(help="beta-vae, taylor, grae or rae.", show_default="grae")] = None,
    structure: Annotated[
        str | None,
        Option(help="diagonal, block:B, banded:W, full or shared:STRUCTURE.", show_default="diagonal"),
    ] = None,
    curvature: Annotated[
        str | None, Option(help="taylor, grae: gauss-newton or hessian.", show_default="gauss-newton")
    ] = None,
    estimator: Annotated[
        str | None,
        Option(
            help="grae: exact, columns:K, lanczos:PROBES:DEPTH, trace:K, or fraction:1/8:… of the batch; rae: exact, "
            "columns:K or trace:K.",
            show_default="exact",
        ),
    ] = None,
    likelihood: Annotated[
        str | None,
        Option(
            help="gaussian, gaussian:SIGMA, gaussian:learned, laplace:SCALE, student-t:DOF:SCALE, bernoulli, "
            "bernoulli-logits, continuous-bernoulli, poisson or negative-binomial:DISPERSION.",
            show_default="gaussian",
        ),
    ] = None,
    network: Annotated[
        str | None,
        Option(
            help="auto (by the data), paper (28x28 grey, 64x64), paper-no-norm, mlp or linear.", show_default="auto"
        ),
    ] = None,
    width: Annotated[float | None, Option(help="Factor on the network's widths.", show_default="1.0")] = None,
    beta: Annotated[float | None, Option(help="Weight of the KL term, > 0.", show_default="0.2")] = None,
    encoder_weight: Annotated[float | None, Option(help="grae, rae: weight of the code.", show_default="beta")] = None,
    decoder_weight: Annotated[
        float | None, Option(help="grae, rae: weight of the penalty.", show_default="beta; rae: 1")
    ] = None,
    orthogonality: Annotated[
        float | None, Option(help="grae: weight of the penalty on columns at an angle.", show_default="0.0")
    ] = None,
    latents: Annotated[int | None, Option(help="Number of latents.", show_default="12")] = None,
    steps: Annotated[int | None, Option(help="Optimiser steps.", show_default="20000")] = None,
    batch_size: Annotated[int | None, Option(help="Data per step.", show_default="64")] = None,
    lr: Annotated[float | None, Option(help="Adam's learning rate.", show_default="0.001")] = None,
    schedule: Annotated[
        str | None, Option(help="Of the learning rate: constant, or cosine (falls to 0).", show_default="constant")
    ] = None,
    warmup: Annotated[int | None, Option(help="Steps in which the rate rises first.", show_default="0")] = None,
    samples: Annotated[int | None, Option(help="beta-vae: draws per datum.", show_default="1")] = None,
    seed: Annotated[int | None, Option(help="Of weights, data order and noise.", show_default="0")] = None,
    precision: Annotated[str | None, Option(help="32, bf16 or 64.", show_default="32")] = None,
    compile: Annotated[
        bool | None, Option("--compile/--no-compile", help="Compile the networks.", show_default="no-compile")
    ] = None,
    device: Annotated[str | None, Option(help="auto, cpu or cuda.", show_default="auto")] = None,
    checkpoint_every: Annotated[int | None, Option(help="Steps between checkpoints.", show_default="1000")] = None,
    log_every: Annotated[int | None, Option(help="Steps between lines of metrics.", show_default="20")] = None,
    resume: Annotated[bool, Option("--resume", help="Go on with the run in --out.")] = False,
    as_json: Annotated[bool, Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Train an autoencoder into a run folder.

    A run that was stopped or killed goes on, to the same weights, with: curvae train --resume --out RUN
    """
    given = {name: value for name, value in locals().items() if name not in ("out", "resume", "as_json")}
    _train({name: value for name, value in given.items() if value is not None}, out, resume, as_json)


def _train(given: dict[str, Any], out: Path, resume: bool, as_json: bool) -> None:
    from curvae.data import NAMES
    from curvae.errors import InputError
    from curvae.runs import Run, RunConfig
    from curvae.training import TrainingError
    from curvae.training import train as run_training

    if not resume and "data" not in given:
        raise InputError(f"--data is missing; expected {NAMES} or a path (or --resume to go on with a run)")
    if not resume:
        check_folder("--out", out)
    stored = Run.open(out).config.to_json() if resume else {}
    config = RunConfig.from_json(stored | given)
    try:
        outcome = run_training(config, out, resume=resume, console=console())
    except TrainingError as error:
        fail(str(error), 1)
    if as_json:
        last = outcome.run.metrics[-1:]
        summary = {
            "run": str(out),
            "step": outcome.step,
            "finished": outcome.finished,
            "last": last[0] if last else None,
        }
        typer.echo(json.dumps(summary))
    if not outcome.finished:
        what = f"stopped by {outcome.stopped_by} after step {outcome.step} of {config.steps}"
        typer.echo(f"{what}; go on with: curvae train --resume --out {quoted(out)}", err=True)
        raise typer.Exit(1)
    already = outcome.done_before == outcome.step
    typer.echo(f"{out} {'was finished already' if already else 'is finished'}: {outcome.step} steps", err=True)
