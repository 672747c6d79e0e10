"""``curvae inspect``."""

from __future__ import annotations

import json
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated, Any

import typer
from typer import Argument, Option

from curvae._checks import positive_int
from curvae.cli import options, using
from curvae.cli.group import writing
from curvae.cli.own import Code
from curvae.cli.places import check_file, path
from curvae.errors import InputError
from curvae.terminal import console, print_table


def inspect(
    subject: Annotated[str, Argument(help="A run folder, a diffusers folder, or FILE.py:FUNCTION.", metavar="MODEL")],
    data: Annotated[
        str | None,
        Option(
            help="As for train; prior:N for N decoded prior draws.", show_default="the run's held-out data", metavar="X"
        ),
    ] = None,
    beta: Annotated[
        float | None, Option(help="The maker's β, in the summed convention (docs: β in other code bases).")
    ] = None,
    likelihood: Annotated[str | None, Option(help="As for train.", show_default="the model's, or gaussian")] = None,
    limit: Annotated[
        int | None,
        # the second name is the former one
        Option(
            "--limit",
            "--samples",
            help="Look at at most this many samples, drawn at random.",
            show_default="64, or 8 beyond 64 latents",
        ),
    ] = None,
    products: Annotated[int, Option(help="Jacobian products per sample, at most.")] = 64,
    size: Annotated[int | None, Option(help="Resize images to this many pixels per side.")] = None,
    seed: options.Seed = 0,
    device: options.Device = "auto",
    condition_value: Annotated[
        str | None,
        Option(help="Of a conditional run: look at this condition, 3 or sex=m,batch=2, and at its samples."),
    ] = None,
    out: Annotated[Path | None, Option(help="Also write a page with pictures.", parser=path)] = None,
    model: options.Model = None,
    trust: options.Trust = False,
    as_json: options.Json = False,
) -> None:
    """Measure what noise a decoder implies: effective β, Σ* beside the posterior, decode error under noise, advice.

    FUNCTION takes no arguments and returns a model: curvae's, one of diffusers, pythae or scvi-tools, or anything
    through curvae.adapters. The file's code is run.
    """
    import torch
    from rich.progress import Progress

    import curvae
    from curvae.inspection.opening import open_data, open_model
    from curvae.runs import build_likelihood
    from curvae.runs.device import choose_device, generator
    from curvae.runs.provenance import environment

    if out is not None:
        check_file("--out", out, (".html", ".htm"))
    if limit is not None:
        positive_int("--limit", limit)
    where = choose_device(device)
    draws = generator(seed, where)
    code = Code.of(model, trust)
    chosen = None if likelihood is None else build_likelihood(likelihood)
    opened = open_model(subject, lambda run: code.latest(run)[0], chosen)
    if opened.run is None and (code.named or code.trust):
        raise InputError(f"--model and --trust are for run folders; {subject} is not one: leave them out")
    if opened.run is not None:
        code.check([opened.run])
        opened = opened.at(using.told_of(opened.run, condition_value))
    elif condition_value is not None:
        raise InputError(f"--condition-value is for conditional runs; {subject} is no run: leave it out")
    if isinstance(opened.model, torch.nn.Module):
        opened.model.to(where)
    with code.errors(), redirect_stdout(sys.stderr):  # a model may print
        x = open_data(data, opened, size, draws, limit, products)
    shown_on = console()
    progress = Progress(console=shown_on, transient=True, disable=not shown_on.is_terminal)
    with progress, code.errors(), redirect_stdout(sys.stderr):
        task = progress.add_task("inspect", total=None)
        found = curvae.inspect(
            opened.model,
            x,
            opened.beta if beta is None else beta,
            draws,
            likelihood=opened.likelihood,
            products=products,
            samples=limit,
            progress=lambda done, total: progress.update(task, completed=done, total=total),
        )
    if as_json:
        about = {"model": subject, "data": data, "seed": seed, "environment": environment(where)}
        typer.echo(json.dumps({**about, **found.to_dict()}, allow_nan=False))
    else:
        _print(found, subject)
    if out is not None:
        from curvae.inspection.page import write_page

        with writing("--out", out):
            write_page(found, Path(subject).name, out)
        typer.echo(f"wrote the page to {out}", err=True)


def _print(found: Any, name: str) -> None:
    from rich.table import Table

    from curvae.inspection.page import rows, shown

    table = Table("", "", "", title=name, show_header=False)
    for row in rows(found):
        table.add_row(*row)
    print_table(table)
    for each in found.advice:
        value = f" ({shown(each.value)})" if each.value is not None else ""
        typer.echo(f"- {each.what}{value}: {each.reason}")
