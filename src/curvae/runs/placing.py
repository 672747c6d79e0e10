"""Where the parameters of an observation model of columns are before anything is explained of the data."""

from __future__ import annotations

import torch

from curvae._typing import Bool, Float, Tensor
from curvae.data import as_float
from curvae.data.samples import Samples
from curvae.likelihoods import (
    BernoulliLogits,
    LearnedGaussian,
    LearnedNegativeBinomial,
    Likelihood,
    Mixed,
)
from curvae.likelihoods.base import Location, LogMean
from curvae.likelihoods.masked import unmasked
from curvae.nn.columns import dispersions, moments

# of more data the scale is that of so many, which fit in memory as floating-point numbers where all of them may not
_SEEN = 500


def counted(likelihood: Likelihood, columns: int) -> Bool[Tensor, " C"]:
    """Which columns an observation model takes for counts; on the CPU, whatever the default device is.

    Example:
        >>> from curvae.likelihoods import Gaussian, Poisson
        >>> counted(Mixed([(Gaussian(), 2), (Poisson(), 1)]), 3)
        tensor([False, False,  True])
    """
    inner = unmasked(likelihood)
    if isinstance(inner, Mixed):
        return torch.cat([counted(part.likelihood, part.columns) for part in inner.parts])
    return torch.full((columns,), isinstance(inner, LogMean), device="cpu")


def placed(
    likelihood: Likelihood, x: Float[Tensor, "N C"], outputs: int
) -> tuple[Float[Tensor, " D"], Float[Tensor, " D"]]:
    """Centre and scale of D outputs of a decoder: those of the data, as logits and logarithms where these are meant.

    An observation model that is none of these has 0 and 1. NaN stands for numbers that are missing.

    Example:
        >>> x = torch.tensor([[3.0, 0.0], [5.0, 1.0]])
        >>> placed(Mixed([(LearnedGaussian(), 1), (BernoulliLogits(), 1)]), x, 2)
        (tensor([4., 0.]), tensor([1., 1.]))
    """
    inner = unmasked(likelihood)
    if isinstance(inner, Mixed):
        pieces = x.split([part.columns for part in inner.parts], 1)
        found = [placed(part.likelihood, piece, part.outputs) for part, piece in zip(inner.parts, pieces, strict=True)]
        return torch.cat([centre for centre, _ in found]), torch.cat([scale for _, scale in found])
    centre, scale = moments(x)
    if isinstance(inner, Location):
        return centre, scale
    if isinstance(inner, LogMean):
        return (centre + 1e-2).log(), torch.ones_like(scale)
    if isinstance(inner, BernoulliLogits):
        return (centre * 0.98 + 0.01).logit(), torch.ones_like(scale)
    return x.new_zeros(outputs), x.new_ones(outputs)


def spread(x: Float[Tensor, "N *D"]) -> Float[Tensor, ""]:
    """Root mean square of what was observed, less each output's mean; 1 where nothing varies.

    Example:
        >>> spread(torch.tensor([[0.0, 4.0], [2.0, 4.0], [torch.nan, 4.0]]))
        tensor(0.6325)
    """
    centre = x.nanmean(0)
    rounding = 10 * torch.finfo(x.dtype).eps * centre.abs()
    varies = ~((x - centre).square().nanmean(0).sqrt() <= rounding)
    found = ((x - centre) * varies).square().nanmean().sqrt()
    return torch.where(found > 0, found, torch.ones_like(found))  # NaN where nothing was observed


@torch.no_grad()
def start(likelihood: Likelihood, x: Float[Tensor, "N *D"]) -> None:
    """Put what an observation model learns of the data where nothing is explained of them.

    A smaller noise scale makes the networks' task stiff before they have begun, and at a larger one no latent is worth
    its cost.
    """
    inner = unmasked(likelihood)
    if isinstance(inner, Mixed):
        for part, piece in zip(inner.parts, x.split([part.columns for part in inner.parts], 1), strict=True):
            start(part.likelihood, piece)
    elif isinstance(inner, LearnedGaussian):
        inner.start(moments(x)[1] if inner.log_sigma.dim() else spread(x))
    elif isinstance(inner, LearnedNegativeBinomial):
        inner.log_dispersion.copy_(dispersions(x).log())


def begin_noise(likelihood: Likelihood, train: Tensor | Samples) -> None:
    """Put one noise scale that is learned, and stands where it is by default, where the training half is."""
    inner = unmasked(likelihood)
    if isinstance(inner, LearnedGaussian) and repr(inner) == repr(LearnedGaussian()):
        start(inner, as_float(train[:: -(-len(train) // _SEEN)]))
