"""The paper's networks for 28 × 28 grey images (App. D)."""

from __future__ import annotations

from torch import nn

from curvae._checks import positive_int
from curvae._typing import Float, Tensor
from curvae.nn.same import SameConv2d, SameConvTranspose2d
from curvae.nn.width import scaled


class MNISTEncoder(nn.Module):
    """Conv 64,4,1 → 128,4,2 → 256,4,2 → 512,4,2 → 512,4,1, each with batch normalisation and ELU, then flatten.

    The linear heads for mean and covariance belong to :class:`~curvae.Autoencoder`. "Same" padding (the paper does not
    say), so the images shrink 28 → 14 → 7 → 4 and there are 16 · 512 features.

    Args:
        width: factor on every number of channels, > 0; 1 is the paper's.

    Raises:
        InputError: if ``width`` is not > 0.

    Example:
        >>> import torch
        >>> encoder = MNISTEncoder(width=0.125)
        >>> encoder(torch.zeros(2, 1, 28, 28)).shape, encoder.out_features
        (torch.Size([2, 1024]), 1024)
    """

    def __init__(self, width: float = 1.0) -> None:
        super().__init__()
        channels = [1, *(scaled(c, width) for c in (64, 128, 256, 512, 512))]
        layers: list[nn.Module] = []
        for before, after, stride in zip(channels, channels[1:], (1, 2, 2, 2, 1), strict=False):
            layers += [SameConv2d(before, after, 4, stride), nn.BatchNorm2d(after), nn.ELU()]
        self.layers = nn.Sequential(*layers, nn.Flatten())
        self.out_features = 16 * channels[-1]

    def forward(self, x: Float[Tensor, "B 1 28 28"]) -> Float[Tensor, "B F"]:
        """The features."""
        return self.layers(x)


class MNISTDecoder(nn.Module):
    """FC 7·7·256 → ConvT 512,4,1 → 256,4,1 → 128,4,2 → 64,4,2 → Conv 1,4,1 → sigmoid.

    Batch normalisation and ELU follow every layer but the last two; ELU alone follows ConvT 64.

    Args:
        latents: d, ≥ 1.
        width: factor on every number of channels, > 0; 1 is the paper's.
        sigmoid: end in a sigmoid, as the paper does; ``False`` where the link belongs to the observation model
            (:class:`~curvae.likelihoods.BernoulliLogits`).

    Raises:
        InputError: if ``latents`` or ``width`` is out of range.

    Example:
        >>> import torch
        >>> MNISTDecoder(latents=12, width=0.125)(torch.zeros(2, 12)).shape
        torch.Size([2, 1, 28, 28])
    """

    def __init__(self, latents: int, width: float = 1.0, sigmoid: bool = True) -> None:
        super().__init__()
        c0, c1, c2, c3, c4 = (scaled(c, width) for c in (256, 512, 256, 128, 64))
        layers: list[nn.Module] = [
            nn.Linear(positive_int("latents", latents), 49 * c0),
            nn.BatchNorm1d(49 * c0),
            nn.ELU(),
            nn.Unflatten(1, (c0, 7, 7)),
        ]
        for before, after, stride in ((c0, c1, 1), (c1, c2, 1), (c2, c3, 2)):
            layers += [SameConvTranspose2d(before, after, 4, stride), nn.BatchNorm2d(after), nn.ELU()]
        layers += [SameConvTranspose2d(c3, c4, 4, 2), nn.ELU(), SameConv2d(c4, 1, 4)]
        self.layers = nn.Sequential(*layers, *([nn.Sigmoid()] if sigmoid else []))

    def forward(self, z: Float[Tensor, "B d"]) -> Float[Tensor, "B 1 28 28"]:
        """The image's mean, or its logits without the sigmoid."""
        return self.layers(z)
