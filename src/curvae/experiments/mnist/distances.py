"""The Fréchet distances of the comparison: what each is computed with, and why one is left out. Neither is FID."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from curvae.data import Dataset, mnist
from curvae.data import cache as caches
from curvae.errors import InputError
from curvae.experiments.mnist.config import Comparison
from curvae.experiments.mnist.digits import train_classifier
from curvae.experiments.sweeps.gauges import Gauge, gauge, image_extractor

# pixels that digits are brought to for EfficientNet-Lite0
_SIDE = 128


@dataclass(frozen=True)
class Gauges:
    """The distances that can be measured, by the keys of ``MEASURES``, and why the others cannot."""

    found: Mapping[str, Gauge]
    left_out: Mapping[str, str]

    def summary(self) -> dict[str, Any]:
        """What has to stand beside the distances, each with that of as many training images, which models aim at."""
        found = {key: one.summary() for key, one in self.found.items()}
        return {**found, **{key: {"left_out": reason} for key, reason in self.left_out.items()}}


def gauges(dataset: Dataset, config: Comparison, device: torch.device) -> Gauges:
    """Build every distance that the data and the installed packages allow."""
    makers: Mapping[str, Callable[[], Gauge]] = {
        "frechet": lambda: _digits(dataset, config, device),
        "frechet_lite0": lambda: _lite0(dataset, config, device),
    }
    found, left_out = {}, {}
    for key, make in makers.items():
        try:
            found[key] = make()
        except InputError as error:
            left_out[key] = str(error)
    return Gauges(found, left_out)


def _digits(dataset: Dataset, config: Comparison, device: torch.device) -> Gauge:
    if config.training.data != "mnist":
        raise InputError("digit features need the labels of MNIST; these are other data")
    labels = [torch.from_numpy(half) for half in mnist.load_labels()]
    train, test = (dataset.train[:], labels[0]), (dataset.test[:], labels[1])
    classifier = train_classifier(train, test, config.classifier_steps, 0, device)
    about = {
        "extractor": "classifier of digits, trained on the training images first",
        "features": classifier.network.num_features,
        "accuracy": classifier.accuracy,
        "rounding": "none",
        "resize": "none",
    }
    # its weights depend on the machine's arithmetic, so that no key would say what they are
    return gauge(classifier.network, about, dataset, config.generated, device, cache=None)


def _lite0(dataset: Dataset, config: Comparison, device: torch.device) -> Gauge:
    extractor = image_extractor("lite0", _SIDE, dataset)
    return gauge(extractor, extractor.about, dataset, config.lite0_images, device, caches.default())
