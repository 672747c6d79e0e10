from __future__ import annotations

import dataclasses
import hashlib

import pytest
import torch

from curvae.data import Dataset, as_float
from curvae.data.dataset import content_digest
from curvae.errors import InputError


def pixels(*shape: int) -> torch.Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8)


def test_shape_digest_and_frozen() -> None:
    data = Dataset("toy", pixels(5, 3, 4, 4), pixels(2, 3, 4, 4), {"kind": "standard"})
    assert data.shape == (3, 4, 4)
    assert len(data.digest) == 64
    with pytest.raises(dataclasses.FrozenInstanceError):
        data.name = "other"  # type: ignore[misc]


def test_digest_is_sha256_of_type_shape_and_bytes() -> None:
    data = torch.tensor([[1.5, -2.0]])
    by_hand = hashlib.sha256(b"torch.float32 (1, 2)" + bytes.fromhex("0000c03f 000000c0")).hexdigest()
    assert content_digest(data) == by_hand


def test_digest_sees_every_value_the_order_the_type_the_shape_and_the_split() -> None:
    train, test = pixels(6, 1, 2, 2), pixels(3, 1, 2, 2)
    reference = content_digest(train, test)
    assert content_digest(train.clone(), test.clone()) == reference
    changed = train.clone()
    changed[5, 0, 1, 1] += 1
    others = [
        content_digest(changed, test),
        content_digest(train.flip(0), test),
        content_digest(test, train),
        content_digest(train.flatten(1), test.flatten(1)),
        content_digest(train.float(), test.float()),
        content_digest(torch.cat([train, test])),
    ]
    assert len({reference, *others}) == 1 + len(others)


def test_digest_does_not_depend_on_memory_layout() -> None:
    data = torch.randn(4, 3, 2)
    assert content_digest(data.transpose(0, 2).contiguous().transpose(0, 2)) == content_digest(data)


def test_as_float_scales_every_byte_value_and_leaves_floats_alone() -> None:
    every = torch.arange(256, dtype=torch.uint8)
    expected = torch.tensor([value / 255 for value in range(256)], dtype=torch.float64)
    result = as_float(every)
    assert result.dtype == torch.float32
    torch.testing.assert_close(result.double(), expected, rtol=0, atol=1e-7)
    assert every.dtype == torch.uint8  # the data are not changed
    assert every[-1] == 255
    values = torch.randn(3, 2) * 50
    assert as_float(values) is values


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        (torch.zeros(3, 2), torch.zeros(3, 3), "train holds torch.float32 of shape (2,) but test"),
        (torch.zeros(3, 2), torch.zeros(3, 2, dtype=torch.uint8), "expected the same"),
        (torch.zeros(0, 2), torch.zeros(3, 2), "train has shape (0, 2)"),
        (torch.zeros(3, 2), torch.zeros(3, 0), "test has shape (3, 0)"),
        (torch.zeros(3), torch.zeros(3), "train has shape (3,)"),
        (torch.zeros(3, 2).double(), torch.zeros(3, 2), "train is torch.float64"),
        (torch.zeros(3, 2), torch.zeros(3, 2, dtype=torch.int64), "test is torch.int64"),
    ],
)
def test_refuses_halves_that_do_not_fit(train: torch.Tensor, test: torch.Tensor, message: str) -> None:
    with pytest.raises(InputError) as caught:
        Dataset("toy", train, test, {"kind": "standard"})
    assert message in str(caught.value)


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.bool])
def test_as_float_refuses_other_types(dtype: torch.dtype) -> None:
    with pytest.raises(InputError, match="expected uint8 pixels or floating-point values"):
        as_float(torch.zeros(2, dtype=dtype))
