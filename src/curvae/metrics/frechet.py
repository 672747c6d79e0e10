"""Fréchet distances between sets of images, on the features of any network. FID is the name of one of them only."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from curvae._checks import a_kind, an_answer
from curvae._extras import require
from curvae._repr import OneLine
from curvae._typing import Float, Tensor
from curvae.data.pixels import as_images
from curvae.errors import InputError
from curvae.metrics.codes import deployed

if TYPE_CHECKING:
    from torchmetrics.image.fid import FrechetInceptionDistance

Images = Tensor | np.ndarray
"""A batch, uint8 from 0 to 255 or floating point from 0 to 1; extractors are given the latter, on the device and in the
type of their first floating-point parameter or buffer."""


@dataclass(frozen=True, eq=False, repr=False)
class Statistics(OneLine):
    """All that a Fréchet distance knows of a set of images.

    Attributes:
        mean: of the features, ``[F]`` float64.
        covariance: of the features, ``[F, F]`` float64, with N − 1 in the denominator.
        count: N, the number of images.
    """

    mean: Float[Tensor, " F"]
    covariance: Float[Tensor, "F F"]
    count: int


def statistics(extractor: nn.Module, images: Iterable[Images]) -> Statistics:
    """Of one set.

    Args:
        extractor: images in [0, 1] to features ``[B, F]``, used in eval mode, with the int ``num_features``.
        images: batches of the set, uint8 or floating point in [0, 1], at least two images.

    Raises:
        InputError: fewer than two images, images that are not on this scale, one batch in the place of batches, or
            features that are not finite.

    Example:
        >>> class Pixels(nn.Flatten):
        ...     num_features = 4
        >>> found = statistics(Pixels(), [torch.rand(30, 1, 2, 2), torch.rand(20, 1, 2, 2)])
        >>> found.mean.shape, found.covariance.shape, found.count
        (torch.Size([4]), torch.Size([4, 4]), 50)
    """
    metric = _metric(extractor)
    for batch in _batches(images):
        metric = _seen(metric, batch)
    return _statistics(metric)


def growing(extractor: nn.Module, images: Iterable[Images], counts: Sequence[int]) -> list[Statistics]:
    """Of the first images of a set, for several numbers of them, with every image looked at once.

    Args:
        extractor: as for :func:`statistics`.
        images: batches of the set, at least as many as the largest count.
        counts: ascending, each ≥ 2.

    Raises:
        InputError: too few images, images that are not on this scale, features that are not finite, or counts that do
            not ascend from 2.

    Example:
        >>> class Pixels(nn.Flatten):
        ...     num_features = 4
        >>> [one.count for one in growing(Pixels(), torch.rand(50, 1, 2, 2).split(20), (5, 30))]
        [5, 30]
    """
    if not counts or list(counts) != sorted(set(counts)) or counts[0] < 2:
        raise InputError(f"the numbers of images are {tuple(counts)}; expected ascending whole numbers >= 2")
    metric, found, seen = _metric(extractor), list[Statistics](), 0
    for batch in _batches(images):
        inside = [count - seen for count in counts[len(found) :] if count <= seen + len(batch)]
        start = 0
        for end in inside:
            metric = _seen(metric, batch[start:end])
            found.append(_statistics(metric))
            start = end
        if len(found) == len(counts):
            return found
        metric = _seen(metric, batch[start:])
        seen += len(batch)
    raise InputError(f"there are {seen} images in a set; expected at least {counts[-1]}")


def between(first: Statistics, second: Statistics) -> float:
    r"""$\|\mu_1-\mu_2\|^2+\mathrm{tr}(C_1+C_2-2(C_1C_2)^{1/2})$, the Fréchet distance of two sets.

    0 for equal statistics, unbounded above, in squared units of the features, symmetric. From few images it is too
    large, the more so the fewer (Bińkowski et al. 2018): compare only distances of the same number of images. It is the
    FID (Heusel et al. 2017) only on the features of the paper's Inception network, and must not be called so on any
    other.

    Raises:
        InputError: the two are of different features.

    Example:
        >>> one = Statistics(torch.zeros(2).double(), torch.eye(2).double(), 100)
        >>> other = Statistics(torch.tensor([3.0, 4.0]).double(), 4 * torch.eye(2).double(), 100)
        >>> round(between(one, other), 6)   # 5² + 2 · (1 − 2)²
        27.0
    """
    if first.mean.shape != second.mean.shape:
        raise InputError(
            f"the sets have {len(first.mean)} and {len(second.mean)} features; expected the same extractor for both"
        )
    metric = _metric(_Nothing(len(first.mean)))
    _fill(metric, "real", first)
    _fill(metric, "fake", second)
    metric.orig_dtype = torch.float64  # of the features that an update would have seen
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that nothing was updated: the sums were given
        found = float(metric.compute())
    # the sum of roots of eigenvalues is off by rounding, to either side
    return max(0.0, found)


class FrechetDistance:
    """How far sets of images are from a reference set, whose statistics are computed once; see :func:`between`.

    Args:
        extractor: images in [0, 1] to features ``[B, F]``, used in eval mode, with the int ``num_features``.
        reference: batches of the reference set, uint8 or floating point in [0, 1], at least two images, or its
            statistics.

    Raises:
        InputError: fewer than two images, or images that are not on this scale.

    Example:
        >>> class Pixels(nn.Flatten):
        ...     num_features = 4
        >>> images = torch.rand(50, 1, 2, 2, generator=torch.Generator().manual_seed(0))
        >>> distance = FrechetDistance(Pixels(), images.split(20))
        >>> distance([images]) < 1e-6 < distance([0.5 * images])
        True
    """

    def __init__(self, extractor: nn.Module, reference: Iterable[Images] | Statistics) -> None:
        self.extractor = extractor
        self.reference = reference if isinstance(reference, Statistics) else statistics(extractor, reference)

    def __call__(self, images: Iterable[Images]) -> float:
        """The distance of a set of at least two images, ≥ 0.

        Raises:
            InputError: fewer than two images, images that are not on this scale, or features that are not finite.
        """
        return between(self.reference, statistics(self.extractor, images))


def _batches(images: Iterable[Images]) -> Iterable[Images]:
    if isinstance(images, Tensor | np.ndarray) and images.ndim < 5:
        raise InputError(
            f"images are one array of shape {tuple(images.shape)}; expected batches, images.split(100) say"
        )
    return images


class _Nothing(nn.Module):
    """In an extractor's place where there are features already."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features


class _Checked(nn.Module):
    """An extractor whose answers are looked at."""

    def __init__(self, extractor: nn.Module) -> None:
        super().__init__()
        number = getattr(extractor, "num_features", None)
        if not isinstance(number, int) or number < 1:
            raise InputError(
                f"the extractor, {a_kind(extractor)}, has no num_features >= 1; expected how many features it gives of "
                "an image, a whole number"
            )
        self.extractor, self.num_features = extractor, number

    def forward(self, images: Tensor) -> Tensor:
        """Features ``[B, F]``, or ``[F]`` of a single image."""
        features = self.extractor(images)
        if not isinstance(features, Tensor):
            raise InputError(f"the extractor returned {an_answer(features)}; expected one tensor [B, F]")
        shape, wanted = tuple(features.shape), (len(images), self.num_features)
        if shape != wanted and (len(images), *shape) != (1, *wanted[1:]):
            raise InputError(f"the extractor's features have shape {shape}; expected {wanted}, its num_features")
        return features


def _metric(extractor: nn.Module) -> FrechetInceptionDistance:
    require("a Fréchet distance needs", "torchmetrics")
    from torchmetrics.image.fid import FrechetInceptionDistance  # slow to import, and of an extra

    # a distance is of the sets that it is given, in whichever processes it is computed
    return FrechetInceptionDistance(feature=_Checked(extractor), normalize=True, sync_on_compute=False)


@torch.no_grad()
def _seen(metric: FrechetInceptionDistance, batch: Images) -> FrechetInceptionDistance:
    images = as_images(batch)
    held = chain(metric.inception.parameters(), metric.inception.buffers())
    like = next((each for each in held if each.is_floating_point()), None)
    if len(images):
        images = images if like is None else images.to(like)  # and not the extractor to them: it is the caller's
        metric = metric.to(images.device)
        with deployed(metric.inception):
            metric.update(images, real=True)
    return metric


def _statistics(metric: FrechetInceptionDistance) -> Statistics:
    """From its sums of features and of their products."""
    count = int(metric.real_features_num_samples)
    if count < 2:
        raise InputError(f"there are {count} images in a set; expected at least 2 for a covariance")
    total, products = metric.real_features_sum.cpu(), metric.real_features_cov_sum.cpu()
    if not bool(total.isfinite().all() and products.isfinite().all()):
        raise InputError("features of the images are not finite; look at the images; the model may have diverged")
    mean = total / count
    return Statistics(mean, (products - count * mean.outer(mean)) / (count - 1), count)


def _fill(metric: FrechetInceptionDistance, side: str, known: Statistics) -> None:
    """The sums that have these statistics."""
    mean, count = known.mean, known.count
    setattr(metric, f"{side}_features_sum", count * mean)
    setattr(metric, f"{side}_features_cov_sum", (count - 1) * known.covariance + count * mean.outer(mean))
    setattr(metric, f"{side}_features_num_samples", torch.tensor(count))
