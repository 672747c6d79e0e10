"""Pixels kept between runs: one memory-mapped safetensors file, trusted only if its digests fit."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from curvae._typing import Tensor
from curvae.data.dataset import content_digest
from curvae.data.reasons import reason
from curvae.data.split import Halves
from curvae.errors import InputError
from curvae.files import write_atomic

# raise it when the same files would be decoded to other pixels
_VERSION = 3


def default() -> Path:
    """The user's folder of all cached sets: ``$CURVAE_CACHE``, or ``curvae`` in ``$XDG_CACHE_HOME`` or ``~/.cache``.

    Raises:
        InputError: there is none of these.
    """
    if own := os.environ.get("CURVAE_CACHE"):
        return Path(own)
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "curvae"
    except RuntimeError as error:
        raise InputError("there is no home folder for the image cache; set CURVAE_CACHE to a folder") from error


def place(cache: Path, key: object) -> Path:
    """The file in the folder of all cached sets that holds what ``key``, fit for JSON, decides; no other key has it."""
    return cache / f"images-{_sha256(json.dumps([_VERSION, key]))[:32]}.safetensors"


def through(path: Path, make: Callable[[], Halves]) -> Halves:
    """What is kept at a :func:`place`, mapped and not copied; made and kept first if it is missing or damaged.

    Raises:
        InputError: the folder or the file cannot be written, or what ``make`` raises.
    """
    kept = read(path)
    if kept is None:
        prepare(path.parent)  # before the work, not after
        made = make()
        write(path, made)
        kept = read(path) or made
    return kept


def prepare(cache: Path) -> None:
    """Make the folder if it is missing, and see that files can be written there.

    Raises:
        InputError: it cannot be made or written.
    """
    try:
        cache.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=cache).close()
    except OSError as error:
        raise InputError(
            f"cannot cache images in {str(cache)!r} ({reason(error)}); give another folder (CURVAE_CACHE)"
        ) from error


def read(path: Path) -> Halves | None:
    """What was written, with its digest, mapped and not copied; None if it is missing or not what was written."""
    found = read_tensors(path, "train", "test")
    if found is None:
        return None
    (train, test), notes = found
    split = notes.get("split", "")
    if notes.get("split_digest") != _sha256(split):
        return None
    try:
        return Halves(train.numpy(), test.numpy(), dict(json.loads(split)), notes["digest"])
    except (ValueError, TypeError, RecursionError):
        return None


def read_tensors(path: Path, *names: str) -> tuple[list[Tensor], dict[str, str]] | None:
    """Tensors and the notes beside them, if the digest there is that of the tensors; mapped and not copied."""
    if not path.is_file():  # to open a pipe would wait for ever
        return None
    try:
        with safe_open(path, framework="pt") as stored:
            tensors, notes = [stored.get_tensor(name) for name in names], stored.metadata() or {}
    except (OSError, SafetensorError):
        return None
    return (tensors, notes) if notes.get("digest") == content_digest(*tensors) else None


def write(path: Path, halves: Halves) -> None:
    """Keep the pixels of both halves and the record of their split, with digests.

    Raises:
        InputError: the file cannot be written.
    """
    tensors = {"train": torch.from_numpy(halves.train), "test": torch.from_numpy(halves.test)}
    split = json.dumps(halves.split)
    write_tensors(path, tensors, {"split": split, "split_digest": _sha256(split)})


def write_tensors(path: Path, tensors: Mapping[str, Tensor], notes: Mapping[str, str]) -> None:
    """Keep tensors with their digest, and notes beside them.

    Raises:
        InputError: the file cannot be written.
    """
    tensors = {name: tensor.contiguous() for name, tensor in tensors.items()}
    notes = {"digest": content_digest(*tensors.values()), **notes}
    try:
        write_atomic(path, lambda temporary: save_file(tensors, temporary, metadata=notes))
    except (OSError, SafetensorError) as error:
        raise InputError(
            f"cannot write the cache {str(path)!r} ({reason(error)}); free space or give another (CURVAE_CACHE)"
        ) from error


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
