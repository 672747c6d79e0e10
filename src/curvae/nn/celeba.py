"""The paper's networks for 64 × 64 colour images (App. D)."""

from __future__ import annotations

from torch import nn

from curvae._checks import positive_int
from curvae._typing import Float, Tensor
from curvae.nn.same import SameConv2d, SameConvTranspose2d
from curvae.nn.width import scaled


class CelebAEncoder(nn.Module):
    """Conv 128,5,1 → 256,5,2 → 512,5,2 → 1024,5,2 → 1024,5,2, each with batch normalisation and ELU, then flatten.

    The linear heads for mean and covariance (the paper has d = 128) belong to :class:`~curvae.Autoencoder`. "Same"
    padding (the paper does not say), so the images shrink 64 → 32 → 16 → 8 → 4 and there are 16 · 1024 features.

    Args:
        width: factor on every number of channels, > 0; 1 is the paper's.

    Raises:
        InputError: if ``width`` is not > 0.

    Example:
        >>> import torch
        >>> encoder = CelebAEncoder(width=1 / 64)
        >>> encoder(torch.zeros(2, 3, 64, 64)).shape, encoder.out_features
        (torch.Size([2, 256]), 256)
    """

    def __init__(self, width: float = 1.0) -> None:
        super().__init__()
        channels = [3, *(scaled(c, width) for c in (128, 256, 512, 1024, 1024))]
        layers: list[nn.Module] = []
        for before, after, stride in zip(channels, channels[1:], (1, 2, 2, 2, 2), strict=False):
            layers += [SameConv2d(before, after, 5, stride), nn.BatchNorm2d(after), nn.ELU()]
        self.layers = nn.Sequential(*layers, nn.Flatten())
        self.out_features = 16 * channels[-1]

    def forward(self, x: Float[Tensor, "B 3 64 64"]) -> Float[Tensor, "B F"]:
        """The features."""
        return self.layers(x)


class CelebADecoder(nn.Module):
    """FC 8·8·512 → ConvT 1024,5,1 → 512,5,2 → 256,5,2 → 128,5,2 → Conv 3,5,1 → sigmoid.

    Batch normalisation and ELU follow every layer but the last two; ELU alone follows ConvT 128.

    The paper prints FC 16·16·512. Its three strides of 2 would then end at 128 × 128, but its images are 64 × 64: here
    the first layer is the one that differs, so that every convolution is the paper's and the end is 64 × 64.

    Args:
        latents: d, ≥ 1; the paper's is 128.
        width: factor on every number of channels, > 0; 1 is the paper's.
        sigmoid: end in a sigmoid, as the paper does; ``False`` where the link belongs to the observation model
            (:class:`~curvae.likelihoods.BernoulliLogits`).

    Raises:
        InputError: if ``latents`` or ``width`` is out of range.

    Example:
        >>> import torch
        >>> CelebADecoder(latents=128, width=1 / 64)(torch.zeros(2, 128)).shape
        torch.Size([2, 3, 64, 64])
    """

    def __init__(self, latents: int, width: float = 1.0, sigmoid: bool = True) -> None:
        super().__init__()
        c0, c1, c2, c3, c4 = (scaled(c, width) for c in (512, 1024, 512, 256, 128))
        layers: list[nn.Module] = [
            nn.Linear(positive_int("latents", latents), 64 * c0),
            nn.BatchNorm1d(64 * c0),
            nn.ELU(),
            nn.Unflatten(1, (c0, 8, 8)),
        ]
        for before, after, stride in ((c0, c1, 1), (c1, c2, 2), (c2, c3, 2)):
            layers += [SameConvTranspose2d(before, after, 5, stride), nn.BatchNorm2d(after), nn.ELU()]
        layers += [SameConvTranspose2d(c3, c4, 5, 2), nn.ELU(), SameConv2d(c4, 3, 5)]
        self.layers = nn.Sequential(*layers, *([nn.Sigmoid()] if sigmoid else []))

    def forward(self, z: Float[Tensor, "B d"]) -> Float[Tensor, "B 3 64 64"]:
        """The image's mean, or its logits without the sigmoid."""
        return self.layers(z)
