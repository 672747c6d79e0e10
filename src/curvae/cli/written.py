"""What the commands share that write arrays and pictures: where these go, how large they may be, and their files."""

from __future__ import annotations

import csv
import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import typer

from curvae import memory
from curvae.cli.group import writing
from curvae.cli.pictures import SHOWN, grid
from curvae.cli.places import check_file
from curvae.errors import InputError
from curvae.files import write_atomic

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import Shaped

    from curvae.runs import Run

FORMATS = (".png", ".npy", ".npz")
TABLES = (*FORMATS, ".csv")
# of a table, in memory as text
_ROWS = 1000


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
        is_images = os.path.isdir(source) and not idx.is_folder(source)  # noqa: PTH112 - the same
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
    if out.suffix.lower() == ".png" and shown > SHOWN:
        raise InputError(f"{what} are {shown} images; a .png shows at most {SHOWN}, .npy and .npz take more")
    # the results, and what is written of them, in float64 at most
    if (needed := 16 * math.prod(axes)) > memory.total():
        raise InputError(
            f"{what} are numbers of shape {axes}, {needed / 2**30:.3g} GB; this machine has "
            f"{memory.total() / 2**30:.3g} GB: ask for less at a time"
        )


def write(
    out: Path,
    arrays: dict[str, Any],
    picture: Shaped[np.ndarray, "N C H W"] | None = None,
    columns: int | None = None,
    names: Sequence[str] | None = None,
    labels: Mapping[str, Any] | None = None,
) -> bool:
    """Write results whole or not at all: ``.npz`` all arrays, ``.npy`` the first, ``.png`` the picture.

    ``.csv`` has all arrays side by side, a row for each sample. ``names`` are those of the first one's columns. What
    :func:`labelled` made of labels comes last.

    Returns:
        Whether an older file was there, which is replaced.
    """
    import numpy as np

    there, suffix = out.exists(), out.suffix.lower()
    # text of a table is Python objects there, which nobody could load again without pickle
    plain = {name: each.astype(str) if each.dtype == object else each for name, each in (labels or {}).items()}
    with writing("--out", out):
        if suffix == ".npy":
            write_atomic(out, _through(lambda file: np.save(file, next(iter(arrays.values())))))
        elif suffix == ".npz":
            write_atomic(out, _through(lambda file: np.savez_compressed(file, **arrays, **plain)))
        elif suffix == ".csv":
            write_atomic(out, lambda path: _write_table(path, arrays, names, plain))
        else:
            from PIL import Image

            assert picture is not None  # none is asked for of samples that are not images
            image = Image.fromarray(grid(picture, columns=columns))
            write_atomic(out, lambda path: image.save(path, format="png"))
    return there


def labelled(labels: Mapping[str, Shaped[np.ndarray, " N"]], out: Path) -> dict[str, Any]:
    """Labels as a file has them: one column as ``labels``, several by their names.

    In an ``.npz`` several are the columns of the array ``labels``, and ``label_names`` says which is which.

    Example:
        >>> import numpy as np
        >>> list(labelled({"kind": np.arange(2)}, Path("z.csv")))
        ['labels']
        >>> list(labelled({"kind": np.arange(2), "age": np.arange(2)}, Path("z.npz")))
        ['labels', 'label_names']
    """
    import numpy as np

    if len(labels) == 1:
        return {"labels": next(iter(labels.values()))}
    if not labels or out.suffix.lower() == ".csv":
        return dict(labels)
    return {"labels": np.column_stack(list(labels.values())), "label_names": np.array(list(labels))}


def tell(told: dict[str, Any], what: str, replaced: bool, as_json: bool) -> None:
    """Say what was written: one JSON object on stdout, or a line on stderr."""
    if as_json:
        typer.echo(json.dumps(told))
    else:
        typer.echo(f"{what} in {told['out']}" + ", in place of an older file" * replaced, err=True)


def _through(write: Callable[[BinaryIO], object]) -> Callable[[Path], None]:
    """To a name as it is: NumPy would add ``.npz`` to one that ends in ``.NPZ``."""

    def opened(path: Path) -> None:
        with path.open("wb") as file:
            write(file)

    return opened


def _write_table(path: Path, arrays: dict[str, Any], names: Sequence[str] | None, labels: Mapping[str, Any]) -> None:
    import numpy as np

    header: list[str] = []
    for name, values in arrays.items():
        numbered = [name] if values.ndim == 1 else [f"{name}_{i}" for i in range(values[:1].size)]
        header += numbered if header or names is None else names
    # no two columns have one name
    header += [name if name not in header else f"labels_{name}" for name in labels]
    columns = [*arrays.values(), *labels.values()]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        # as text, numbers have the digits that tell them apart in their own precision, and take many times their memory
        for start in range(0, len(columns[0]), _ROWS):
            pieces = (each[start : start + _ROWS] for each in columns)
            writer.writerows(np.column_stack([each.reshape(len(each), -1).astype(str) for each in pieces]))
