from __future__ import annotations

import gzip
import hashlib
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from curvae.data import idx, load
from curvae.data.split import Split
from curvae.errors import InputError

IMAGES = hnp.arrays(np.uint8, hnp.array_shapes(min_dims=3, max_dims=3, max_side=9))


def outcome(path: Path) -> Any:
    """What is loaded, or the line that says why not."""
    try:
        return idx.read(path)
    except InputError as error:
        return str(error)


@given(images=IMAGES, zipped=st.booleans())
def test_round_trip(images: np.ndarray[Any, Any], zipped: bool, idx_bytes: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "images"
        path.write_bytes(gzip.compress(idx_bytes(images)) if zipped else idx_bytes(images))
        np.testing.assert_array_equal(idx.read(path), images)


@given(images=IMAGES)
def test_digest_is_that_of_the_plain_file(images: np.ndarray[Any, Any], idx_bytes: Any) -> None:
    assert idx.idx_digest(images) == hashlib.sha256(idx_bytes(images)).hexdigest()


@given(data=st.data(), zipped=st.booleans())
@settings(max_examples=200)
def test_a_damaged_file_gives_one_clear_line_or_other_pixels(data: st.DataObject, zipped: bool, idx_bytes: Any) -> None:
    content = bytearray(idx_bytes(np.arange(24, dtype=np.uint8).reshape(2, 3, 4)))
    if zipped:
        content = bytearray(gzip.compress(bytes(content)))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.integers(0, len(content)))]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "images"
        path.write_bytes(content)
        found = outcome(path)
    assert "\n" not in found if isinstance(found, str) else found.ndim == 3


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("train-images-idx3-ubyte", "t10k-images-idx3-ubyte"),
        ("train-images-idx3-ubyte.gz", "t10k-images-idx3-ubyte.gz"),
        ("train-images.idx3-ubyte", "t10k-images.idx3-ubyte"),
        ("train-images-idx3-ubyte", "t10k-images-idx3-ubyte.gz"),
    ],
)
def test_folder_with_both_halves_is_the_standard_split(tmp_path: Path, write_idx: Any, train: str, test: str) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (9, 5, 6), dtype=np.uint8), rng.integers(0, 256, (4, 5, 6), dtype=np.uint8)
    write_idx(tmp_path / train, images[0])
    write_idx(tmp_path / test, images[1])
    data = load(tmp_path)
    np.testing.assert_array_equal(data.train.numpy(), images[0][:, None])
    np.testing.assert_array_equal(data.test.numpy(), images[1][:, None])
    assert data.split == {"kind": "standard"}
    assert data.name == tmp_path.name


@pytest.mark.parametrize(
    ("name", "is_idx"), [("train-images-idx3-ubyte", True), ("T10K-images.idx3-ubyte.gz", True), ("0.png", False)]
)
def test_a_folder_with_images_of_a_half_is_an_idx_folder(name: str, is_idx: bool, tmp_path: Path) -> None:
    (tmp_path / name).touch()
    assert idx.is_folder(tmp_path) == is_idx
    assert not idx.is_folder(tmp_path / name)


def test_folder_without_a_test_half_is_split_by_the_seed(tmp_path: Path, write_idx: Any) -> None:
    images = np.arange(20 * 4, dtype=np.uint8).reshape(20, 2, 2)
    write_idx(tmp_path / "train-images-idx3-ubyte", images)
    data = load(tmp_path, split_seed=3, test_fraction=0.25)
    test = data.split["test_indices"]
    assert test == Split(3, 0.25).indices(20, "")[1].tolist()
    np.testing.assert_array_equal(data.test.numpy()[:, 0], images[test])
    np.testing.assert_array_equal(data.train.numpy()[:, 0], np.delete(images, test, axis=0))


def test_a_name_that_lies_about_gzip_is_read_all_the_same(tmp_path: Path, idx_bytes: Any) -> None:
    images = np.arange(12, dtype=np.uint8).reshape(3, 2, 2)
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(idx_bytes(images))  # as browsers leave it that unpack on the way
    np.testing.assert_array_equal(idx.read(path), images)


def test_a_header_that_claims_the_whole_memory_takes_none_of_it(tmp_path: Path) -> None:
    path = tmp_path / "images"
    path.write_bytes(bytes.fromhex("00000803 ffffffff ffffffff ffffffff") + b"\0" * 100)
    with pytest.raises(InputError, match="says 4294967295 images of 4294967295x4294967295 but is truncated"):
        idx.read(path)
