"""One rule for what a model is fed, whatever kind of array it comes in."""

import math
from typing import Any

import numpy as np
import pytest
import torch

from curvae.data import as_float, as_samples
from curvae.data.samples import as_conditions
from curvae.errors import InputError


class Frame:
    """What a data frame is to NumPy."""

    def __init__(self, values: Any) -> None:
        self.values, self.columns = values, range(2)

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return np.asarray(self.values, dtype)


KINDS = {
    "array": lambda a: a,
    "backwards": lambda a: np.ascontiguousarray(a[..., ::-1])[..., ::-1],
    "big endian": lambda a: a.astype(a.dtype.newbyteorder(">")),
    "fortran": np.asfortranarray,
    "frame": Frame,
    "tensor": lambda a: torch.from_numpy(a.copy()),
    "list of tensors": lambda a: list(torch.from_numpy(a.copy())),
}
TYPES = ("?", "u1", "i1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("type_", TYPES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_kind_gives_the_numbers_that_it_holds(kind: str, type_: str, dtype: torch.dtype) -> None:
    given = np.random.default_rng().integers(0, 2 if type_ == "?" else 120, (5, 2, 3)).astype(type_)
    found = as_samples(KINDS[kind](given), dtype=dtype)
    expected = given.astype(np.float32) / 255 if type_ == "u1" else given
    assert found.dtype == dtype
    np.testing.assert_array_equal(found.numpy(), expected.astype(np.float64).astype(found.numpy().dtype))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_bytes_are_what_training_makes_of_them(dtype: torch.dtype) -> None:
    pixels = torch.arange(256, dtype=torch.uint8)[:, None]
    for given in (pixels, pixels.numpy()):
        assert torch.equal(as_samples(given, dtype=dtype), as_float(pixels).to(dtype))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_keeps_its_values(dtype: torch.dtype) -> None:
    given = torch.randn(4, 3).to(dtype)
    assert torch.equal(as_samples(given), given.float())


def test_lists_are_numbers_and_no_pixels() -> None:
    assert torch.equal(as_samples([[0, 255], [1, 2]]), torch.tensor([[0.0, 255.0], [1.0, 2.0]]))


def test_doubles_keep_their_digits_where_they_are_wanted() -> None:
    given = np.random.default_rng().normal(size=(3, 2))
    assert np.array_equal(as_samples(given, dtype=torch.float64).numpy(), given)


def test_a_tensor_that_fits_comes_back_and_an_array_is_copied() -> None:
    x = torch.randn(3, 2, requires_grad=True)
    assert as_samples(x) is x
    array = np.zeros((3, 2), np.float32)
    as_samples(array).add_(1)
    assert not array.any()


sparse = torch.eye(2).to_sparse()
REFUSED: dict[str, tuple[Any, str]] = {
    "nan": (np.array([[0.0, 1.0], [math.nan, 1.0]]), "sample 1 holds NaN"),
    "infinity": (torch.tensor([[math.inf, 1.0]]), "sample 0 holds NaN, infinity"),
    "beyond float32": (np.array([[1e300]]), "beyond float32"),
    "beyond float32 in a tensor": (torch.tensor([[-1e300]], dtype=torch.float64), "beyond float32"),
    "complex": (np.ones((2, 2), complex), "complex numbers"),
    "complex tensor": (torch.ones(2, 2, dtype=torch.complex64), "complex64"),
    "objects": (np.array([[1, None]], object), "object values"),
    "mixed columns": (Frame(np.array([[1, "a"]], object)), "choose the columns that are numbers"),
    "text": (np.array([["a", "b"]]), "<U1 values"),
    "dates": (np.array([["2020-01-01"]], "datetime64[D]"), "datetime64"),
    "a string": ("toy.npy", "of type str"),
    "a number": (3.0, "of type float"),
    "none": (None, "of type NoneType"),
    "a dictionary": ({"x": [1]}, "of type dict"),
    "ragged": ([[1.0], [1.0, 2.0]], "cannot be made one array"),
    "masked": (np.ma.masked_array([[1.0, 2.0]], [[True, False]]), "masked"),
    "sparse tensor": (sparse, "to_dense"),
    "one axis": (np.zeros(3), r"x\[:, None\] for samples of one number"),
    "no axis": (np.float64(3.0), r"shape \(\)"),
    "no samples": (np.zeros((0, 3)), "at least one sample"),
    "empty list": ([], r"shape \(0,\)"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_numbers_is_refused_in_one_line(name: str) -> None:
    given, said = REFUSED[name]
    with pytest.raises(InputError, match=said) as caught:
        as_samples(given)
    assert str(caught.value).startswith("x")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


def test_a_sparse_matrix_is_refused() -> None:
    from scipy.sparse import eye_array

    with pytest.raises(InputError, match="toarray"):
        as_samples(eye_array(3))


def test_what_is_missing_stays_where_that_is_allowed() -> None:
    given = torch.tensor([[0.0, 1.0], [math.nan, 1.0]])
    assert torch.equal(as_samples(given.numpy(), missing=True).isnan(), given.isnan())
    given[1, 1] = math.inf
    with pytest.raises(InputError, match="sample 6 holds infinity"):
        as_samples(given, missing=True, first=5)


def test_other_types_are_not_made() -> None:
    with pytest.raises(InputError, match=r"expected torch\.float32"):
        as_samples(np.zeros((2, 2)), dtype=torch.float16)


def test_frames_of_several_types_are_numbers() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": [1, 2], "b": [True, False], "c": pandas.array([3, None], dtype="Int64")})
    found = as_samples(frame, missing=True)
    torch.testing.assert_close(found, torch.tensor([[1.0, 1.0, 3.0], [2.0, 0.0, math.nan]]), equal_nan=True)
    assert torch.equal(as_conditions(frame[["a", "b"]], 2), torch.tensor([[1.0, 1.0], [2.0, 0.0]]))
    with pytest.raises(InputError, match="x: sample 1 holds NaN"):
        as_samples(frame)
    with pytest.raises(InputError, match="choose the columns that are numbers"):
        as_samples(frame.assign(d=["x", "y"]))


def test_several_arrays_are_not_one() -> None:
    x, labels = torch.zeros(5, 3), torch.zeros(5)
    for several in ((x, labels), [x.numpy(), labels.numpy()], x.split(2)):
        with pytest.raises(
            InputError, match=r"^data holds arrays of different shapes, \(\d, 3\), .*data\[0\] if the others go"
        ):
            as_samples(several, name="data")


def test_an_array_that_fails_is_one_line() -> None:
    class Broken:
        def __array__(self, dtype: object = None, copy: object = None) -> np.ndarray:
            raise ValueError("out of order")

    with pytest.raises(InputError, match=r"^x cannot be made one array \(out of order\)"):
        as_samples(Broken())
