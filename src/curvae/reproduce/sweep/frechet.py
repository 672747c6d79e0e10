"""Fréchet distances from a reference set, with all that their numbers depend on."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from curvae._typing import Tensor
from curvae.data import Dataset, as_float
from curvae.errors import InputError
from curvae.metrics import reference
from curvae.metrics.efficientnet import EfficientNetLite0
from curvae.metrics.frechet import FrechetDistance, Statistics, between, growing
from curvae.metrics.inception import Inception

BATCH = 500
# of the numbers of images at which the bias of the distance is reported
_SHARES = (8, 4, 2, 1)


@dataclass(frozen=True)
class FrechetReference:
    """A distance from held-out images, with all that its numbers depend on.

    Attributes:
        distance: from the first ``images`` held-out images.
        images: in each set.
        about: extractor, rounding, resize method and reference, fit for JSON.
        floor: for several numbers of images, the distance of as many training images from as many held-out ones. It is
            what a perfect model would have, and it falls with the number: the bias of the distance.
    """

    distance: FrechetDistance
    images: int
    about: Mapping[str, Any]
    floor: Mapping[int, float]

    def summary(self) -> dict[str, Any]:
        """What has to stand beside the distances."""
        return {**self.about, "of_training_images": self.floor[self.images], "by_number_of_images": dict(self.floor)}


def batches(data: Tensor, device: torch.device) -> Iterable[Tensor]:
    """Images as numbers in [0, 1], a few hundred at a time."""
    for part in data.split(BATCH):
        yield as_float(part).to(device)


def frechet_reference(
    extractor: nn.Module,
    about: Mapping[str, Any],
    dataset: Dataset,
    images: int,
    device: torch.device,
    cache: Path | None,
) -> FrechetReference:
    """Statistics of the real images, and the distances between them.

    Args:
        extractor: images to features.
        about: what to say of it, which also names it in the cache.
        dataset: whose held-out images are the reference.
        images: at most so many in each set.
        device: where to look at them.
        cache: the folder where the statistics are kept; None for an extractor that ``about`` does not fully say.

    Raises:
        InputError: fewer than two images in a half, or a cache that cannot be written.
    """
    images = min(images, len(dataset.test), len(dataset.train))
    if images < 2:
        raise InputError(f"a Fréchet distance of {images} image has no covariance; expected at least 2 in each half")
    counts = sorted({max(2, images // share) for share in _SHARES})
    extractor = extractor.to(device)

    def seen(half: str) -> list[Statistics]:
        data: Tensor = getattr(dataset, half)[: counts[-1]]
        key = {"data": dataset.digest, "half": half, **about}

        def make() -> list[Statistics]:
            return growing(extractor, batches(data, device), counts)

        return make() if cache is None else reference.kept(cache, key, counts, make)

    held_out, train = seen("test"), seen("train")
    floor = {count: between(a, b) for count, a, b in zip(counts, held_out, train, strict=True)}
    named = {**about, "images": images, "reference": f"the first {images} held-out images"}
    return FrechetReference(FrechetDistance(extractor, held_out[-1]), images, named, floor)


def image_extractor(features: str, side: int, dataset: Dataset) -> Inception | EfficientNetLite0:
    """The extractor that a person asked for.

    Args:
        features: ``"lite0"``, ``"inception"`` (downloads its weights once) or the file of Inception's weights.
        side: pixels that Lite0's images are brought to.
        dataset: the images.

    Raises:
        InputError: it cannot be had, or the data are not images.
    """
    if len(dataset.shape) != 3 or dataset.shape[0] not in (1, 3):
        raise InputError(f"Fréchet distances are of images; these data have shape {tuple(dataset.shape)}")
    if features == "lite0":
        return EfficientNetLite0(side)
    if features == "inception":
        return Inception(None)
    file = Path(os.path.expanduser(features))  # noqa: PTH111 - Path raises for a user who is not there
    if not os.path.isfile(file):  # noqa: PTH113 - Path raises for a name that is too long
        raise InputError(
            f"features is {features!r}, which cannot be read; expected lite0, inception or the file of its weights"
        )
    return Inception(file)
