"""Multi-layer perceptrons and linear maps for data of any shape."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

from torch import nn

from curvae._checks import positive_int
from curvae._typing import Float, Tensor


class MLPEncoder(nn.Module):
    """Flatten, then fully-connected layers, each followed by an activation.

    Args:
        shape: shape of one sample.
        hidden: sizes of the layers; the last is the number of features.
        activation: makes the activation module.

    Example:
        >>> import torch
        >>> MLPEncoder((1, 8, 8), hidden=(32, 16))(torch.zeros(2, 1, 8, 8)).shape
        torch.Size([2, 16])
    """

    def __init__(
        self,
        shape: Sequence[int],
        hidden: Sequence[int] = (512, 256),
        activation: Callable[[], nn.Module] = nn.ELU,
    ) -> None:
        super().__init__()
        sizes = [math.prod(shape), *hidden]
        self.layers = nn.Sequential(nn.Flatten(), *_dense(sizes, activation))
        self.out_features = sizes[-1]

    def forward(self, x: Float[Tensor, "B *D"]) -> Float[Tensor, "B F"]:
        """The features."""
        return self.layers(x)


class MLPDecoder(nn.Module):
    """Fully-connected layers with activations, then a linear layer and perhaps an output function.

    Args:
        latents: d, ≥ 1.
        shape: shape of one sample.
        hidden: sizes of the layers between, from the latents outwards.
        activation: makes the activation module.
        output: module at the end, for example ``nn.Sigmoid()``; default none.

    Example:
        >>> import torch
        >>> MLPDecoder(3, (1, 8, 8), hidden=(16, 32), output=nn.Sigmoid())(torch.zeros(2, 3)).shape
        torch.Size([2, 1, 8, 8])
    """

    def __init__(
        self,
        latents: int,
        shape: Sequence[int],
        hidden: Sequence[int] = (256, 512),
        activation: Callable[[], nn.Module] = nn.ELU,
        output: nn.Module | None = None,
    ) -> None:
        super().__init__()
        sizes = [positive_int("latents", latents), *hidden]
        last = [nn.Linear(sizes[-1], math.prod(shape)), nn.Unflatten(1, tuple(shape))]
        self.layers = nn.Sequential(*_dense(sizes, activation), *last, *([] if output is None else [output]))

    def forward(self, z: Float[Tensor, "B d"]) -> Float[Tensor, "B *D"]:
        """The parameters of the observation model."""
        return self.layers(z)


def linear_encoder(shape: Sequence[int], latents: int) -> nn.Sequential:
    """An affine map from data of ``shape`` to ``latents`` numbers: with :func:`linear_decoder`, probabilistic PCA.

    Example:
        >>> import torch
        >>> linear_encoder((1, 8, 8), 3)(torch.zeros(2, 1, 8, 8)).shape
        torch.Size([2, 3])
    """
    return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(shape), positive_int("latents", latents)))


def linear_decoder(latents: int, shape: Sequence[int]) -> nn.Sequential:
    """An affine map $Az+b$ from ``latents`` numbers to data of ``shape``.

    Example:
        >>> import torch
        >>> linear_decoder(3, (1, 8, 8))(torch.zeros(2, 3)).shape
        torch.Size([2, 1, 8, 8])
    """
    return nn.Sequential(nn.Linear(positive_int("latents", latents), math.prod(shape)), nn.Unflatten(1, tuple(shape)))


def _dense(sizes: Sequence[int], activation: Callable[[], nn.Module]) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(sizes):
        layers += [nn.Linear(before, after), activation()]
    return layers
