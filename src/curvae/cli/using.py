"""What the commands share that use a trained model: opening it, reading samples, writing arrays and pictures."""

from __future__ import annotations

import csv
import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from curvae._checks import positive_int
from curvae.cli.group import writing
from curvae.cli.own import Code
from curvae.cli.pictures import SHOWN, grid
from curvae.cli.places import check_file
from curvae.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import Shaped

    from curvae._typing import Tensor
    from curvae.data import Dataset
    from curvae.runs import Run

FORMATS = (".png", ".npy", ".npz")
TABLES = (*FORMATS, ".csv")
_PARTS = ("all", "train", "test")
# of a table, in memory as text
_ROWS = 1000


def open_run(place: Path, named: list[str] | None, trust: bool) -> tuple[Run, Code]:
    """The run in a folder, with the code that makes its model where that is a person's own.

    All commands that use a trained model open it here.
    """
    from curvae.runs import Run

    run, code = Run.open(place), Code.of(named, trust)
    code.check([run])
    return replace(run, handed=replace(run.handed, model=code.builder(run))), code


@dataclass(frozen=True)
class SampleSet:
    """Samples in their order, and what their source says of them."""

    values: Tensor  # [N, *D], uint8 or float32
    labels: Shaped[np.ndarray, " N"] | None
    conditions: Tensor | None = None  # [N, C], as the networks take them

    def first(self, limit: int | None) -> SampleSet:
        """At most ``limit`` of them."""
        if limit is None:
            return self
        return self._some(slice(min(positive_int("--limit", limit), len(self.values))))

    def at(self, option: str, positions: list[int]) -> SampleSet:
        """Those at some positions, which an option gave."""
        count = len(self.values)
        if bad := [position for position in positions if position >= count]:
            raise InputError(f"{option} has {bad[0]}; expected positions from 0 to {count - 1} in the data")
        return self._some(positions)

    def _some(self, which: Any) -> SampleSet:
        labels = None if self.labels is None else self.labels[which]
        return SampleSet(self.values[which], labels, None if self.conditions is None else self.conditions[which])


def read(run: Run, data: str | None, part: str, condition: str | None = None) -> SampleSet:
    """The samples that a command is to use: all of ``data`` or of the run's own, or one part of them.

    Their conditions are those that ``condition`` says, or the data.
    """
    from curvae.data import in_order, load, load_whole
    from curvae.data.columns import check_names
    from curvae.data.labels import NoConditionsError, labels_of
    from curvae.data.names import is_table
    from curvae.data.order import conditions_in_order
    from curvae.runs.mixed import check_kinds, is_mixed
    from curvae.runs.source import reading, reading_others

    if part not in _PARTS:
        raise InputError(f"--part is {part!r}; expected {', '.join(_PARTS[:-1])} or {_PARTS[-1]}")
    config = run.config
    source = config.data if data is None else data
    white = run.data.get("white")
    options = reading(config, white) if data is None else reading_others(config, white, source)
    told = told_of(run, condition)
    if run.coding is not None and told is None:
        options["condition"] = run.coding
    elif run.coding is not None and is_table(source):
        # columns of a table are no features, whoever says the condition
        options["drop"] = (*options["drop"], *run.coding.names)
    try:
        if data is None:
            found = run.dataset()
        elif part == "all":
            found = load_whole(source, **options)
        else:
            found = load(source, split_seed=config.split_seed, **options)
    except NoConditionsError as error:
        if data is None:
            raise
        raise InputError(f"{error}; or say one for all samples with --condition-value") from error
    check_names(run.data.get("columns"), found.columns, source)
    found = found.in_shape(tuple(run.data["shape"]))
    _check_shape(run, found, source)
    if is_mixed(config.likelihood):
        check_kinds(config.likelihood, found, training=False)
    values = in_order(found) if part == "all" else (found.train if part == "train" else found.test)[:]
    if told is not None:
        told = told.expand(len(values), -1)
    elif found.conditions is not None:
        told = conditions_in_order(found) if part == "all" else found.conditions[part == "test"]
    if found.labels:
        return SampleSet(values, _columns(found, part), told)
    labels = None if "damaged" in found.split else labels_of(source, found)
    return SampleSet(values, None if labels is None else _part_of(labels, found, part), told)


def told_of(run: Run, condition: str | None, several: bool = False) -> Tensor | None:
    """What ``--condition-value`` says to a conditional run; None where it is not given.

    Raises:
        InputError: it is given to another run, or says not what this one expects.
    """
    if run.config.condition == "":
        if condition is not None:
            raise InputError(f"--condition-value is given but {run.path} has no conditions; leave it out")
        return None
    if run.coding is None:
        raise InputError(f"the conditions of {run.path} were handed to curvae.fit; use the run in Python")
    if condition is None:
        return None
    try:
        found = run.coding.parse(condition)
    except InputError as error:
        raise InputError(f"--condition-value: {error}") from error
    if len(found) > 1 and not several:
        raise InputError(f"--condition-value is {condition[:60]!r}; expected one condition for all samples")
    return found


def _columns(found: Dataset, part: str) -> Shaped[np.ndarray, "N *K"]:
    """A table's columns of labels in the order of the samples: one, or several side by side."""
    import numpy as np

    assert found.labels is not None
    alone = bool(found.split.get("alone"))
    halves = {"train": slice(0, 1), "test": slice(1, 2), "all": slice(0, 1 if alone else 2)}[part]
    each = [np.concatenate([np.asarray(half) for half in pair[halves]]) for pair in found.labels.values()]
    if part == "all" and found.split.get("kind") == "seeded":  # as in_order puts the samples
        test = np.asarray(found.split["test_indices"])
        order = np.argsort(np.concatenate([np.delete(np.arange(len(each[0])), test), test]))
        each = [values[order] for values in each]
    return each[0] if len(each) == 1 else np.column_stack(each)


def _check_shape(run: Run, found: Dataset, source: str) -> None:
    shape = tuple(run.data["shape"])
    if found.shape != shape:
        raise InputError(f"--data is {source}, whose samples have shape {found.shape}; {run.path} takes {shape}")


def _part_of(labels: Shaped[np.ndarray, " N"], found: Dataset, part: str) -> Shaped[np.ndarray, " M"]:
    from curvae.data.labels import parted

    return labels if part == "all" else parted(labels, found)[part == "test"]


def check_out(out: Path, formats: tuple[str, ...], run: Run, data: str | None) -> None:
    """Refuse a place that cannot be written or holds the data, and a picture of samples that are not images."""
    from curvae.data import arrays, idx
    from curvae.data.folders import holds
    from curvae.data.names import is_name

    check_file("--out", out, formats)
    for name in {run.config.data, run.config.data if data is None else data}:
        if is_name(name):
            continue
        source, _ = arrays.locate(Path(os.path.expanduser(name)))  # noqa: PTH111
        if os.path.exists(source) and out.exists() and source.samefile(out):  # noqa: PTH110 - names that are too long
            raise InputError(f"--out is {out}, which holds the data; choose another")
        is_images = os.path.isdir(source) and not idx.find(source, "train")  # noqa: PTH112 - the same
        if out.suffix.lower() == ".png" and is_images and holds(source, out):
            raise InputError(f"--out is {out}, among the images of the data, {source}; choose another folder")
    check_picture(run, out)


def check_picture(run: Run, out: Path) -> None:
    """Refuse a picture of samples that are not images."""
    shape = tuple(run.data["shape"])
    if out.suffix.lower() == ".png" and not (len(shape) == 3 and shape[0] in (1, 3)):
        raise InputError(
            f"the samples of {run.path} have shape {shape} and are not images; use --out with .npy or .npz"
        )


def check_table(run: Run, out: Path) -> None:
    """Refuse a table of samples that are not vectors."""
    shape = tuple(run.data["shape"])
    if out.suffix.lower() == ".csv" and len(shape) > 1:
        raise InputError(
            f"the samples of {run.path} have shape {shape} and are no rows of a table; use --out with .npy or .npz"
        )


def check_amount(what: str, axes: tuple[int, ...], out: Path, shown: int = 0) -> None:
    """Refuse results that do not fit in memory, or more images than a picture shows."""
    from curvae import memory

    if out.suffix.lower() == ".png" and shown > SHOWN:
        raise InputError(f"{what} are {shown} images; a .png shows at most {SHOWN}, .npy and .npz take more")
    # the results, and what is written of them, in float64 at most
    if (needed := 16 * math.prod(axes)) > memory.total():
        raise InputError(
            f"{what} are numbers of shape {axes}, {needed / 2**30:.3g} GB; this machine has "
            f"{memory.total() / 2**30:.3g} GB: ask for less at a time"
        )


def numbers(option: str, text: str) -> list[int]:
    """Whole numbers ≥ 0 with commas between them.

    Example:
        >>> numbers("--index", "0,12")
        [0, 12]
    """
    parts = text.split(",")
    # len before int: Python refuses thousands of digits
    if not all(part.strip().isascii() and part.strip().isdigit() and len(part) < 10 for part in parts):
        raise InputError(
            f"{option} is {text[:60]!r}; expected whole numbers >= 0 with commas between them, as in 0,3,7"
        )
    return [int(part) for part in parts]


def write(
    out: Path,
    arrays: dict[str, Any],
    picture: Shaped[np.ndarray, "N C H W"] | None = None,
    columns: int | None = None,
    names: Sequence[str] | None = None,
) -> bool:
    """Write results whole or not at all: ``.npz`` all arrays, ``.npy`` the first, ``.png`` the picture.

    ``.csv`` has all arrays side by side, a row for each sample. ``names`` are those of the first one's columns.

    Returns:
        Whether an older file was there, which is replaced.
    """
    import numpy as np

    from curvae.files import write_atomic

    there, suffix = out.exists(), out.suffix.lower()
    # text of a table is Python objects there, which nobody could load again without pickle
    arrays = {
        name: np.asarray(each).astype(str) if np.asarray(each).dtype == object else each
        for name, each in arrays.items()
    }
    with writing("--out", out):
        if suffix == ".npy":
            write_atomic(out, lambda path: np.save(path, next(iter(arrays.values()))))
        elif suffix == ".npz":
            write_atomic(out, lambda path: np.savez_compressed(path, **arrays))
        elif suffix == ".csv":
            write_atomic(out, lambda path: _write_table(path, arrays, names))
        else:
            from PIL import Image

            assert picture is not None  # none is asked for of samples that are not images
            image = Image.fromarray(grid(picture, columns=columns))
            write_atomic(out, lambda path: image.save(path, format="png"))
    return there


def tell(told: dict[str, Any], what: str, replaced: bool, as_json: bool) -> None:
    """Say what was written: one JSON object on stdout, or a line on stderr."""
    if as_json:
        typer.echo(json.dumps(told))
    else:
        typer.echo(f"{what} in {told['out']}" + ", in place of an older file" * replaced, err=True)


def _write_table(path: Path, arrays: dict[str, Any], names: Sequence[str] | None) -> None:
    import numpy as np

    header: list[str] = []
    for name, values in arrays.items():
        numbered = [name] if values.ndim == 1 else [f"{name}_{i}" for i in range(values[:1].size)]
        header += numbered if header or names is None else names
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        # as text, numbers have the digits that tell them apart in their own precision, and take many times their memory
        for start in range(0, len(next(iter(arrays.values()))), _ROWS):
            pieces = (each[start : start + _ROWS] for each in arrays.values())
            writer.writerows(np.column_stack([each.reshape(len(each), -1).astype(str) for each in pieces]))
