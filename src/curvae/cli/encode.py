"""``curvae encode``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from curvae.cli import using
from curvae.cli.own import Code, ModelOption, TrustOption
from curvae.cli.places import path


def encode(
    run: Annotated[Path, Argument(help="A finished run folder.", metavar="RUN", parser=path)],
    out: Annotated[Path, Option(help="An .npz file for the arrays mean and std.", parser=path)],
    data: Annotated[str | None, Option(help=using.DATA)] = None,
    part: Annotated[str, Option(help=using.PART)] = "all",
    covariance: Annotated[
        bool, Option("--covariance", help="Also write the array covariance, one matrix per sample.")
    ] = False,
    structure: Annotated[
        str | None,
        Option(
            help="Write the covariance of this structure that is best for the decoder, in place of the model's own."
        ),
    ] = None,
    condition_value: Annotated[str | None, Option(help=using.CONDITION)] = None,
    limit: Annotated[int | None, Option(help="Use at most this many samples, the first ones.")] = None,
    batch_size: Annotated[int, Option(help="Samples per batch.")] = 256,
    device: Annotated[str, Option(help="auto, cpu or cuda.")] = "auto",
    model: ModelOption = None,
    trust: TrustOption = False,
    as_json: Annotated[bool, Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Encode samples: means and standard deviations of their latents, in the order of the data, with any labels.

    Of a deterministic model the standard deviations are those of the posterior that is best for its decoder (11).
    """
    from curvae.errors import InputError
    from curvae.runs import build_structure

    code = Code.of(model, trust)
    opened = using.open_run(run, code)
    using.check_out(out, (".npz",), opened, data)
    if batch_size < 1:
        raise InputError(f"--batch-size is {batch_size}; expected a whole number >= 1")
    chosen = None if structure is None else build_structure(structure)
    trained = using.trained(opened, device)
    samples = using.read(opened, data, part, condition_value).first(limit)
    latents = opened.config.latents
    using.check_amount("the codes", (len(samples.values), latents, *(latents,) * covariance), out)
    with code.errors():
        found = trained.encode(
            samples.values,
            condition=samples.conditions,
            covariance=covariance,
            structure=chosen,
            batch_size=batch_size,
        )
    arrays = {name: value.cpu().numpy() for name, value in found._asdict().items()}
    labels = {} if samples.labels is None else {"labels": samples.labels}
    replaced = using.write(out, {**arrays, **labels})
    told = {"run": str(run), "out": str(out), "n": len(samples.values), "arrays": [*arrays, *labels]}
    using.tell(told, f"codes of {len(samples.values)} samples", replaced, as_json)
