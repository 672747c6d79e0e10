"""``curvae sample``."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Option

from curvae import memory
from curvae._checks import is_whole, positive_int
from curvae.cli import options, using, written
from curvae.cli.pictures import SHOWN
from curvae.cli.places import path
from curvae.errors import InputError
from curvae.terminal import console, one_line

if TYPE_CHECKING:
    from curvae.runs import Run

# for each number of a sample: its chunk, the whole and what is written are in memory together, in float64 at most
_BYTES = 32


def sample(
    run: options.Run,
    n: Annotated[int, Option("-n", help="Number of samples.")] = 64,
    out: Annotated[Path, Option(help="A .png grid, or the values as .npy, .npz or .csv.", parser=path)] = Path(
        "samples.png"
    ),
    source: Annotated[
        str, Option("--from", help="prior, or mixture:K fitted to the codes of the training data.")
    ] = "prior",
    condition_value: Annotated[
        str | None,
        Option(
            help="Condition of the samples: 3, or several in turn, 0,1,2.",
            show_default="the classes in turn, or the data's own conditions",
        ),
    ] = None,
    seed: options.Seed = 0,
    model: options.Model = None,
    trust: options.Trust = False,
    as_json: options.Json = False,
) -> None:
    """Decode draws from the prior, or from a mixture of K normal distributions fitted to the codes after training."""
    positive_int("-n", n)
    components = _components(source)
    opened, code = using.open_run(run, model, trust)
    shape = tuple(opened.data["shape"])
    written.check_out(out, written.TABLES, opened, None)
    written.check_table(opened, out)
    _check_number(n, shape, out)
    condition = using.told_of(opened, condition_value, several=True)
    if condition is not None:
        condition = condition.repeat(-(-n // len(condition)), 1)[:n]
    with code.errors():
        values = _draw(opened, n, components, seed, condition)
    replaced = written.write(out, {"samples": values}, values, names=opened.data.get("columns"))
    told = {"run": str(run), "out": str(out), "n": n, "shape": list(shape), "from": source, "seed": seed}
    written.tell(told, f"{n} samples", replaced, as_json)


def _check_number(n: int, shape: tuple[int, ...], out: Path) -> None:
    if out.suffix.lower() == ".png" and n > SHOWN:
        raise InputError(f"-n is {n}; a .png shows at most {SHOWN} samples, .npy and .npz take more")
    if n > (most := memory.total() / (_BYTES * math.prod(shape))):
        raise InputError(f"-n is {n}; expected at most {most:.0f}, which is what fits in the memory of this machine")


def _components(source: str) -> int | None:
    """Of the mixture to draw from; None for the prior."""
    kind, _, number = source.partition(":")
    if source == "prior":
        return None
    if kind != "mixture" or not is_whole(number) or int(number) < 1:
        raise InputError(f"--from is {source!r}; expected prior or mixture:K with a whole number K >= 1")
    return int(number)


def _draw(run: Run, n: int, components: int | None, seed: int, condition: Any) -> Any:
    if components is None:
        return run.sample(n, condition=condition, seed=seed)
    with console().status("fitting a mixture to the codes"), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        values = run.sample(n, condition=condition, seed=seed, mixture=components)
    for warning in caught:  # that the fit did not converge, say
        typer.echo("note: " + one_line(str(warning.message)), err=True)
    return values
