"""The classifier on what it is for."""

import pytest
import torch

from curvae.data import load, mnist
from curvae.reproduce.comparison.distances import Digits, train_classifier


@pytest.mark.slow
def test_a_classifier_learns_what_can_be_learned_and_a_seed_repeats_it() -> None:
    generator = torch.Generator().manual_seed(0)
    digits = torch.randint(10, (400,), generator=generator)
    images = (torch.rand(400, 1, 28, 28, generator=generator) * 50).to(torch.uint8)
    images[torch.arange(400), 0, 2 * digits] = 255  # a bright row says which
    sets = (images[:300], digits[:300]), (images[300:], digits[300:])
    first, again = (train_classifier(*sets, steps=60) for _ in range(2))
    assert first[1] > 0.9
    torch.testing.assert_close(first[0].state_dict(), again[0].state_dict())
    assert train_classifier(*sets, steps=1)[1] < 0.5


@pytest.mark.slow
def test_the_paper_scales_steps_on_mnist_give_97_percent() -> None:
    data = load("mnist")
    labels = [torch.from_numpy(half) for half in mnist.load_labels()]
    network, accuracy = train_classifier((data.train, labels[0]), (data.test, labels[1]), steps=1500)
    assert accuracy > 0.97
    assert isinstance(network, Digits)
