"""Distances with what their numbers depend on."""

from pathlib import Path

import pytest
import torch
from torch import nn

from curvae.data import Dataset, as_float
from curvae.errors import InputError
from curvae.metrics import efficientnet
from curvae.metrics.frechet import FrechetDistance
from curvae.reproduce.sweep.frechet import frechet_reference, image_extractor

CPU = torch.device("cpu")


class Pixels(nn.Flatten):
    num_features = 16


def drawn(train: int = 60, test: int = 30) -> Dataset:
    return Dataset("toy", *(torch.randint(0, 256, (n, 1, 4, 4), dtype=torch.uint8) for n in (train, test)), {})


@pytest.mark.parametrize("cached", [True, False])
def test_the_floor_is_the_distance_of_as_many_training_images(cached: bool, tmp_path: Path) -> None:
    data = drawn()
    found = frechet_reference(Pixels(), {"extractor": "pixels"}, data, 16, CPU, tmp_path if cached else None)
    assert (found.images, set(found.floor)) == (16, {2, 4, 8, 16})
    for count, value in found.floor.items():
        direct = FrechetDistance(Pixels(), [as_float(data.test[:count])])([as_float(data.train[:count])])
        assert value == pytest.approx(direct, rel=1e-6)
    assert found.distance([as_float(data.test[:16])]) < 1e-6
    assert len(list(tmp_path.iterdir())) == (8 if cached else 0)
    about = found.summary()
    assert about["reference"] == "the first 16 held-out images"
    assert about["of_training_images"] == found.floor[16]


def test_other_data_and_other_extractors_have_other_statistics(tmp_path: Path) -> None:
    one, other = drawn(), drawn()
    for data, name in ((one, "a"), (other, "a"), (one, "b")):
        frechet_reference(Pixels(), {"extractor": name}, data, 8, CPU, tmp_path)
    assert len(list(tmp_path.iterdir())) == 3 * 2 * 3  # halves, and 2, 4, 8 images


def test_no_more_images_than_either_half_has() -> None:
    assert frechet_reference(Pixels(), {}, drawn(train=12, test=30), 1000, CPU, None).images == 12
    assert frechet_reference(Pixels(), {}, drawn(train=60, test=9), 1000, CPU, None).images == 9


def test_one_image_is_refused() -> None:
    for data, images in ((drawn(), 1), (drawn(test=1), 10), (drawn(train=1), 10)):
        with pytest.raises(InputError, match="expected at least 2 in each half"):
            frechet_reference(Pixels(), {}, data, images, CPU, None)


def test_extractors_by_name(tmp_path: Path) -> None:
    pytest.importorskip(efficientnet._PACKAGE)
    assert isinstance(image_extractor("lite0", 64, drawn()), efficientnet.EfficientNetLite0)
    with pytest.raises(InputError, match="torch-fidelity|cannot be read"):
        image_extractor(str(tmp_path / "none.pth"), 64, drawn())
    vectors = Dataset("toy", torch.rand(9, 5), torch.rand(5, 5), {})
    with pytest.raises(InputError, match=r"of images; these data have shape \(5,\)"):
        image_extractor("lite0", 64, vectors)


@pytest.mark.parametrize("features", ["", "missing", "~nouser/x", "x" * 300, "/dev/zero", "."])
def test_features_that_are_no_file(features: str) -> None:
    with pytest.raises(InputError, match="expected lite0, inception or the file"):
        image_extractor(features, 32, drawn())
