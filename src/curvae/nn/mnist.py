"""The paper's networks for 28 × 28 grey images (App. D)."""

from __future__ import annotations

from torch import nn

from curvae._typing import Float, Tensor
from curvae.nn.convolutions import decoding, encoding, scaled


class MNISTEncoder(nn.Module):
    """Conv 64,4,1 → 128,4,2 → 256,4,2 → 512,4,2 → 512,4,1, each with batch normalisation and ELU, then flatten.

    The linear heads for mean and covariance belong to :class:`~curvae.Autoencoder`. "Same" padding (the paper does not
    say), so the images shrink 28 → 14 → 7 → 4 and there are 16 · 512 features.

    Args:
        width: factor on every number of channels, > 0; 1 is the paper's.
        normalise: whether with batch normalisation, as the paper has it.

    Raises:
        InputError: if ``width`` is not > 0.

    Example:
        >>> import torch
        >>> encoder = MNISTEncoder(width=0.125)
        >>> encoder(torch.zeros(2, 1, 28, 28)).shape, encoder.out_features
        (torch.Size([2, 1024]), 1024)
    """

    def __init__(self, width: float = 1.0, normalise: bool = True) -> None:
        super().__init__()
        channels = [1, *(scaled(c, width) for c in (64, 128, 256, 512, 512))]
        self.layers = encoding(channels, kernel=4, strides=(1, 2, 2, 2, 1), normalise=normalise)
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
        normalise: whether with batch normalisation, as the paper has it.

    Raises:
        InputError: if ``latents`` or ``width`` is out of range.

    Example:
        >>> import torch
        >>> MNISTDecoder(latents=12, width=0.125)(torch.zeros(2, 12)).shape
        torch.Size([2, 1, 28, 28])
    """

    def __init__(self, latents: int, width: float = 1.0, sigmoid: bool = True, normalise: bool = True) -> None:
        super().__init__()
        channels = [scaled(c, width) for c in (256, 512, 256, 128, 64)]
        self.layers = decoding(latents, channels, 7, 4, (1, 1, 2, 2), 1, sigmoid, normalise)

    def forward(self, z: Float[Tensor, "B d"]) -> Float[Tensor, "B 1 28 28"]:
        """The image's mean, or its logits without the sigmoid."""
        return self.layers(z)
