"""Numbers of which float32 does not keep what tells samples apart."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
from jaxtyping import Shaped

# samples that are looked at, and the part of a column's standard deviation that rounding may take
_SEEN, _LOST = 1000, 0.01
# relative: what float64 itself leaves of numbers that are the same
_CONSTANT = 1e-14


def lost_digits(values: Shaped[np.ndarray, "N *D"], names: Sequence[str] | None = None) -> str | None:
    """In words, the first column whose samples float32 rounds to each other; None where it keeps them all apart.

    It has seven digits: numbers near 1e9 come in steps of 64. Time stamps, coordinates and identifiers are such.

    Args:
        values: of any type.
        names: of the columns, which are numbered by default.

    Example:
        >>> lost_digits(np.array([[1e9], [1e9 + 3], [1e9 - 3]]), ["t"])
        "column 't' has values near 1e+09 that differ by 2.4, which float32 keeps in steps of 64; subtract the mean"
        >>> lost_digits(np.array([[1e9], [2e9]])) is None
        True
    """
    if values.dtype.kind not in "iuf" or values.dtype.itemsize < 4 or values.dtype == np.float32:
        return None
    at = np.arange(min(_SEEN, len(values))) * len(values) // min(_SEEN, len(values))
    seen = np.asarray(values[at], dtype=np.float64).reshape(len(at), -1)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore", RuntimeWarning)  # of columns without any values
        size = np.nanmax(np.abs(seen), 0)
        unit = np.where(size > 0, size, 1.0)  # squares of the smallest numbers would be zero in float64 too
        spread = np.nanstd(seen / unit, 0)
        lost = np.nanstd((seen - seen.astype(np.float32)) / unit, 0)
    bad = (lost > _LOST * spread) & (spread > _CONSTANT) & (size <= np.finfo(np.float32).max)
    if not bad.any():
        return None
    column = int(np.argmax(bad))
    name = column if names is None else repr(names[column])
    step = np.spacing(np.float32(size[column]))
    cure = "subtract the mean" if size[column] >= np.finfo(np.float32).tiny else "express it in a smaller unit"
    return (
        f"column {name} has values near {size[column]:.3g} that differ by {spread[column] * size[column]:.2g}, which "
        f"float32 keeps in steps of {step:.2g}; {cure}"
    )
