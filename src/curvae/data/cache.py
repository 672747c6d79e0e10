"""Decoded pixels kept between runs: one memory-mapped safetensors file, trusted only if its digest fits."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from curvae._typing import UInt8
from curvae.data.dataset import content_digest
from curvae.data.reasons import reason
from curvae.errors import InputError
from curvae.files import write_atomic

# raise it when the same files would be decoded to other pixels
_VERSION = 1


def place(cache: Path, folder: Path, train: Sequence[Path], test: Sequence[Path], size: int | None) -> Path:
    """The file that holds these images at this size; another one once any of them is changed, added or removed.

    Args:
        cache: folder of all cached sets.
        folder: where ``train`` and ``test`` lie; may move without losing the cache.
        train: image files in order.
        test: likewise.
        size: side in pixels that they are brought to, or None.

    Raises:
        OSError: a file cannot be looked at.
    """
    marks = [[_mark(path, folder) for path in half] for half in (train, test)]
    key = hashlib.sha256(json.dumps([_VERSION, size, marks]).encode()).hexdigest()
    return cache / f"images-{key[:32]}.safetensors"


def prepare(cache: Path) -> None:
    """Make the folder if it is missing, and see that files can be written there.

    Raises:
        InputError: it cannot be made or written.
    """
    try:
        cache.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=cache).close()
    except OSError as error:
        raise InputError(f"cannot cache images in {str(cache)!r} ({reason(error)}); give another folder") from error


def read(path: Path) -> tuple[UInt8[np.ndarray, "N C H W"], UInt8[np.ndarray, "M C H W"]] | None:
    """The training and test pixels, mapped and not copied; None if they are missing or not what was written."""
    try:
        with safe_open(path, framework="pt") as stored:
            train, test = stored.get_tensor("train"), stored.get_tensor("test")
            digest = (stored.metadata() or {}).get("digest")
    except (OSError, SafetensorError):
        return None
    return (train.numpy(), test.numpy()) if digest == content_digest(train, test) else None


def write(path: Path, train: UInt8[np.ndarray, "N C H W"], test: UInt8[np.ndarray, "M C H W"]) -> None:
    """Keep the pixels of both halves, with their digest.

    Raises:
        InputError: the file cannot be written.
    """
    tensors = {"train": torch.from_numpy(train), "test": torch.from_numpy(test)}
    digest = content_digest(tensors["train"], tensors["test"])
    try:
        write_atomic(path, lambda temporary: save_file(tensors, temporary, metadata={"digest": digest}))
    except (OSError, SafetensorError) as error:
        raise InputError(
            f"cannot write the image cache {str(path)!r} ({reason(error)}); free space or give another"
        ) from error


def _mark(path: Path, folder: Path) -> tuple[str, int, int]:
    state = path.stat()
    return path.relative_to(folder).as_posix(), state.st_size, state.st_mtime_ns
