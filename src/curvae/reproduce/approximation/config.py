"""What to train and how much to measure, as frozen values."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from torch import nn

from curvae.likelihoods import Bernoulli, BernoulliLogits, Gaussian, Likelihood


@dataclass(frozen=True)
class Observation:
    """An observation model, whether the decoder ends in a sigmoid, and the β to train with.

    β = 1, the ELBO, for Bernoulli pixels; 0.2, the paper's smallest for digits, for Gaussian ones.
    """

    name: str
    likelihood: Likelihood
    sigmoid: bool
    beta: float


OBSERVATIONS = (
    Observation("Gaussian", Gaussian(), False, 0.2),
    Observation("Gaussian, sigmoid in g", Gaussian(), True, 0.2),
    Observation("Bernoulli, logits", BernoulliLogits(), False, 1.0),
    Observation("Bernoulli, sigmoid in g", Bernoulli(), True, 1.0),
)
ACTIVATIONS: Mapping[str, Callable[[], nn.Module]] = {"elu": nn.ELU, "relu": nn.ReLU, "leaky relu": nn.LeakyReLU}
PAPER_NETWORK = "paper's net (elu)"


@dataclass(frozen=True)
class ApproximationConfig:
    """What to train and how much to measure.

    Attributes:
        scale: its name, for the record.
        steps: training steps (Adam, learning rate 1e-3).
        points: held-out data that are measured.
        seeds: one model of each kind for each; initial weights, batches and noise.
        hidden: sizes of the multi-layer perceptrons' layers, from the latents outwards.
        paper_width: width factor of the paper's networks, trained beside the perceptrons on Gaussian observations; None
            leaves them out.
        activations: of the perceptrons, keys of ``ACTIVATIONS``.
        latents: d.
        batch_size: data of one step.
        data: what :func:`curvae.data.load` takes; images of 28 × 28 for the paper's networks.

    Example:
        >>> CONFIGS["approximation", "quick"].steps, len(list(cases(CONFIGS["approximation", "quick"])))
        (1000, 13)
    """

    scale: str
    steps: int
    points: int
    seeds: tuple[int, ...]
    hidden: tuple[int, ...] = (256, 512)
    paper_width: float | None = None
    activations: tuple[str, ...] = tuple(ACTIVATIONS)
    latents: int = 12
    batch_size: int = 64
    data: str = "mnist"


def cases(config: ApproximationConfig) -> Iterator[tuple[str, Observation]]:
    """Every network and observation model of an experiment."""
    yield from itertools.product(config.activations, OBSERVATIONS)
    if config.paper_width is not None:
        yield PAPER_NETWORK, OBSERVATIONS[1]


_PAPER = ApproximationConfig("paper", 20_000, 1000, seeds=(0, 1, 2, 3, 4), hidden=(512, 1024), paper_width=1.0)
CONFIGS: Mapping[tuple[str, str], ApproximationConfig] = {
    ("approximation", config.scale): config
    for config in (
        # a few steps of tiny networks: shows that it runs, nothing else
        ApproximationConfig("smoke", steps=3, points=6, seeds=(0,), hidden=(8,), latents=3),
        # small networks; minutes on two cores
        ApproximationConfig("quick", steps=1000, points=200, seeds=(0, 1, 2), paper_width=0.125),
        # the paper's steps at an eighth of its networks' width, with wide perceptrons beside them
        replace(_PAPER, scale="overnight", seeds=(0, 1, 2), paper_width=0.125),
        _PAPER,
    )
}
"""By figure and scale."""
