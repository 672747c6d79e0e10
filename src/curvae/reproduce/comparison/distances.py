"""The Fréchet distances of the comparison: what each is computed with, and why one is left out. Neither is FID."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import nn

from curvae._typing import Float, Tensor
from curvae.data import Batches, Dataset, as_float, mnist, title
from curvae.data import cache as caches
from curvae.data.paired import values
from curvae.errors import InputError
from curvae.reproduce.comparison.config import Comparison
from curvae.reproduce.descent import descend
from curvae.reproduce.sweep.frechet import FrechetReference, frechet_reference, image_extractor

FEATURES = 64


class Digits(nn.Module):
    """Two convolutions and a hidden layer of 64 features, for 28 × 28 grey images in [0, 1].

    Example:
        >>> Digits()(torch.zeros(3, 1, 28, 28)).shape
        torch.Size([3, 64])
    """

    num_features = FEATURES

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 16, 5, stride=2, padding=2),
            nn.ReLU(),
            nn.Conv2d(16, 32, 5, stride=2, padding=2),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(32 * 49, FEATURES),
            nn.ReLU(),
        )
        self.head = nn.Linear(FEATURES, 10)

    def forward(self, x: Float[Tensor, "B 1 28 28"]) -> Float[Tensor, "B 64"]:
        """The features."""
        return self.features(x)


def train_classifier(
    train: tuple[Tensor, Tensor],
    test: tuple[Tensor, Tensor],
    steps: int,
    device: torch.device | None = None,
) -> tuple[Digits, float]:
    """Train a classifier of images ``[N, 1, 28, 28]``, uint8 or floating point, by Adam at 1e-3 on batches of 128.

    Returns:
        The network in eval mode, and the share of the test images that it names rightly.
    """
    device = device or torch.device("cpu")
    images, digits = train
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        network = Digits().to(device)
    # batches of positions, so that images and digits stay together
    chosen = iter(Batches(torch.arange(len(images)).double(), min(128, len(images)), seed=0, steps=steps))

    def loss(_: int) -> Tensor:
        index = values(next(chosen)).long()
        scores = network.head(network(as_float(images[index]).to(device)))
        return nn.functional.cross_entropy(scores, digits[index].long().to(device))

    descend(network.parameters(), loss, steps)
    network.eval()
    with torch.no_grad():
        named = [network.head(network(as_float(part).to(device))).argmax(1).cpu() for part in test[0].split(500)]
    return network, float((torch.cat(named) == test[1]).double().mean())


# pixels that digits are brought to for EfficientNet-Lite0
_SIDE = 128


def frechet_references(
    dataset: Dataset, config: Comparison, device: torch.device
) -> tuple[dict[str, FrechetReference], dict[str, str]]:
    """The distances that can be measured, by the keys of ``MEASURES``, and why the others cannot."""
    makers: Mapping[str, Callable[[], FrechetReference]] = {
        "frechet": lambda: _digits(dataset, config, device),
        "frechet_lite0": lambda: _lite0(dataset, config, device),
    }
    found, left_out = {}, {}
    for key, make in makers.items():
        try:
            found[key] = make()
        except InputError as error:
            left_out[key] = str(error)
    return found, left_out


def _digits(dataset: Dataset, config: Comparison, device: torch.device) -> FrechetReference:
    if config.training.data != "mnist" or tuple(dataset.shape) != (1, 28, 28):
        raise InputError(
            f"digit features need the labels of MNIST and its 28 x 28 pixels; these are {title(config.training.data)} "
            f"of shape {tuple(dataset.shape)}"
        )
    labels = [torch.from_numpy(half) for half in mnist.load_labels()]
    train, test = (dataset.train[:], labels[0]), (dataset.test[:], labels[1])
    network, accuracy = train_classifier(train, test, config.classifier_steps, device)
    about = {
        "extractor": "classifier of digits, trained on the training images first",
        "features": network.num_features,
        "accuracy": accuracy,
        "rounding": "none",
        "resize": "none",
    }
    # its weights depend on the machine's arithmetic, so that no key would say what they are
    return frechet_reference(network, about, dataset, config.generated, device, cache=None)


def _lite0(dataset: Dataset, config: Comparison, device: torch.device) -> FrechetReference:
    extractor = image_extractor("lite0", _SIDE, dataset)
    return frechet_reference(extractor, extractor.about, dataset, config.lite0_images, device, caches.default())
