"""``curvae traverse``."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

from typer import Option

from curvae.cli import options, using, written
from curvae.cli.places import path
from curvae.errors import InputError


def traverse(
    run: options.Run,
    out: Annotated[Path, Option(help="A .png with a latent in each row, or the values as .npy or .npz.", parser=path)],
    data: options.Data = None,
    part: options.Part = "all",
    index: Annotated[
        str | None, Option(help="Positions in the data of the samples to start from, as in 0,3.", show_default="z = 0")
    ] = None,
    latents: Annotated[
        str | None, Option(help="Latents to vary, counted from 0, as in 0,3.", show_default="all")
    ] = None,
    values: Annotated[
        str, Option(help="Values of the latent, in the prior's standard deviations.")
    ] = "-3,-2,-1,0,1,2,3",
    condition_value: Annotated[
        str | None, Option(help="Condition of the codes: 3, or without --index several, 0,1,2.")
    ] = None,
    device: options.Device = "auto",
    model: options.Model = None,
    trust: options.Trust = False,
    as_json: options.Json = False,
) -> None:
    """Vary one latent at a time and decode, starting from the prior's mean or from samples."""
    import numpy as np

    opened, code = using.open_run(run, model, trust)
    written.check_out(out, written.FORMATS, opened, data)
    if index is None and data is not None:
        raise InputError("--data is given but --index is not; say which samples to start from, as in --index 0")
    count, at = opened.config.latents, _values(values)
    chosen = list(range(count)) if latents is None else using.numbers("--latents", latents)
    if bad := [one for one in chosen if one >= count]:
        raise InputError(f"--latents has {bad[0]}; expected whole numbers from 0 to {count - 1}")
    starts = [] if index is None else using.numbers("--index", index)
    told_of = using.told_of(opened, condition_value, several=not starts)
    if opened.coding is not None and told_of is None and not starts:
        raise InputError(
            f"{opened.path} is conditional: give the conditions with --condition-value, or start from samples with "
            f"--index; conditions are {opened.coding.told()}"
        )
    axes = (max(1, len(starts), 0 if told_of is None else len(told_of)), len(chosen), len(at))
    written.check_amount("the traversals", (*axes, *opened.data["shape"]), out, math.prod(axes))
    trained = opened.trained(device)
    samples = using.read(opened, data, part, condition_value).at("--index", starts) if starts else None
    x, condition = (None, told_of) if samples is None else (samples.values, samples.conditions)
    with code.errors():
        found = np.asarray(trained.traverse(x, latents=chosen, values=at, condition=condition))
    arrays = {"traversal": found, "latents": np.array(chosen), "values": np.array(at), "index": np.array(starts, int)}
    replaced = written.write(out, arrays, found.reshape(-1, *found.shape[3:]), len(at))
    told = {"run": str(run), "out": str(out), "index": starts, "latents": chosen, "values": at}
    written.tell(told, f"{len(chosen)} latent{'s' * (len(chosen) > 1)} at {len(at)} values", replaced, as_json)


def _values(text: str) -> list[float]:
    try:
        found = [float(part) for part in text.split(",")]
    except ValueError:
        found = []
    if not found or not all(math.isfinite(value) for value in found):
        raise InputError(f"--values is {text[:60]!r}; expected finite numbers with commas between them, as in -2,0,2")
    return found
