from __future__ import annotations

import gzip
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curvae.data import fashion, load
from curvae.errors import InputError

debian = pytest.mark.skipif(not fashion.DEBIAN.is_dir(), reason="Debian's dataset-fashion-mnist is not installed")


def mean_and_deviation(pixels: Any) -> tuple[float, float]:
    """Of the values scaled to [0, 1], from their histogram."""
    share = np.bincount(pixels.numpy().ravel(), minlength=256) / pixels.numel()
    values = np.arange(256) / 255
    mean = float(share @ values)
    return mean, float(share @ (values - mean) ** 2) ** 0.5


@debian
def test_is_all_of_fashion_mnist(idx_bytes: Any) -> None:
    data = load("fashion-mnist")
    assert data.train.shape == (60000, 1, 28, 28)
    assert data.test.shape == (10000, 1, 28, 28)
    assert data.split == {"kind": "standard"}
    # the mean and standard deviation in common use
    assert mean_and_deviation(data.train) == pytest.approx((0.2860, 0.3530), abs=5e-5)
    with gzip.open(fashion.DEBIAN / "t10k-images-idx3-ubyte.gz") as original:
        assert hashlib.sha256(idx_bytes(data.test[:, 0].numpy())).digest() == hashlib.sha256(original.read()).digest()


@debian
def test_a_users_own_folder_gives_the_same_data(tmp_path: Path) -> None:
    own = tmp_path / "fashion"
    own.mkdir()
    for name in ("train-images-idx3-ubyte", "t10k-images-idx3-ubyte"):
        (own / name).write_bytes(gzip.decompress((fashion.DEBIAN / f"{name}.gz").read_bytes()))
    data = load(own)
    assert data.digest == load("fashion-mnist").digest
    assert data.name == "fashion"


def test_missing_package_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        fashion.load(tmp_path / "nowhere")
    assert "run: apt-get install dataset-fashion-mnist, or give the folder of your own copy" in str(caught.value)


def test_other_images_are_not_called_fashion_mnist(tmp_path: Path, write_idx: Any) -> None:
    for name in ("train-images-idx3-ubyte.gz", "t10k-images-idx3-ubyte.gz"):
        write_idx(tmp_path / name, np.zeros((4, 28, 28), np.uint8))
    with pytest.raises(InputError, match="does not hold Fashion-MNIST"):
        fashion.load(tmp_path)
