"""NumPy files: ``.npy`` with one array, ``.npz`` with one array or with a training and a test array."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Shaped

from curvae._typing import UInt8
from curvae.data.reasons import reason
from curvae.data.split import STANDARD, Halves, Split
from curvae.errors import InputError

SUFFIXES = (".npy", ".npz")

# the second pair is that of Keras' files
_PAIRS = (("train", "test"), ("x_train", "x_test"))


def load(path: Path, split: Split) -> Halves:
    """Read a ``.npy`` or ``.npz`` file. Pickles are never loaded.

    Args:
        path: the file. An ``.npz`` has arrays ``train`` and ``test`` (or ``x_train`` and ``x_test``; anything beside
            them, such as labels, is left alone), or one array under any name.
        split: used where there is one array only.

    Returns:
        Halves of uint8 (taken as pixels, see ``to_pixels``) or else float32 ``[N, *shape]``: integers of any other
        type (counts, for instance), booleans and floating-point numbers keep their values.

    Raises:
        InputError: unreadable, no such arrays, or an array that is not ``[N, …]`` finite real numbers.
    """
    name = repr(str(path))
    try:
        # mapped, so that converting a big .npy does not hold it twice
        loaded = np.load(path, mmap_mode="r", allow_pickle=False)
        if isinstance(loaded, np.lib.npyio.NpzFile):
            with loaded as archive:
                chosen = _choose(archive, name)
        else:
            chosen = [loaded]
    except InputError:
        raise
    except Exception as error:  # zip, zlib, header, memory and pickle errors have no common ancestor
        raise InputError(_unreadable(name, error)) from error
    tidy = [_to_data(array, name) for array in chosen]
    if len(tidy) == 1:
        return split.apply(tidy[0], name)
    train, test = tidy
    if train.dtype != test.dtype or train.shape[1:] != test.shape[1:]:
        raise InputError(
            f"{name}: train is {train.dtype} of shape {train.shape} but test is {test.dtype} of shape "
            f"{test.shape}; expected the same but for the number of samples"
        )
    return Halves(train, test, STANDARD)


def to_pixels(array: UInt8[np.ndarray, "N *D"]) -> UInt8[np.ndarray, "N *E"]:
    """Bring uint8 images to ``[N, C, H, W]``.

    ``[N, H, W]`` gets a channel; ``[N, H, W, C]`` is turned where the last axis has 1 or 3 entries and the second
    has not. Any other shape is left as it is.

    Args:
        array: uint8 ``[N, …]``.

    Example:
        >>> to_pixels(np.zeros((5, 8, 9), np.uint8)).shape, to_pixels(np.zeros((5, 8, 9, 3), np.uint8)).shape
        ((5, 1, 8, 9), (5, 3, 8, 9))
    """
    if array.ndim == 3:
        return array[:, None]
    if array.ndim == 4 and array.shape[-1] in (1, 3) and array.shape[1] not in (1, 3):
        return array.transpose(0, 3, 1, 2)
    return array


def _choose(archive: Mapping[str, object], name: str) -> list[object]:
    keys = list(archive)
    for train, test in _PAIRS:
        if train in keys and test in keys:
            return [archive[train], archive[test]]
    if len(keys) != 1:
        listed = ", ".join(map(repr, keys[:8])) if keys else "no arrays"
        raise InputError(f"{name} holds {listed}; expected 'train' and 'test', 'x_train' and 'x_test', or one array")
    return [archive[keys[0]]]


def _unreadable(name: str, error: Exception) -> str:
    if "pickle" in str(error) or "Python objects" in str(error):
        return f"{name} holds pickled Python objects, which are never loaded; expected an array of plain numbers"
    return f"{name} cannot be read as a NumPy file ({reason(error)}); save it again"


def _to_data(array: object, name: str) -> Shaped[np.ndarray, "N *D"]:
    if not isinstance(array, np.ndarray):
        raise InputError(f"{name} holds files that are no arrays; expected one written by numpy.savez")
    if array.dtype.kind not in "biuf":
        raise InputError(f"{name} holds {array.dtype} values; expected real numbers")
    if array.ndim < 2:
        raise InputError(f"{name} holds an array of shape {array.shape}; expected [N, ...] with at least two axes")
    if array.size == 0:
        raise InputError(f"{name} holds an array of shape {array.shape}; expected at least one number")
    if array.dtype == np.uint8:
        return np.array(to_pixels(array), order="C", subok=False)
    with np.errstate(over="ignore"):
        values = np.array(array, dtype=np.float32, order="C", subok=False)
    finite = np.isfinite(values.reshape(len(values), -1)).all(axis=1)
    if not finite.all():
        row = int(np.argmin(finite))
        raise InputError(f"{name}: sample {row} holds NaN, infinity or a value beyond float32; expected finite numbers")
    return values
