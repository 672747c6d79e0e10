"""NumPy files: ``.npy`` with one array, ``.npz`` with one array or with a training and a test array."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from curvae._checks import some
from curvae.data.digits import lost_digits
from curvae.data.notes import note
from curvae.data.parts import TEST, TRAIN, VALIDATION, parted_keys, without_labels
from curvae.data.reasons import UNOBSERVED, check_size, reason
from curvae.data.split import STANDARD, Halves, Split
from curvae.errors import InputError
from curvae.files import open_regular
from curvae.terminal import quoted

SUFFIXES = (".npy", ".npz")

# smaller samples of two axes are not taken as images, unless they are in bytes
_SMALLEST_SIDE = 8
# the first ".npz:", as a key may have colons; the layer of an .h5ad file is named alike
_KEYED = re.compile(r"(.*?\.(?:npz|h5ad)):(.*)", re.IGNORECASE | re.DOTALL)
_MAGIC, _ZIP, _PICKLE, _GZIP = b"\x93NUMPY", b"PK", b"\x80", b"\x1f\x8b"
_PICKLED = "{} holds pickled Python objects, which are never loaded; expected an array of plain numbers"


def locate(path: Path) -> tuple[Path, str | None]:
    """The file that a path means, and of ``FILE.npz:KEY`` the key.

    Example:
        >>> [locate(Path(text))[1] for text in ("c:/toy.npz:images", "toy.npz:scan:1", "c:/toy.npz")]
        ['images', 'scan:1', None]
    """
    found = _KEYED.fullmatch(str(path))
    # Path.exists() raises for a name that is too long
    if found is None or os.path.exists(path):  # noqa: PTH110
        return path, None
    return Path(found[1]), found[2]


def load(path: Path, split: Split, key: str | None = None, missing: bool = False) -> Halves:
    """Read a ``.npy`` or ``.npz`` file. Pickles are never loaded.

    Images without an axis for their channels get one, and channels that are last come first (see
    :func:`channels_first`); stderr says so.

    Args:
        path: the file. An ``.npz`` has a training and a test array (``train`` and ``test``, ``x_train`` and
            ``x_test``, ``train_images`` and ``test_images``, …; without a test array, one for validation is held out;
            anything beside them, such as labels, is left alone), or one array under any name, labels beside it.
        split: used where there is one array only.
        key: of the one array of an ``.npz`` that is to be read.
        missing: whether NaN may stand for what was not observed.

    Returns:
        Halves of uint8 (taken as pixels) or else float32 ``[N, *shape]``: integers of any other type (counts, for
        instance), booleans and floating-point numbers keep their values.

    Raises:
        InputError: unreadable, no such arrays, or an array that is not ``[N, …]`` finite real numbers.
    """
    name = repr(str(path))
    try:
        _check_kind(path, name)
        # mapped, so that converting a big .npy does not hold it twice
        loaded = np.load(path, mmap_mode="r", allow_pickle=False)
        if isinstance(loaded, np.lib.npyio.NpzFile):
            with loaded as archive:
                keys, record = _choose(list(archive), path, key)
                chosen = [_take(archive, each, name) for each in keys]
        elif key is not None:
            raise InputError(f"{name} is one array and has no keys; leave out :{key}, and call it .npy")
        else:
            chosen, record = [loaded], STANDARD
            _check_end(loaded, path)
    except InputError:
        raise
    except Exception as error:  # zip, zlib, header, memory and pickle errors have no common ancestor
        raise InputError(_unreadable(name, error)) from error
    tidy = [_to_data(array, name, missing) for array in chosen]
    _tell(chosen[0], tidy[0], name)
    if len(tidy) == 1:
        return split.apply(tidy[0], name)
    train, test = tidy
    if train.dtype != test.dtype or train.shape[1:] != test.shape[1:]:
        raise InputError(
            f"{name}: train is {train.dtype} of shape {train.shape} but test is {test.dtype} of shape "
            f"{test.shape}; expected the same but for the number of samples"
        )
    return Halves(train, test, record)


def channels_first(array: Shaped[np.ndarray, "N *D"]) -> Shaped[np.ndarray, "N *E"]:
    """Bring images to ``[N, C, H, W]``.

    ``[N, H, W]`` gets a channel; ``[N, H, W, C]`` is turned where the last axis has 1 or 3 entries and the second
    has not. Of other types than uint8, which means pixels, both hold for sides of 8 and more. Any other shape is left
    as it is.

    Example:
        >>> channels_first(np.zeros((5, 8, 9))).shape, channels_first(np.zeros((5, 8, 9, 3))).shape
        ((5, 1, 8, 9), (5, 3, 8, 9))
    """
    if array.ndim not in (3, 4) or (array.dtype != np.uint8 and min(array.shape[1:3]) < _SMALLEST_SIDE):
        return array
    if array.ndim == 3:
        return array[:, None]
    if array.shape[-1] in (1, 3) and array.shape[1] not in (1, 3):
        return array.transpose(0, 3, 1, 2)
    return array


def _check_kind(path: Path, name: str) -> None:
    """NumPy calls everything that it does not know a pickle."""
    with open_regular(path) as stream:
        head = stream.read(8)
    if head[:1] == _PICKLE:
        raise InputError(_PICKLED.format(name))
    if head and not head.startswith((_MAGIC, _ZIP)):
        what = "is gzipped; unpack it" if head.startswith(_GZIP) else f"begins with {head!r}"
        raise InputError(f"{name} is not a NumPy file: it {what}; expected one that numpy.save or numpy.savez wrote")


def _check_end(array: object, path: Path) -> None:
    """After the array that is read there must not be another."""
    if isinstance(array, np.memmap) and array.offset + array.nbytes < path.stat().st_size:
        raise InputError(
            f"{str(path)!r} has more data after its first array; expected one array in a file: save them as .npz"
        )


def _choose(keys: list[str], path: Path, key: str | None) -> tuple[list[str], dict[str, Any]]:
    """Keys of the arrays to be read, one or a training and a test array, and the record of the split."""
    listed = some(list(map(repr, keys)), 8) or "no arrays"
    if key is not None:
        if key not in keys:
            raise InputError(f"{str(path)!r} has no array {key!r}; it holds {listed}")
        return [key], STANDARD
    if found := parted_keys(keys):
        held_out = TEST if TEST in found else VALIDATION
        if VALIDATION in found:
            left = "" if held_out == VALIDATION else f"; left out: {found[VALIDATION]!r}"
            note(f"{str(path)!r}: {found[TRAIN]!r} is for training, {found[held_out]!r} is held out{left}")
        record = STANDARD if held_out == TEST else {**STANDARD, "held_out": VALIDATION}
        return [found[TRAIN], found[held_out]], record
    if len(alone := without_labels(keys)) == 1:
        return alone, STANDARD
    if len(keys) != 1:
        hint = f"; give one by its name, as in {quoted(f'{path.name}:{keys[0]}')}" if keys else ""
        raise InputError(
            f"{str(path)!r} holds {listed}; expected 'train' and 'test', 'x_train' and 'x_test', or one array{hint}"
        )
    return [keys[0]], STANDARD


def _take(archive: Any, key: str, name: str) -> object:
    stored = archive.zip.NameToInfo
    check_size((stored.get(key) or stored[f"{key}.npy"]).file_size, f"{key!r} in {name}")
    return archive[key]


def _tell(given: Any, taken: Shaped[np.ndarray, "N *D"], name: str) -> None:
    before, after = np.shape(given)[1:], taken.shape[1:]
    if before != after:
        last = " with their channels last" if len(before) == 3 else ""
        note(f"{name}: samples of shape {before} are taken as images{last} and brought to {after}, channels first")


def _unreadable(name: str, error: Exception) -> str:
    if "pickle" in str(error) or "Python objects" in str(error):
        return _PICKLED.format(name)
    return f"{name} cannot be read as a NumPy file ({reason(error)}); save it again"


def _to_data(array: object, name: str, missing: bool = False) -> Shaped[np.ndarray, "N *D"]:
    if not isinstance(array, np.ndarray):
        raise InputError(f"{name} holds files that are not arrays; expected one written by numpy.savez")
    if array.dtype.kind not in "biuf":
        raise InputError(f"{name} holds {array.dtype} values; expected real numbers")
    if array.ndim < 2:
        single = ": of single numbers, array[:, None]" if array.ndim else ""
        raise InputError(
            f"{name} holds an array of shape {array.shape}; expected [N, ...] with at least two axes{single}"
        )
    if array.size == 0:
        raise InputError(f"{name} holds an array of shape {array.shape}; expected at least one number")
    bytes_each = 1 if array.dtype == np.uint8 else 4
    check_size(array.size * bytes_each, f"the array of shape {array.shape} in {name}")
    array = channels_first(array)
    if array.dtype == np.uint8:
        return np.array(array, order="C", subok=False)
    with np.errstate(over="ignore"):
        values = np.array(array, dtype=np.float32, order="C", subok=False)
    good = np.isfinite(values) | np.isnan(values) if missing else np.isfinite(values)
    finite = good.reshape(len(values), -1).all(axis=1)
    if not finite.all():
        row = int(np.argmin(finite))
        if not missing and np.isnan(values[row]).any():
            raise InputError(f"{name}: sample {row} holds NaN; fill it in, or {UNOBSERVED}")
        raise InputError(f"{name}: sample {row} holds infinity or a value beyond float32; expected finite numbers")
    if array.ndim == 2 and (lost := lost_digits(array)):
        note(f"{name}: {lost}")
    return values
