"""The Fréchet distance against SciPy, and the classifier on what it is for."""

import numpy as np
import pytest
import scipy.linalg
import torch
from torch import nn

from curvae.data import load, mnist
from curvae.errors import InputError
from curvae.experiments.mnist.digits import Digits, frechet_distance, train_classifier


class Flat(nn.Module):
    num_features = 6

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1)


def test_distance_is_the_formula() -> None:
    generator = torch.Generator().manual_seed(0)
    real = torch.rand(300, 1, 2, 3, generator=generator, dtype=torch.float64)
    other = 0.5 * torch.rand(200, 1, 2, 3, generator=generator, dtype=torch.float64) ** 2
    a, b = real.flatten(1).numpy(), other.flatten(1).numpy()
    root = scipy.linalg.sqrtm(np.cov(a.T) @ np.cov(b.T)).real
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(np.cov(a.T) + np.cov(b.T) - 2 * root)
    assert frechet_distance(Flat(), real.split(70), other.split(64)) == pytest.approx(expected, rel=1e-6)


def test_too_few_images_are_refused() -> None:
    one, many = torch.rand(1, 1, 2, 3), torch.rand(5, 1, 2, 3)
    with pytest.raises(InputError, match="there are 1 images"):
        frechet_distance(Flat(), [many], [one])


def test_a_classifier_learns_what_can_be_learned_and_a_seed_repeats_it() -> None:
    generator = torch.Generator().manual_seed(0)
    digits = torch.randint(10, (400,), generator=generator)
    images = (torch.rand(400, 1, 28, 28, generator=generator) * 50).to(torch.uint8)
    images[torch.arange(400), 0, 2 * digits] = 255  # a bright row says which
    sets = (images[:300], digits[:300]), (images[300:], digits[300:])
    first, again = (train_classifier(*sets, steps=60) for _ in range(2))
    assert first.accuracy > 0.9
    torch.testing.assert_close(first.network.state_dict(), again.network.state_dict())
    assert train_classifier(*sets, steps=1).accuracy < 0.5


@pytest.mark.slow
def test_400_steps_on_mnist_give_97_percent() -> None:
    data = load("mnist")
    labels = [torch.from_numpy(half) for half in mnist.load_labels()]
    classifier = train_classifier((data.train, labels[0]), (data.test, labels[1]), steps=400)
    assert classifier.accuracy > 0.97
    assert isinstance(classifier.network, Digits)
