"""``curvae interpolate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Option

from curvae.cli import options, using, written
from curvae.cli.places import path
from curvae.errors import InputError


def interpolate(
    run: options.Run,
    out: Annotated[Path, Option(help="A .png with a path in each row, or the values as .npy or .npz.", parser=path)],
    data: options.Data = None,
    part: options.Part = "all",
    pairs: Annotated[str, Option(help="Positions in the data: from:to, with commas between pairs.")] = "0:1",
    steps: Annotated[int, Option(help="Points on each path, both ends included.")] = 9,
    geodesic: Annotated[bool, Option("--geodesic", help="Shortest paths in the decoder's metric.")] = False,
    condition_value: options.Condition = None,
    device: options.Device = "auto",
    model: options.Model = None,
    trust: options.Trust = False,
    as_json: options.Json = False,
) -> None:
    """Decode paths between the codes of two samples: straight lines in latent space, or geodesics."""
    import numpy as np

    opened, code = using.open_run(run, model, trust)
    written.check_out(out, written.FORMATS, opened, data)
    least = 3 if geodesic else 2
    if steps < least:
        raise InputError(f"--steps is {steps}; expected at least {least}, both ends included")
    ends = _ends(pairs)
    written.check_amount("the paths", (len(ends), steps, *opened.data["shape"]), out, len(ends) * steps)
    trained = opened.trained(device)
    samples = using.read(opened, data, part, condition_value)
    first, last = (samples.at("--pairs", list(side)) for side in zip(*ends, strict=True))
    with code.errors():
        conditions = None if first.conditions is None else (first.conditions, last.conditions)
        ways = trained.interpolate(first.values, last.values, steps, condition=conditions, geodesic=geodesic)
        found = ways.cpu().numpy()
    arrays = {"path": found, "pairs": np.array(ends)}
    replaced = written.write(out, arrays, found.reshape(-1, *found.shape[2:]), steps)
    told = {"run": str(run), "out": str(out), "pairs": ends, "steps": steps, "geodesic": geodesic}
    written.tell(told, f"{len(ends)} path{'s' * (len(ends) > 1)} of {steps} points", replaced, as_json)


def _ends(pairs: str) -> list[tuple[int, int]]:
    """Of ``0:1,5:2``."""
    ends = [pair.split(":") for pair in pairs.split(",")]
    if not all(len(pair) == 2 for pair in ends):
        raise InputError(f"--pairs is {pairs[:60]!r}; expected pairs of positions in the data, as in 0:1,5:2")
    return [(using.numbers("--pairs", one)[0], using.numbers("--pairs", two)[0]) for one, two in ends]
