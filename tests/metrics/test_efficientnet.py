"""The extractor: a network that knows ImageNet, and distances that behave. Without the wheels, one clear line."""

import importlib.util
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter
from sklearn.datasets import load_sample_images

from curvae.errors import InputError, MissingExtraError
from curvae.metrics import efficientnet
from curvae.metrics.efficientnet import EfficientNetLite0
from curvae.metrics.frechet import FrechetDistance

SIDE = 32


@pytest.fixture(scope="module")
def extractor() -> EfficientNetLite0:
    pytest.importorskip(efficientnet._PACKAGE)
    return EfficientNetLite0(SIDE)


@pytest.fixture(scope="module")
def patches() -> torch.Tensor:
    """Pieces of two photographs."""
    generator = np.random.default_rng(0)
    found = []
    for photograph in load_sample_images().images:
        for _ in range(60):
            top, left = generator.integers(0, photograph.shape[0] - 96), generator.integers(0, photograph.shape[1] - 96)
            found.append(photograph[top : top + 96 : 2, left : left + 96 : 2])
    return torch.from_numpy(np.stack(found)).permute(0, 3, 1, 2).float() / 255


def test_the_network_names_what_a_photograph_shows() -> None:
    """A Chinese palace and a flower: the weights fit the network, and the input is scaled as in training."""
    pytest.importorskip(efficientnet._PACKAGE)
    extractor = EfficientNetLite0(224)
    photographs = [Image.fromarray(photograph).resize((224, 224)) for photograph in load_sample_images().images]
    batch = torch.stack([torch.from_numpy(np.array(image)) for image in photographs]).permute(0, 3, 1, 2)
    palace, flower = extractor.network._fc(extractor(batch.float() / 255)).topk(5).indices.tolist()
    assert {663, 698} <= set(palace)  # ImageNet's monastery and palace; it has no pagoda
    assert flower[0] == 985  # daisy


def test_features_are_of_the_rounded_and_resized_image(extractor: EfficientNetLite0, patches: torch.Tensor) -> None:
    x = patches[:3]
    image = [Image.fromarray((255 * one).round().byte().permute(1, 2, 0).numpy()) for one in x]
    pixels = np.stack([np.asarray(one.resize((SIDE, SIDE), Image.Resampling.BICUBIC)) for one in image])
    scaled = (torch.from_numpy(pixels).permute(0, 3, 1, 2).float() - 127) / 128
    expected = extractor.network.extract_features(scaled).mean((2, 3))
    torch.testing.assert_close(extractor(x), expected)
    torch.testing.assert_close(extractor(x + 0.4 / 255), expected)  # what lies below the rounding is not seen


def test_grey_is_three_equal_channels(extractor: EfficientNetLite0, patches: torch.Tensor) -> None:
    grey = patches[:2, :1]
    torch.testing.assert_close(extractor(grey), extractor(grey.expand(-1, 3, -1, -1)))


def test_training_mode_is_never_on(extractor: EfficientNetLite0) -> None:
    assert not any(module.training for module in extractor.modules())
    assert not any(parameter.requires_grad for parameter in extractor.parameters())


def test_distance_is_zero_for_the_same_images_in_any_order(extractor: EfficientNetLite0, patches: torch.Tensor) -> None:
    distance = FrechetDistance(extractor, patches.split(50))
    own = distance(patches.flip(0).split(17))
    assert own < 1e-3 * distance([patches[:60]])


@pytest.mark.cases(1)
@pytest.mark.parametrize("spoiled", ["noise", "blur"])
def test_distance_grows_with_noise_and_blur(extractor: EfficientNetLite0, patches: torch.Tensor, spoiled: str) -> None:
    distance = FrechetDistance(extractor, [patches])
    noise = torch.randn(patches.shape, generator=torch.Generator().manual_seed(0))

    def worse(amount: float) -> torch.Tensor:
        if spoiled == "noise":
            return (patches + 0.1 * amount * noise).clamp(0, 1)
        return torch.from_numpy(gaussian_filter(patches.numpy(), (0, 0, amount, amount)))

    found = [distance([worse(amount)]) for amount in (0.5, 1, 2, 4)]
    assert found == sorted(found)
    assert found[-1] > 2 * found[0] > 0


def test_without_the_wheels_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("curvae._extras._is_there", lambda name: False)
    with pytest.raises(MissingExtraError, match=r'need efficientnet-lite-pytorch and .*"curvae\[features\]"') as e:
        EfficientNetLite0()
    assert "\n" not in str(e.value)


def test_other_weights_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / efficientnet._WEIGHTS
    file.parent.mkdir()
    file.write_bytes(b"x")
    spec = SimpleNamespace(submodule_search_locations=[str(tmp_path)])
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    with pytest.raises(InputError, match="does not hold EfficientNet-Lite0's weights; run: pip"):
        EfficientNetLite0()


@pytest.mark.parametrize("side", [0, 100, -32])
def test_sides_that_the_stride_does_not_divide_are_refused(side: int) -> None:
    with pytest.raises(InputError, match="expected a multiple of 32"):
        EfficientNetLite0(side)


def test_what_are_no_images_is_refused(extractor: EfficientNetLite0) -> None:
    with pytest.raises(InputError, match="images"):
        extractor(torch.rand(2, 4, 8, 8))
