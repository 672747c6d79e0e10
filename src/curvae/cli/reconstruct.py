"""``curvae reconstruct``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from curvae.cli import using
from curvae.cli.own import Code, ModelOption, TrustOption
from curvae.cli.pictures import above_each_other
from curvae.cli.places import path


def reconstruct(
    run: Annotated[Path, Argument(help="A finished run folder.", metavar="RUN", parser=path)],
    out: Annotated[Path, Option(help="A .png of originals above outputs, or the values as .npy or .npz.", parser=path)],
    data: Annotated[str | None, Option(help=using.DATA)] = None,
    part: Annotated[str, Option(help=using.PART)] = "all",
    condition_value: Annotated[str | None, Option(help=using.CONDITION)] = None,
    limit: Annotated[int | None, Option(help="Use at most this many samples, the first ones.")] = None,
    batch_size: Annotated[int, Option(help="Samples per batch.")] = 256,
    device: Annotated[str, Option(help="auto, cpu or cuda.")] = "auto",
    model: ModelOption = None,
    trust: TrustOption = False,
    as_json: Annotated[bool, Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Encode samples and decode their codes: expected observations, in the order of the data."""
    from curvae.data import as_float
    from curvae.errors import InputError

    code = Code.of(model, trust)
    opened = using.open_run(run, code)
    using.check_out(out, using.FORMATS, opened, data)
    if batch_size < 1:
        raise InputError(f"--batch-size is {batch_size}; expected a whole number >= 1")
    trained = using.trained(opened, device)
    samples = using.read(opened, data, part, condition_value).first(limit)
    shape, count = tuple(samples.values.shape), len(samples.values)
    using.check_amount("the reconstructions", shape, out, 2 * count)
    with code.errors():
        found = trained.reconstruct(samples.values, condition=samples.conditions, batch_size=batch_size).cpu().numpy()
    labels = {} if samples.labels is None else {"labels": samples.labels}
    picture, columns = None, None
    if out.suffix.lower() == ".png":
        picture, columns = above_each_other(as_float(samples.values).numpy(), found)
    replaced = using.write(out, {"reconstruction": found, **labels}, picture, columns)
    told = {"run": str(run), "out": str(out), "n": count, "shape": list(shape[1:])}
    using.tell(told, f"{count} reconstructions", replaced, as_json)
