"""``curvae encode``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Option

from curvae._checks import positive_int
from curvae.cli import options, using, written
from curvae.cli.places import path
from curvae.errors import InputError


def encode(
    run: options.Run,
    out: Annotated[
        Path,
        Option(help="An .npz file for the arrays mean and std, or a .csv with a row for each sample.", parser=path),
    ],
    data: options.Data = None,
    part: options.Part = "all",
    covariance: Annotated[
        bool, Option("--covariance", help="Also write the array covariance, one matrix per sample.")
    ] = False,
    structure: Annotated[
        str | None,
        Option(
            help="Write the covariance of this structure that is best for the decoder, in place of the model's own."
        ),
    ] = None,
    condition_value: options.Condition = None,
    limit: options.Limit = None,
    batch_size: options.BatchSize = 256,
    device: options.Device = "auto",
    model: options.Model = None,
    trust: options.Trust = False,
    as_json: options.Json = False,
) -> None:
    """Encode samples: means and standard deviations of their latents, in the order of the data, with any labels.

    Of a deterministic model the standard deviations are those of the posterior that is best for its decoder (11).
    """
    from curvae.runs import build_structure

    opened, code = using.open_run(run, model, trust)
    written.check_out(out, (".npz", ".csv"), opened, data)
    if covariance and out.suffix.lower() == ".csv":
        raise InputError("--covariance is a matrix for each sample, which is no row of a .csv; use --out with .npz")
    positive_int("--batch-size", batch_size)
    chosen = None if structure is None else build_structure(structure)
    trained = opened.trained(device)
    samples = using.read(opened, data, part, condition_value, labelled=True).first(limit)
    latents = opened.config.latents
    written.check_amount("the codes", (len(samples.values), latents, *(latents,) * covariance), out)
    with code.errors():
        found = trained.encode(
            samples.values,
            condition=samples.conditions,
            covariance=covariance,
            structure=chosen,
            batch_size=batch_size,
        )
    arrays = {name: value.cpu().numpy() for name, value in found._asdict().items()}
    labels = written.labelled(samples.labels, out)
    replaced = written.write(out, arrays, labels=labels)
    told = {"run": str(run), "out": str(out), "n": len(samples.values), "arrays": [*arrays, *labels]}
    written.tell(told, f"codes of {len(samples.values)} samples", replaced, as_json)
