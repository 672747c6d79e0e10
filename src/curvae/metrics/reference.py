"""Statistics of reference sets kept between calls, since a real set of images stays what it is."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from curvae.data.cache import prepare, read_tensors, write_tensors
from curvae.metrics.frechet import Statistics

# raise it when the same images would have other statistics
_VERSION = 1


def kept(
    cache: Path, key: Mapping[str, Any], counts: Sequence[int], make: Callable[[], list[Statistics]]
) -> list[Statistics]:
    """Statistics from the cache; made and kept first where they are missing or damaged.

    ``key`` is what decides them beside the number of images, fit for JSON: the data's digest, which images, and the
    extractor with its rounding and resizing. ``make`` is called for all ``counts`` of images if one is missing.

    Raises:
        InputError: the folder or a file cannot be written, or what ``make`` raises.

    Example:
        >>> import tempfile
        >>> folder, found = Path(tempfile.mkdtemp()), Statistics(torch.zeros(2).double(), torch.eye(2).double(), 9)
        >>> first = kept(folder, {"images": "some"}, [9], lambda: [found])
        >>> again = kept(folder, {"images": "some"}, [9], lambda: [])   # not called
        >>> torch.equal(again[0].covariance, found.covariance)
        True
    """
    places = [place(cache, key, count) for count in counts]
    known = [one for path in places if (one := read(path)) is not None]
    if len(known) == len(places):
        return known
    prepare(cache)  # before the work, not after
    made = make()
    for path, one in zip(places, made, strict=True):
        write(path, one)
    return made


def place(cache: Path, key: Mapping[str, Any], count: int) -> Path:
    """The file of what ``key`` and ``count`` describe: another one for any other."""
    text = json.dumps([_VERSION, key, count], sort_keys=True)
    return cache / f"features-{hashlib.sha256(text.encode()).hexdigest()[:32]}.safetensors"


def read(path: Path) -> Statistics | None:
    """What was written; None if it is missing or is not what was written."""
    found = read_tensors(path, "mean", "covariance", "count")
    if found is None:
        return None
    mean, covariance, count = found[0]
    return Statistics(mean, covariance, int(count))


def write(path: Path, found: Statistics) -> None:
    """Keep statistics with their digest.

    Raises:
        InputError: the file cannot be written.
    """
    tensors = {"mean": found.mean, "covariance": found.covariance, "count": torch.tensor([found.count])}
    write_tensors(path, tensors, {})
