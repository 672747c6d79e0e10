"""Fréchet distances between sets of images, on the features of any network. FID is the name of one of them only."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn
from torchmetrics.image.fid import FrechetInceptionDistance

from curvae._typing import Tensor
from curvae.errors import InputError


class FrechetDistance:
    r"""How far sets of images are from a reference set, whose statistics are computed once.

    $\|\mu_1-\mu_2\|^2+\mathrm{tr}(C_1+C_2-2(C_1C_2)^{1/2})$ with the means and covariances of the features: 0 for equal
    ones, unbounded above, in squared units of the features. From few images it is too large, the more so the fewer
    (Bińkowski et al. 2018): compare only distances of the same number of images. It is the FID (Heusel et al. 2017)
    only on the features of the paper's Inception network, and must not be called so on any other.

    Args:
        extractor: images to features ``[B, F]``, in eval mode, with the int ``num_features``.
        reference: batches of the reference set, at least two images.

    Raises:
        InputError: fewer than two images.

    Example:
        >>> class Pixels(nn.Flatten):
        ...     num_features = 4
        >>> images = torch.rand(50, 1, 2, 2, generator=torch.Generator().manual_seed(0))
        >>> distance = FrechetDistance(Pixels(), images.split(20))
        >>> distance([images]) < 1e-6 < distance([0.5 * images])
        True
    """

    def __init__(self, extractor: nn.Module, reference: Iterable[Tensor]) -> None:
        self._metric = FrechetInceptionDistance(feature=extractor, normalize=True, reset_real_features=False)
        self._update(reference, real=True)

    def __call__(self, images: Iterable[Tensor]) -> float:
        """The distance of a set of at least two images, ≥ 0.

        Raises:
            InputError: fewer than two images.
        """
        self._metric.reset()
        self._update(images, real=False)
        # the sum of roots of eigenvalues is off by rounding, to either side
        return max(0.0, float(self._metric.compute()))

    @torch.no_grad()
    def _update(self, batches: Iterable[Tensor], real: bool) -> None:
        count = 0
        for batch in batches:
            self._metric = self._metric.to(batch.device)
            self._metric.update(batch, real=real)
            count += len(batch)
        if count < 2:
            raise InputError(f"there are {count} images in a set; expected at least 2 for a covariance")
