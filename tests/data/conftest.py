"""Writers of small files in the formats that are read."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test touches the cache of whoever runs it."""
    monkeypatch.setenv("CURVAE_CACHE", str(tmp_path / "own-cache"))


@pytest.fixture(scope="session")
def idx_bytes() -> Callable[[np.ndarray[Any, Any]], bytes]:
    """The format as its definition says: two zero bytes, the type, the number of axes, the sizes, the values."""

    def content(images: np.ndarray[Any, Any]) -> bytes:
        head = bytes([0, 0, 8, images.ndim])
        return head + b"".join(struct.pack(">i", size) for size in images.shape) + images.tobytes()

    return content


@pytest.fixture
def write_idx(idx_bytes: Callable[[np.ndarray[Any, Any]], bytes]) -> Callable[[Path, np.ndarray[Any, Any]], None]:
    """Write images to a path, gzipped if its name says so."""

    def write(path: Path, images: np.ndarray[Any, Any]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        content = idx_bytes(images)
        path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)

    return write


@pytest.fixture
def write_images() -> Callable[..., dict[str, np.ndarray[Any, Any]]]:
    """Write random images under a folder, one for each ``name=(height, width[, 3])``; returns their pixels."""

    def write(folder: Path, seed: int = 0, **shapes: tuple[int, ...]) -> dict[str, np.ndarray[Any, Any]]:
        folder.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(seed)
        pixels = {name: rng.integers(0, 256, shape, dtype=np.uint8) for name, shape in shapes.items()}
        for name, values in pixels.items():
            Image.fromarray(values).save(folder / f"{name}.png")
        return pixels

    return write
