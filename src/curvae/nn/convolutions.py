"""The layers that the paper's convolutional networks have in common (App. D)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from curvae._checks import positive, positive_int
from curvae.nn.same import SameConv2d, SameConvTranspose2d


def scaled(channels: int, width: float) -> int:
    """``channels`` times ``width``, rounded, and at least 1.

    Raises:
        InputError: if ``width`` is not > 0.

    Example:
        >>> scaled(512, 0.125), scaled(64, 1e-6)
        (64, 1)
    """
    return max(1, round(channels * positive("width", width)))


def encoding(channels: Sequence[int], kernel: int, strides: Sequence[int], normalise: bool = True) -> nn.Sequential:
    """Convolutions, each with batch normalisation and ELU, then flatten; ``channels`` begin with the image's."""
    layers: list[nn.Module] = []
    for before, after, stride in zip(channels[:-1], channels[1:], strides, strict=True):
        layers += [SameConv2d(before, after, kernel, stride), *_norm(nn.BatchNorm2d, after, normalise), nn.ELU()]
    return nn.Sequential(*layers, nn.Flatten())


def decoding(
    latents: int,
    channels: Sequence[int],
    side: int,
    kernel: int,
    strides: Sequence[int],
    colours: int,
    sigmoid: bool,
    normalise: bool = True,
) -> nn.Sequential:
    """A linear layer, transposed convolutions, a convolution to the image, and a sigmoid if asked for.

    Batch normalisation and ELU follow every layer but the last two; ELU alone follows the last transposed convolution.
    ``channels`` begin with those of the map that the linear layer makes, which has ``side``; the image has ``colours``.

    Raises:
        InputError: if ``latents`` is not ≥ 1.
    """
    first = side * side * channels[0]
    layers: list[nn.Module] = [
        nn.Linear(positive_int("latents", latents), first),
        *_norm(nn.BatchNorm1d, first, normalise),
        nn.ELU(),
        nn.Unflatten(1, (channels[0], side, side)),
    ]
    for before, after, stride in zip(channels[:-2], channels[1:-1], strides[:-1], strict=True):
        layers += [SameConvTranspose2d(before, after, kernel, stride), *_norm(nn.BatchNorm2d, after, normalise)]
        layers += [nn.ELU()]
    layers += [SameConvTranspose2d(channels[-2], channels[-1], kernel, strides[-1]), nn.ELU()]
    layers += [SameConv2d(channels[-1], colours, kernel)]
    return nn.Sequential(*layers, *([nn.Sigmoid()] if sigmoid else []))


def _norm(kind: type[nn.BatchNorm1d] | type[nn.BatchNorm2d], features: int, wanted: bool) -> list[nn.Module]:
    return [kind(features)] if wanted else []
