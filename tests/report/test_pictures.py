"""Pictures hold the pixels that they should."""

import base64
import io
import itertools
from typing import Any

import matplotlib
import numpy as np
import pytest
from PIL import Image

from curvae.report.images import image_amounts
from curvae.report.pictures import Picture, colour_scale, grid, heat_map, is_image, to_pixels


def decoded(picture: Picture) -> np.ndarray[Any, Any]:
    head, _, content = picture.uri.partition(",")
    assert head == "data:image/png;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(content))))


@pytest.mark.parametrize("channels", [1, 3])
def test_grid_puts_each_image_in_its_place(channels: int) -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, 4, 6, channels), dtype=np.uint8)
    sheet = decoded(grid(images, 2, "five", gap=2))
    assert sheet.shape == (3 * 4 + 2 * 2, 2 * 6 + 2, channels + 1)
    for i, image in enumerate(images):
        top, left = (i // 2) * 6, (i % 2) * 8
        np.testing.assert_array_equal(sheet[top : top + 4, left : left + 6, :-1], image)
        assert (sheet[top : top + 4, left : left + 6, -1] == 255).all()
    assert (sheet[4:6, :, -1] == 0).all()  # the gap
    assert (sheet[12:, 8:, -1] == 0).all()  # no sixth image


def test_pixels_keep_channels_and_clip() -> None:
    values = np.random.default_rng(1).uniform(-0.5, 1.5, (3, 3, 5, 4))
    found = to_pixels(values, (0.0, 1.0))
    assert found.shape == (3, 5, 4, 3)
    expected = np.rint(255 * values.clip(0, 1)).transpose(0, 2, 3, 1)
    np.testing.assert_array_equal(found, expected)


def test_limits_are_black_and_bright() -> None:
    found = to_pixels(np.array([[[-4.0, 6.0], [1.0, 1.0]]]), (-4.0, 6.0))
    np.testing.assert_array_equal(found[0, :, :, 0], [[0, 255], [128, 128]])


@pytest.mark.parametrize("shape", [(2, 200, 100), (2, 3, 200, 100), (2, 1, 200, 100)])
def test_large_images_shrink_and_keep_their_proportions(shape: tuple[int, ...]) -> None:
    smooth = np.broadcast_to(np.linspace(0, 1, 100), shape)
    found = to_pixels(smooth, (0.0, 1.0), side=50)
    assert found.shape == (2, 50, 25, shape[1] if len(shape) == 4 else 1)
    np.testing.assert_allclose(found[0, 20, 2:-2, 0] / 255, smooth[..., 1::4].reshape(-1, 25)[0][2:-2], atol=0.02)


def test_heat_map_colours_are_proportional_and_symmetric() -> None:
    matrix = np.array([[-2.0, 0.0, 1.0], [0.5, 2.0, -1.0]])
    found = decoded(heat_map(matrix, 2.0, "m"))
    expected = matplotlib.colormaps["RdBu_r"]((matrix + 2) / 4, bytes=True)[..., :3]
    np.testing.assert_array_equal(found, expected)
    blue, red = found[0, 0], found[1, 1]
    assert blue[2] > blue[0]
    assert red[0] > red[2]
    assert found[0, 1].min() > 240  # 0 is white
    scale = decoded(colour_scale())
    np.testing.assert_array_equal(scale[0, [0, 100, -1]], [blue, found[0, 1], red])


def test_which_data_are_images() -> None:
    assert [is_image(shape) for shape in [(1, 8, 8), (3, 4, 9), (8, 8)]] == [True, True, True]
    assert [is_image(shape) for shape in [(64,), (4, 8, 8), (1, 3, 80), (2, 3, 8, 8), (60, 2)]] == [False] * 5


def test_one_or_two_models_of_faces_are_shown_at_their_own_size() -> None:
    for runs in (1, 2):
        shown = image_amounts((3, 64, 64), runs)
        assert shown.side >= 64
        assert min(shown.samples, shown.examples, shown.latents, shown.pairs) >= 1


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 64, 64), (3, 512, 300), (200, 200)])
def test_more_runs_never_show_more_each(shape: tuple[int, ...]) -> None:
    levels = [image_amounts(shape, runs) for runs in range(1, 40)]
    for before, after in itertools.pairwise(levels):
        assert after.samples <= before.samples
        assert after.side <= before.side
    assert levels[-1].samples < levels[0].samples or shape == (1, 28, 28)
