"""Tables: ``.csv`` and Parquet files by pandas, ``.h5ad`` files by anndata."""

from __future__ import annotations

import shlex
import warnings
from collections import Counter
from collections.abc import Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from curvae._checks import nearest, shown, some
from curvae._extras import require
from curvae.data.digits import lost_digits
from curvae.data.notes import note
from curvae.data.reasons import UNOBSERVED, check_size, reason
from curvae.data.split import Halves, Split
from curvae.errors import InputError
from curvae.files import open_regular

SUFFIXES = (".csv", ".parquet", ".h5ad")
# what pandas calls a first column without a name, as of a frame that was written with the numbers of its rows
_NAMELESS = "Unnamed: 0"


def load(
    path: Path,
    split: Split,
    labels: Sequence[str] = (),
    drop: Sequence[str] = (),
    layer: str | None = None,
    missing: bool = False,
    absent: bool = False,
    texts: Sequence[str] = (),
    known: Sequence[str] | None = None,
) -> Halves:
    """Read a table with one sample a row; all of its columns are features but for those that are named.

    Args:
        path: the file. Of a ``.h5ad`` file the features are its matrix and the labels columns of ``obs``.
        split: of the rows.
        labels: columns that are kept beside the data (:attr:`~curvae.data.Dataset.labels`), not trained on.
        drop: columns that are left out; of a ``.h5ad`` file names of variables.
        layer: of a ``.h5ad`` file, instead of its matrix.
        missing: whether empty cells and NaN may stand for what was not observed.
        absent: whether a model is used on the data, and columns that are named may be absent, as labels are there.
        texts: labels of a ``.csv`` file that are text, also where they look like numbers.
        known: columns that a model was trained on: a first one without a name is a feature if it is among them.

    Returns:
        Halves of float32 ``[N, C]``.

    Raises:
        MissingExtraError: the package that reads it is not installed.
        InputError: unreadable, no such columns, or features that are not finite numbers.
    """
    name = repr(str(path))
    with open_regular(path):  # a pipe would be waited for
        pass
    values, names, beside = _read(path, name, layer, texts)
    apart = path.suffix.lower() == ".h5ad"  # a variable may be called as a column of obs is
    told = beside if apart else names
    if absent:
        labels, drop = [one for one in labels if one in told], [one for one in drop if one in names or one in beside]
    _check_named(name, drop, [*names, *beside], "drop")
    _check_named(name, labels, told, "labels or condition")
    left_out = {*drop} if apart else {*labels, *drop, *_numbering(values, names, {*labels, *drop}, name, known)}
    chosen = [number for number, column in enumerate(names) if column not in left_out]
    if not chosen:
        raise InputError(f"{name} has no columns left; expected at least one that is neither a label nor dropped")
    table = _numbers(values, names, chosen, name, missing, absent)
    halves = split.apply(table, name)._replace(columns=tuple(names[number] for number in chosen))
    if not labels:
        return halves
    train, test = (positions.numpy() for positions in split.indices(len(table), name))
    kept = {label: np.asarray(beside[label] if label in beside else values[label]) for label in labels}
    return halves._replace(labels={label: (array[train], array[test]) for label, array in kept.items()})


def _read(path: Path, name: str, layer: str | None, texts: Sequence[str]) -> tuple[Any, list[str], dict[str, Any]]:
    """The columns' values, their names, and columns that are no features."""
    suffix = path.suffix.lower()
    if suffix == ".h5ad":
        require("reading .h5ad files needs", "anndata", extra="anndata")
        read: Any = import_module("anndata").read_h5ad
    elif suffix == ".parquet":
        require("reading Parquet files needs", "pandas", "pyarrow", extra="pandas")
        read = import_module("pandas").read_parquet
    else:
        require("reading .csv files needs", "pandas", extra="pandas")
        read = partial(import_module("pandas").read_csv, skipinitialspace=True)
    # the type of a column is that of all of it: pandas would look at some rows at a time
    options: Any = {"low_memory": False, "dtype": dict.fromkeys(texts, str)} if suffix == ".csv" else {}
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Variable names are not unique")  # what is refused needs no warning
            found = read(path, **options)
    except Exception as error:  # these readers' errors have no common ancestor
        if isinstance(error, UnicodeDecodeError):
            raise InputError(f"{name} is not text in UTF-8 ({reason(error)}); save it in that encoding") from error
        if suffix == ".csv":
            _check_commas(path, name)
        raise InputError(f"{name} cannot be read as a table ({reason(error)}); save it again") from error
    if suffix == ".csv":  # pandas gives the second of two equal names another one
        first = [str(column).strip() for column in read(path, header=None, nrows=1, dtype=str).iloc[0].dropna()]
        _check_names(first, name)
        _check_distinct(first, name)
    if suffix != ".h5ad":
        framed = _framed(found, name)
        if suffix == ".csv":
            _check_widths(read, path, name)
        return framed
    if layer is not None and layer not in found.layers:
        listed = ", ".join(map(repr, list(found.layers)[:8])) or "none"
        raise InputError(f"{name} has no layer {layer!r}; it has {listed}")
    matrix = found.X if layer is None else found.layers[layer]
    if matrix is None:
        raise InputError(f"{name} has no matrix X; name a layer, as in {path.name}:counts")
    check_size(4 * matrix.shape[0] * matrix.shape[1], f"the dense matrix of {name}")
    beside = {str(key).strip(): found.obs[key] for key in found.obs}
    genes = [str(gene).strip() for gene in found.var_names]
    _check_distinct(genes, name)
    return matrix, genes, beside


def _framed(frame: Any, name: str) -> tuple[Any, list[str], dict[str, Any]]:
    # nobody could name a column on the command line with the spaces around it
    frame.columns = [str(column).strip() for column in frame.columns]
    names = list(frame.columns)
    if not len(frame):
        raise InputError(f"{name} has no rows; expected one for each sample, below the columns' names")
    _check_distinct(names, name)
    if len(names) == 1 and (";" in names[0] or "\t" in names[0] or _spaced(names[0], str(frame.iat[0, 0]))):
        raise _separated(name, names[0])
    _check_names(names, name)
    return frame, names, {}


def _numbering(values: Any, names: list[str], named: set[str], name: str, known: Sequence[str] | None) -> list[str]:
    """A first column without a name that numbers the rows, also of a table that was shuffled or thinned out."""
    if names[:1] != [_NAMELESS] or _NAMELESS in named or not hasattr(values, "columns"):
        return []
    if known is not None:
        return names[: _NAMELESS not in known]
    if (kind := values.dtypes.iloc[0].kind) not in "biuf":  # refused with the other texts
        return []
    if kind in "iu" and values[_NAMELESS].is_unique:
        note(f"{name}: its first column has no name and counts the rows; it is left out")
        return names[:1]
    note(
        f"{name}: its first column has no name and is taken for a feature; to leave it out, train with "
        f"--drop '{_NAMELESS}'"
    )
    return []


def _check_commas(path: Path, name: str) -> None:
    """Refuse a file that could not be read for what can be seen of its first line."""
    with open_regular(path) as file:
        first = file.readline(100_000).decode("utf-8", "replace").strip()
    if not first:
        raise InputError(f"{name} is empty or begins with an empty line; expected the columns' names there")
    if "," not in first and (";" in first or "\t" in first):
        raise _separated(name, first)


def _check_widths(read: Any, path: Path, name: str) -> None:
    """Refuse rows with more values than there are names: pandas takes the first ones for names of the rows."""
    try:
        read(path, header=None, nrows=2, dtype=str)
    except Exception as error:
        raise InputError(
            f"{name} has more values in its first row than columns with names; give each column a name, that of the "
            "rows' names too, or leave out the commas that end the rows"
        ) from error


def _spaced(names: str, row: str) -> bool:
    """Whether spaces stand between names and between values, of which R's write.table has one more, the row's name."""
    values, count = row.split(), len(names.split())
    return count > 1 and len(values) - count in (0, 1) and _is_number(values[-1])


def _separated(name: str, line: str) -> InputError:
    by = "semicolons" if ";" in line else "tabs" if "\t" in line else "spaces"
    return InputError(
        f"{name} has its columns separated by {by} ({shown(line)}); separate them with commas, with points in numbers"
    )


def _no_numbers(values: Any, name: str, column: str, used: bool) -> InputError:
    """What to say of a column of text: of some cells in a column of numbers where they are and what they hold."""
    text = values[column]
    numbers = import_module("pandas").to_numeric(text.astype(object), errors="coerce")
    wrong = (numbers.isna() & text.notna()).to_numpy()
    # a model that is used on a table has its columns: what it was trained without has no option
    quoted = shlex.quote(column)
    options = f" with --drop {quoted}, or keep it beside the data with --labels {quoted}"
    called = f"the first column, which has no name ({column!r})," if column == _NAMELESS else f"column {column!r}"
    cure = "leave it out" + ("" if used else options)
    if wrong.sum() > len(wrong) / 2 or not wrong.any():
        return InputError(f"{name}: {called} holds no numbers ({text.dtype}); {cure}")
    row = int(wrong.argmax())
    return InputError(
        f"{name}: column {column!r} holds {shown(text.iloc[row])} in row {row} (counted from 0) and no number "
        f"in {wrong.sum()} of {len(wrong)} rows; write numbers there, or nothing where a value is missing, or {cure}"
    )


def _numbers(
    values: Any, names: list[str], chosen: list[int], name: str, missing: bool, used: bool
) -> Float32[np.ndarray, "N C"]:
    """The features in float32, or an error that names the first column that has none."""
    if hasattr(values, "dtypes") and hasattr(values, "columns"):
        for number in chosen:
            if values.dtypes.iloc[number].kind not in "biuf":
                raise _no_numbers(values, name, names[number], used)
        picked = values.iloc[:, chosen].to_numpy(dtype=np.float64, na_value=np.nan)
    else:
        picked = values[:, chosen]
        picked = picked.toarray() if hasattr(picked, "toarray") else np.asarray(picked)
        if picked.dtype.kind not in "biuf":
            raise InputError(f"{name} holds {picked.dtype} values; expected real numbers")
    with np.errstate(over="ignore"):
        table = np.ascontiguousarray(picked, dtype=np.float32)
    bad = ~np.isfinite(table) & ~(missing & np.isnan(picked.astype(np.float64, copy=False)))
    if bad.any():
        row, column = np.argwhere(bad)[0]
        gap = bool(np.isnan(table[row, column]))
        cure = "" if used else ", leave the column out with --drop"
        cure += f", or {UNOBSERVED}" * gap
        raise InputError(
            f"{name}: row {row} (counted from 0) has no finite number in column {names[chosen[column]]!r}; "
            f"fill it in{cure}"
        )
    if lost := lost_digits(picked, [names[number] for number in chosen]):
        note(f"{name}: {lost}")
    return table


def _check_names(names: list[str], name: str) -> None:
    if names and all(map(_is_number, names)):
        raise InputError(f"{name} begins with a row of numbers; expected the columns' names there")


def _check_distinct(names: list[str], name: str) -> None:
    if len(set(names)) < len(names):
        twice = Counter(names).most_common(1)[0][0]
        raise InputError(f"{name} has two columns called {twice!r}; give them different names")


def _check_named(name: str, asked: Sequence[str], there: Any, option: str) -> None:
    for column in asked:
        if column not in there:
            listed = some(list(map(repr, there)), 8)
            near = nearest(column, map(str, there))
            if column == "labels" and option != "drop":  # what the one label of an image or an array is called
                others = ",".join(one for one in asked if one in there) or "COLUMN"
                near = f"; a table has columns, so name these: --condition {others}"
            raise InputError(f"{option} names {column!r}, but {name} has {listed or 'no such columns'}{near}")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
