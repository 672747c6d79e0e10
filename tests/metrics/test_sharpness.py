"""Sharpness against SciPy's Laplacian and Pillow's grey."""

import numpy as np
import pytest
import scipy.ndimage
import torch
from PIL import Image

from curvae.errors import InputError
from curvae.metrics.sharpness import mean_sharpness, sharpness


def drawn(channels: int, count: int = 4) -> np.ndarray:
    return np.random.default_rng().integers(0, 256, (count, channels, 9, 7), dtype=np.uint8)


@pytest.mark.parametrize("channels", [1, 3])
def test_it_is_the_variance_of_scipys_laplacian(channels: int) -> None:
    pixels = drawn(channels)
    weights = np.array([0.299, 0.587, 0.114]) if channels == 3 else np.ones(1)
    found = sharpness(torch.from_numpy(pixels / 255.0))
    for image, value in zip(pixels, found.tolist(), strict=True):
        grey = np.tensordot(weights, image / 255.0, 1)
        assert value == pytest.approx(scipy.ndimage.laplace(grey)[1:-1, 1:-1].var(), rel=1e-9)


def test_grey_is_pillows() -> None:
    pixels = drawn(3, 1)
    grey = np.asarray(Image.fromarray(pixels[0].transpose(1, 2, 0)).convert("L"))[None, None]
    both = [float(sharpness(torch.from_numpy(x / 255.0))) for x in (pixels, grey)]
    assert both[0] == pytest.approx(both[1], rel=0.02)  # Pillow rounds its grey


def test_blur_lowers_it_and_noise_raises_it() -> None:
    pixels = drawn(1, 1)[0, 0] / 255.0
    smooth = scipy.ndimage.gaussian_filter(pixels, 1.0)
    noisy = smooth + np.random.default_rng().normal(0, 0.05, smooth.shape)
    values = [float(sharpness(torch.from_numpy(x)[None, None])) for x in (smooth, noisy, pixels)]
    assert values[0] < values[1]
    assert values[0] < values[2]


def test_values_are_rounded_as_pixels_are() -> None:
    inside = torch.from_numpy(drawn(1) / 255.0)
    assert torch.equal(sharpness(inside), sharpness(inside + 0.3 / 255))


def test_the_mean_is_over_images_and_not_over_batches() -> None:
    images = torch.rand(5, 3, 6, 6)
    found = mean_sharpness(images.split(2))
    assert found == pytest.approx(float(sharpness(images).mean()), rel=1e-9)


@pytest.mark.parametrize("shape", [(2, 2, 5, 5), (2, 1, 2, 5)])
def test_what_is_no_image_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="at least 3 × 3 pixels"):
        sharpness(torch.zeros(shape))


def test_no_images_are_refused() -> None:
    with pytest.raises(InputError, match="no images"):
        mean_sharpness([])
    with pytest.raises(InputError, match="no images"):
        mean_sharpness([torch.zeros(0, 1, 5, 5)])
