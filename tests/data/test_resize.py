from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from curvae.data.resize import fit, fit_all, to_array
from curvae.errors import InputError


@given(width=st.integers(1, 60), height=st.integers(1, 60), size=st.integers(1, 40), colour=st.booleans())
@settings(max_examples=60, deadline=None)
def test_any_size_becomes_the_square_and_a_flat_image_stays_flat(
    width: int, height: int, size: int, colour: bool
) -> None:
    image = Image.new("RGB" if colour else "L", (width, height), (10, 200, 99) if colour else 77)
    pixels = to_array(fit(image, size))
    assert pixels.shape == (3 if colour else 1, size, size)
    expected = np.array([10, 200, 99] if colour else [77])
    assert (pixels == expected[:, None, None]).all()


def test_the_middle_of_the_longer_side_is_kept() -> None:
    # thirds of black, grey and white: only the grey one survives, up or across
    wide = np.repeat(np.array([0, 100, 255], np.uint8), 20)[None].repeat(20, axis=0)
    for strip in (wide, wide.T):
        middle = to_array(fit(Image.fromarray(np.ascontiguousarray(strip)), 20))
        np.testing.assert_array_equal(middle, np.full((1, 20, 20), 100))


def test_shrinking_averages_instead_of_picking() -> None:
    # a one-pixel chequerboard has no detail at half the size: it must come out mid-grey, not black or white
    board = (np.indices((32, 32)).sum(axis=0) % 2 * 255).astype(np.uint8)
    small = to_array(fit(Image.fromarray(board), 8))
    assert abs(small.astype(float) - 127.5).max() < 12


def test_the_same_size_changes_nothing_and_channels_stay_in_place() -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, 3, 9, 9), dtype=np.uint8)
    assert fit_all(images, 9, "toy") is images
    oblong = images[:, :, :, :7]
    small = fit_all(oblong, 4, "toy")
    assert small.shape == (5, 3, 4, 4)
    for channel in range(3):
        np.testing.assert_array_equal(small[:, channel], fit_all(oblong[:, channel : channel + 1], 4, "toy")[:, 0])


@pytest.mark.parametrize("shape", [(4, 6), (4, 2, 6, 6), (4, 4, 6, 6)])
def test_refuses_what_is_no_image(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="size is for images but toy holds uint8 of shape"):
        fit_all(np.zeros(shape, np.uint8), 3, "toy")
