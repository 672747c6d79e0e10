"""Pictures that must stay small."""

import io
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from curvae.reproduce.drawing import save_png, small_png


def test_a_small_picture_stays_as_it_is_and_a_large_one_is_made_to_fit() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    whole = small_png(image)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(whole))), pixels)
    for largest in (8000, 2000):
        data = small_png(image, largest)
        assert len(data) <= largest
        with Image.open(io.BytesIO(data)) as found:
            assert found.size[0] / found.size[1] == 1.5 or largest == 2000
            assert (found.size == (90, 60)) == (largest == 8000)


def test_figures_and_images_are_written(tmp_path: Path) -> None:
    save_png(Figure(figsize=(1, 1)), tmp_path / "new" / "figure.png")
    save_png(Image.new("RGB", (5, 4)), tmp_path / "new" / "image.png")
    for path in (tmp_path / "new").iterdir():
        with Image.open(path) as image:
            image.verify()
