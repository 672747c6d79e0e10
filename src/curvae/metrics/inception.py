"""The Inception network that the FID is defined by, where its weights can be had."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from jaxtyping import Shaped
from torch import nn

from curvae._extras import require
from curvae._typing import Float, Tensor
from curvae.data.pixels import as_bytes
from curvae.errors import InputError

NAME = "Inception of the FID (2015-12-05)"
# the file's own name ends in the beginning of its SHA-256, as PyTorch's hub has it
_DIGEST = "6726825d"
_URL = "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth"
_BATCH = 50


class Inception(nn.Module):
    """The 2048 features of the network that Heusel et al. (2017) define the FID by, as ``torch-fidelity`` converted it.

    Images are rounded to uint8, grey ones repeated to three channels, and brought to 299 × 299 by the bilinear
    interpolation of TensorFlow 1, without antialiasing, as the FID's authors did.

    Args:
        weights: their file, for a machine without a network; None downloads it once into PyTorch's hub folder.

    Raises:
        InputError: the weights cannot be had or are other ones.
        MissingExtraError: (one of these) ``torch-fidelity`` is not installed.

    Example:
        >>> try:
        ...     Inception(Path("nowhere.pth"))
        ... except InputError:
        ...     print("no features")
        no features
    """

    num_features = 2048

    def __init__(self, weights: Path | None = None) -> None:
        super().__init__()
        require("Inception features need", "torch_fidelity", extra="fid")
        path = _download() if weights is None else weights
        _check(path)
        self.network = _network(path, self.num_features)
        self.requires_grad_(False).eval()

    @property
    def about(self) -> Mapping[str, str | int]:
        """What has to stand beside a number that was computed with these features."""
        return {
            "extractor": NAME,
            "features": self.num_features,
            "weights_sha256": f"{_DIGEST}…",
            "rounding": "to uint8",
            "resize": "bilinear as in TensorFlow 1, without antialiasing, to 299 × 299",
        }

    @torch.no_grad()
    def forward(self, x: Shaped[Tensor, "B C H W"]) -> Float[Tensor, "B 2048"]:
        """The features of images, uint8 or in [0, 1], grey (C = 1) or RGB (C = 3).

        Raises:
            InputError: ``x`` are no such images.
        """
        pixels = as_bytes(x).expand(-1, 3, -1, -1)
        return torch.cat([self.network(part) for part in pixels.split(_BATCH)])


def _network(path: Path, features: int) -> nn.Module:
    try:
        from torchmetrics.image.fid import NoTrainInceptionV3  # needs torch-fidelity

        return NoTrainInceptionV3("inception-v3-compat", [str(features)], str(path), antialias=False)
    except (ImportError, RuntimeError) as error:  # of torchvision, if it is built for another PyTorch
        reason = str(error).splitlines()[0]
        raise InputError(
            f"torch-fidelity cannot be used ({reason}); install the torchvision that goes with this PyTorch"
        ) from error


def _download() -> Path:
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    path = folder / Path(_URL).name
    if not path.exists():
        try:
            folder.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(_URL, str(path), hash_prefix=_DIGEST, progress=False)
        except (OSError, RuntimeError) as error:
            raise InputError(
                f"the weights of the FID's Inception cannot be downloaded ({error}); fetch {_URL} elsewhere and give "
                "the file, --set features=FILE"
            ) from error
    return path


def _check(path: Path) -> None:
    """Only these weights make an FID."""
    try:
        found = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); expected the file {_URL}") from error
    if not found.startswith(_DIGEST):
        raise InputError(f"{path} has SHA-256 {found[:8]}…, expected {_DIGEST}…: the file {_URL}")
