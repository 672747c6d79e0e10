"""A small classifier of digits, trained here, for a Fréchet distance on its features, which is no FID."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from curvae._typing import Float, Tensor
from curvae.data import Batches, as_float
from curvae.reproduce.descent import descend

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


@dataclass(frozen=True)
class Classifier:
    """A trained classifier.

    Attributes:
        network: in eval mode.
        accuracy: share of the test images that it names rightly.
    """

    network: Digits
    accuracy: float


def train_classifier(
    train: tuple[Tensor, Tensor],
    test: tuple[Tensor, Tensor],
    steps: int,
    seed: int = 0,
    device: torch.device | None = None,
) -> Classifier:
    """Train by Adam at 1e-3 on batches of 128.

    Args:
        train: images ``[N, 1, 28, 28]``, uint8 or floating point, and digits ``[N]``.
        test: the same, to measure the accuracy.
        steps: of Adam.
        seed: of weights and batches.
        device: where; default the CPU.
    """
    device = device or torch.device("cpu")
    images, digits = train
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        network = Digits().to(device)
    # batches of positions, so that images and digits stay together
    chosen = iter(Batches(torch.arange(len(images)).double(), min(128, len(images)), seed, steps=steps))

    def loss(_: int) -> Tensor:
        index = next(chosen).long()
        scores = network.head(network(as_float(images[index]).to(device)))
        return nn.functional.cross_entropy(scores, digits[index].long().to(device))

    descend(network.parameters(), loss, steps)
    network.eval()
    with torch.no_grad():
        named = [network.head(network(as_float(part).to(device))).argmax(1).cpu() for part in test[0].split(500)]
    return Classifier(network, float((torch.cat(named) == test[1]).double().mean()))
