from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from curvae.data import absolute, load
from curvae.errors import InputError

SHAPES = hnp.array_shapes(min_dims=2, max_dims=5, min_side=2, max_side=6)
REAL = st.one_of(
    hnp.floating_dtypes(sizes=(16, 32, 64), endianness="?"),
    hnp.integer_dtypes(endianness="?"),
    hnp.unsigned_integer_dtypes(sizes=(16, 32), endianness="?"),
    hnp.boolean_dtypes(),
)


def whole(data: Any) -> np.ndarray[Any, Any]:
    """Both halves back in the order of the file."""
    held_out = data.split["test_indices"]
    joined = np.empty((len(data.train) + len(data.test), *data.shape), data.train.numpy().dtype)
    joined[held_out] = data.test.numpy()
    joined[np.setdiff1d(np.arange(len(joined)), held_out)] = data.train.numpy()
    return joined


def outcome(path: Path) -> Any:
    """What is loaded, or the line that says why not."""
    try:
        return load(path)
    except InputError as error:
        return str(error)


@given(data=st.data(), dtype=REAL, shape=SHAPES, fortran=st.booleans(), zipped=st.booleans())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_real_numbers_of_any_type_become_float32_unchanged(
    data: st.DataObject, dtype: Any, shape: tuple[int, ...], fortran: bool, zipped: bool
) -> None:
    finite = {"min_value": -6e4, "max_value": 6e4} if dtype.kind == "f" else None
    array = data.draw(hnp.arrays(dtype, shape, elements=finite))
    array = np.asfortranarray(array) if fortran else array
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / ("a.npz" if zipped else "a.npy")
        np.savez(path, anything=array) if zipped else np.save(path, array)
        loaded = load(path)
    assert loaded.train.dtype == torch.float32
    np.testing.assert_array_equal(whole(loaded), array.astype(np.float32))


@given(images=hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=4, min_side=2, max_side=7)))
@settings(max_examples=40, deadline=None)
def test_bytes_stay_bytes(images: np.ndarray[Any, Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.npy"
        np.save(path, images)
        loaded = load(path)
    assert loaded.train.dtype == torch.uint8
    expected = images[:, None] if images.ndim == 3 else images
    if images.ndim == 4 and images.shape[3] == 3 and images.shape[1] != 3:
        expected = np.moveaxis(images, 3, 1)
    if images.max() == 1:
        expected = 255 * expected  # a mask
    np.testing.assert_array_equal(whole(loaded), expected)


@pytest.mark.parametrize("keys", [("train", "test"), ("x_train", "x_test")])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_with_two_halves_is_the_standard_split(tmp_path: Path, keys: tuple[str, str], save: Any) -> None:
    rng = np.random.default_rng(0)
    train, test = rng.normal(size=(7, 3)), rng.normal(size=(2, 3))
    save(tmp_path / "toy.npz", **{keys[0]: train, keys[1]: test, "y_train": np.zeros(7, "U3")})
    loaded = load(tmp_path / "toy.npz")
    assert loaded.split == {"kind": "standard"}
    np.testing.assert_array_equal(loaded.train.numpy(), train.astype(np.float32))
    np.testing.assert_array_equal(loaded.test.numpy(), test.astype(np.float32))


def test_halves_of_images_are_turned_alike(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    train, test = (rng.integers(0, 256, (n, 6, 5, 3), dtype=np.uint8) for n in (4, 2))
    np.savez(tmp_path / "toy.npz", train=train, test=test)
    loaded = load(tmp_path / "toy.npz")
    assert loaded.shape == (3, 6, 5)
    assert loaded.train.is_contiguous()  # batches are gathered from it row by row
    np.testing.assert_array_equal(loaded.test.numpy(), np.moveaxis(test, -1, 1))


def test_size_resizes_byte_images_and_keeps_other_data_from_it(tmp_path: Path) -> None:
    np.save(tmp_path / "grey.npy", np.random.default_rng(0).integers(0, 256, (6, 12, 9), dtype=np.uint8))
    assert load(tmp_path / "grey.npy", size=5).shape == (1, 5, 5)
    np.save(tmp_path / "flat.npy", np.zeros((6, 12), np.float32))
    with pytest.raises(InputError, match="size is for images but 'flat' holds float32 of shape"):
        load(tmp_path / "flat.npy", size=5)


def test_the_file_can_go_once_it_is_loaded(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.arange(40, dtype=np.float32).reshape(20, 2))
    loaded = load(tmp_path / "a.npy")
    np.save(tmp_path / "a.npy", np.zeros((20, 2), np.float32))
    assert loaded.train.sum() + loaded.test.sum() == 780


@pytest.mark.parametrize("kind", ["npy", "npz", "compressed"])
@given(data=st.data())
@settings(max_examples=80, deadline=None)
def test_a_damaged_file_gives_one_clear_line_or_other_numbers(kind: str, data: st.DataObject) -> None:
    array = np.arange(24, dtype=np.float32).reshape(4, 6)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"a.{kind[:3] if kind != 'compressed' else 'npz'}"
        {"npy": np.save, "npz": np.savez, "compressed": np.savez_compressed}[kind](path, array)
        content = bytearray(path.read_bytes())
        for _ in range(data.draw(st.integers(1, 4))):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
        path.write_bytes(content[: data.draw(st.sampled_from([len(content), len(content) - 1, len(content) // 2, 3]))])
        found = outcome(path)
    assert "\n" not in found if isinstance(found, str) else found.train.isfinite().all()


@pytest.mark.parametrize("dtype", [np.float64, ">f4", np.uint16, np.bool_, np.uint8])
@pytest.mark.parametrize("order", ["C", "F"])
def test_images_of_any_type_get_their_channels_first_and_that_is_said(
    tmp_path: Path, dtype: Any, order: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    for shape, expected, told in (
        ((6, 28, 28), (1, 28, 28), "samples of shape (28, 28) are taken as images and brought to (1, 28, 28)"),
        ((6, 12, 10, 3), (3, 12, 10), "with their channels last and brought to (3, 12, 10)"),
        ((6, 28, 28, 1), (1, 28, 28), "with their channels last and brought to (1, 28, 28)"),
    ):
        array = rng.integers(0, 2, shape).astype(dtype, order=order)
        np.save(tmp_path / "a.npy", array)
        loaded = load(tmp_path / "a.npy")
        assert loaded.shape == expected
        turned = array[:, None] if len(shape) == 3 else np.stack([array[..., c] for c in range(shape[3])], 1)
        np.testing.assert_array_equal(whole(loaded) > 0, turned > 0)
        assert told in capfd.readouterr().err


@pytest.mark.parametrize("shape", [(6, 3, 28, 28), (6, 1, 28, 28), (6, 28), (6, 50, 4), (6, 9, 9, 4), (6, 2, 9, 9, 3)])
def test_other_shapes_stay(tmp_path: Path, shape: tuple[int, ...], capfd: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "a.npy", np.zeros(shape))
    assert load(tmp_path / "a.npy").shape == shape[1:]
    assert capfd.readouterr().err == ""


PARTS: dict[str, tuple[list[str], str, str]] = {
    "keras": (["x_train", "y_train", "x_test", "y_test"], "x_train", "x_test"),
    "capital letters": (["X_Train", "X_Test"], "X_Train", "X_Test"),
    "together": (["Xtrain", "Xtest", "ytrain", "ytest"], "Xtrain", "Xtest"),
    "medical": (
        [f"{part}_{what}" for what in ("labels", "images") for part in ("val", "train", "test")],
        "train_images",
        "test_images",
    ),
    "validation": (["train", "valid", "labels"], "train", "valid"),
    "data before others": (["train_mask", "test_mask", "train_data", "test_data"], "train_data", "test_data"),
}


@pytest.mark.parametrize("case", PARTS)
def test_arrays_named_after_parts_are_not_pooled(tmp_path: Path, case: str) -> None:
    keys, train, test = PARTS[case]
    np.savez(tmp_path / "a.npz", **{key: np.full((4 + at, 3), float(at)) for at, key in enumerate(keys)})
    loaded = load(tmp_path / "a.npz")
    assert loaded.split["kind"] == "standard"
    assert loaded.train.unique().tolist() == [keys.index(train)]
    assert loaded.test.unique().tolist() == [keys.index(test)]


def test_one_array_of_several_by_its_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "toy:1.NPZ"
    with path.open("wb") as file:
        np.savez(file, train=np.zeros((5, 2)), test=np.ones((5, 2)), **{"deep/other": np.full((5, 2), 2.0)})
    for key, value in (("train", 0), ("test", 1), ("deep/other", 2)):
        data = load(f"{path}:{key}")
        assert (data.name, data.split["kind"], data.train.unique().tolist()) == ("toy:1", "seeded", [value])
    monkeypatch.chdir(tmp_path)
    assert absolute("toy:1.NPZ:train") == f"{path}:train"
    assert load(Path("toy:1.NPZ:test")).train.unique().tolist() == [1]


def test_a_key_may_have_colons_and_needs_an_archive(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **{"scan 1:left": np.ones((4, 3)), "labels": np.ones(4)})
    with pytest.raises(InputError, match="as in 'a.npz:scan 1:left'"):
        load(tmp_path / "a.npz")
    assert load(f"{tmp_path}/a.npz:scan 1:left").shape == (3,)
    with (tmp_path / "b.npz").open("wb") as file:
        np.save(file, np.ones((4, 3)))
    with pytest.raises(InputError, match="has no keys; leave out :left"):
        load(f"{tmp_path}/b.npz:left")


def test_labels_beside_one_array_are_left_alone(tmp_path: Path) -> None:
    values = np.random.default_rng(0).random((20, 3), dtype=np.float32)
    np.savez(tmp_path / "a.npz", pictures=values, Labels=np.arange(20), y=np.arange(20))
    found = load(tmp_path / "a.npz")
    whole = torch.cat([found.train, found.test])
    assert sorted(map(tuple, whole.tolist())) == sorted(map(tuple, values.tolist()))
