"""``curvae reconstruct``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Option

from curvae._checks import positive_int
from curvae.cli import options, using, written
from curvae.cli.pictures import above_each_other
from curvae.cli.places import path


def reconstruct(
    run: options.Run,
    out: Annotated[
        Path, Option(help="A .png of originals above outputs, or the values as .npy, .npz or .csv.", parser=path)
    ],
    data: options.Data = None,
    part: options.Part = "all",
    condition_value: options.Condition = None,
    limit: options.Limit = None,
    batch_size: options.BatchSize = 256,
    device: options.Device = "auto",
    model: options.Model = None,
    trust: options.Trust = False,
    as_json: options.Json = False,
) -> None:
    """Encode samples and decode their codes: expected observations, in the order of the data."""
    from curvae.data import as_float

    opened, code = using.open_run(run, model, trust)
    written.check_out(out, written.TABLES, opened, data)
    written.check_table(opened, out)
    positive_int("--batch-size", batch_size)
    trained = opened.trained(device)
    samples = using.read(opened, data, part, condition_value, labelled=True).first(limit)
    shape, count = tuple(samples.values.shape), len(samples.values)
    written.check_amount("the reconstructions", shape, out, 2 * count)
    with code.errors():
        found = trained.reconstruct(samples.values, condition=samples.conditions, batch_size=batch_size).cpu().numpy()
    picture, columns = None, None
    if out.suffix.lower() == ".png":
        picture, columns = above_each_other(as_float(samples.values).numpy(), found)
    labels = written.labelled(samples.labels, out)
    replaced = written.write(
        out, {"reconstruction": found}, picture, columns, names=opened.data.get("columns"), labels=labels
    )
    told = {"run": str(run), "out": str(out), "n": count, "shape": list(shape[1:])}
    written.tell(told, f"{count} reconstructions", replaced, as_json)
