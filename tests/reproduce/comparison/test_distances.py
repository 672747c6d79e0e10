"""The comparison's distances: of images, with all that their numbers depend on, or left out with a reason."""

import dataclasses

import numpy as np
import pytest
import torch

from curvae.data import Dataset, load
from curvae.metrics import efficientnet
from curvae.reproduce.comparison.config import Comparison
from curvae.reproduce.comparison.distances import frechet_references
from curvae.reproduce.sweep.frechet import batches
from curvae.reproduce.sweep.training import TrainingSettings

CPU = torch.device("cpu")


@pytest.fixture
def images(tmp_path, monkeypatch: pytest.MonkeyPatch) -> Dataset:
    monkeypatch.setenv("CURVAE_CACHE", str(tmp_path / "cache"))
    pixels = np.random.default_rng(0).integers(0, 256, (120, 16, 16, 1), dtype=np.uint8)
    np.save(tmp_path / "images.npy", pixels)
    return load(str(tmp_path / "images.npy"))


@pytest.fixture
def config(toy: TrainingSettings) -> Comparison:
    return Comparison(toy, points=8, draws=4, samples=20, generated=10, lite0_images=8, classifier_steps=1)


def test_lite0_features_say_what_they_are(images: Dataset, config: Comparison) -> None:
    pytest.importorskip(efficientnet._PACKAGE)
    found, _ = frechet_references(images, config, CPU)
    assert set(found) == {"frechet_lite0"}
    reference = found["frechet_lite0"]
    about = reference.summary()
    assert about["extractor"] == "EfficientNet-Lite0"
    assert about["rounding"] == "to uint8"
    assert about["resize"] == "Pillow bicubic, centred crop, to 128 × 128"
    assert about["reference"] == "the first 8 held-out images"
    assert about["images"] == 8
    assert reference.distance(batches(images.test[:8], CPU)) < 1e-2 * about["of_training_images"]
    assert set(about["by_number_of_images"]) == {2, 4, 8}


def test_digits_of_another_size_have_no_digit_features(
    images: Dataset, config: Comparison, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MNIST by ``--set size=…``: the classifier is made for its own pixels."""
    monkeypatch.setattr(efficientnet, "_PACKAGE", "not_installed_anywhere")
    config = dataclasses.replace(config, training=dataclasses.replace(config.training, data="mnist"))
    _, left_out = frechet_references(images, config, CPU)
    assert left_out["frechet"] == (
        "digit features need the labels of MNIST and its 28 x 28 pixels; these are mnist of shape (1, 16, 16)"
    )


def test_without_the_wheel_the_summary_says_why(
    images: Dataset, config: Comparison, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(efficientnet, "_PACKAGE", "not_installed_anywhere")
    found, left_out = frechet_references(images, config, CPU)
    assert not found
    reason = left_out["frechet_lite0"]
    assert "not-installed-anywhere" in reason
    assert 'pip install "curvae[features]"' in reason


@pytest.mark.slow
def test_no_more_images_than_are_held_out(images: Dataset, config: Comparison) -> None:
    pytest.importorskip(efficientnet._PACKAGE)
    found, _ = frechet_references(images, dataclasses.replace(config, lite0_images=1000), CPU)
    assert found["frechet_lite0"].images == len(images.test)
