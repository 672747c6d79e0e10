"""The paper's networks for 64 × 64 images (App. D)."""

from __future__ import annotations

from torch import nn

from curvae._typing import Float, Tensor
from curvae.nn.convolutions import decoding, encoding, scaled


class CelebAEncoder(nn.Module):
    """Conv 128,5,1 → 256,5,2 → 512,5,2 → 1024,5,2 → 1024,5,2, each with batch normalisation and ELU, then flatten.

    The linear heads for mean and covariance (the paper has d = 128) belong to :class:`~curvae.Autoencoder`. "Same"
    padding (the paper does not say), so the images shrink 64 → 32 → 16 → 8 → 4 and there are 16 · 1024 features.

    Args:
        width: factor on every number of channels, > 0; 1 is the paper's.
        colours: channels of the image, 3 in the paper; 1 for grey ones.
        normalise: whether with batch normalisation, as the paper has it.

    Raises:
        InputError: if ``width`` is not > 0.

    Example:
        >>> import torch
        >>> encoder = CelebAEncoder(width=1 / 64)
        >>> encoder(torch.zeros(2, 3, 64, 64)).shape, encoder.out_features
        (torch.Size([2, 256]), 256)
    """

    def __init__(self, width: float = 1.0, colours: int = 3, normalise: bool = True) -> None:
        super().__init__()
        channels = [colours, *(scaled(c, width) for c in (128, 256, 512, 1024, 1024))]
        self.layers = encoding(channels, kernel=5, strides=(1, 2, 2, 2, 2), normalise=normalise)
        self.out_features = 16 * channels[-1]

    def forward(self, x: Float[Tensor, "B C 64 64"]) -> Float[Tensor, "B F"]:
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
        colours: channels of the image, 3 in the paper; 1 for grey ones.
        normalise: whether with batch normalisation, as the paper has it.

    Raises:
        InputError: if ``latents`` or ``width`` is out of range.

    Example:
        >>> import torch
        >>> CelebADecoder(latents=128, width=1 / 64)(torch.zeros(2, 128)).shape
        torch.Size([2, 3, 64, 64])
    """

    def __init__(
        self, latents: int, width: float = 1.0, sigmoid: bool = True, colours: int = 3, normalise: bool = True
    ) -> None:
        super().__init__()
        channels = [scaled(c, width) for c in (512, 1024, 512, 256, 128)]
        strides = (1, 2, 2, 2)
        self.layers = decoding(latents, channels, 8, 5, strides, colours, sigmoid, normalise)

    def forward(self, z: Float[Tensor, "B d"]) -> Float[Tensor, "B C 64 64"]:
        """The image's mean, or its logits without the sigmoid."""
        return self.layers(z)
