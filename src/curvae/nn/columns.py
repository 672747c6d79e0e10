"""Networks of tables whose columns have scales of their own."""

from __future__ import annotations

import torch
from torch import nn

from curvae._typing import Bool, Float, Tensor
from curvae.errors import InputError


class Standardised(nn.Module):
    """A network of columns less their centre over their scale, of counts by their logarithm first; NaN stays NaN.

    Args:
        network: of the standardised columns ``[B, C]``, and of more arguments, such as a condition, as they are.
        counts: which columns are counts, ``[C]``.

    Attributes:
        centre: of each column, zero until :meth:`fit`.
        scale: of each column, one until :meth:`fit`.

    Example:
        >>> seen = Standardised(nn.Identity(), torch.tensor([False]))
        >>> seen.fit(torch.tensor([[1.0], [5.0], [torch.nan]]))
        >>> seen(torch.tensor([[7.0]]))
        tensor([[2.]])
    """

    centre: Tensor
    scale: Tensor
    counts: Tensor

    def __init__(self, network: nn.Module, counts: Bool[Tensor, " C"]) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("counts", counts, persistent=False)
        self.register_buffer("centre", torch.zeros(len(counts)))
        self.register_buffer("scale", torch.ones(len(counts)))
        features = getattr(network, "out_features", None)
        if isinstance(features, int):
            self.out_features = features

    @torch.no_grad()
    def fit(self, x: Float[Tensor, "N C"]) -> None:
        """Take centres and scales from data."""
        centre, scale = moments(self._raw(x))
        self.centre.copy_(centre)
        self.scale.copy_(scale)

    def forward(self, x: Float[Tensor, "B C"], *beside: Tensor) -> Float[Tensor, "B *F"]:
        """The network's output."""
        return self.network((self._raw(x) - self.centre) / self.scale, *beside)

    def _raw(self, x: Tensor) -> Tensor:
        if x.shape[-1] != len(self.counts):  # a single column would be taken for all of them
            raise InputError(f"x has shape {tuple(x.shape)}; expected [B, {len(self.counts)}]")
        return torch.where(self.counts, x.clamp(min=0).log1p(), x)


class Placed(nn.Module):
    """A network with an affine map of each of its outputs behind it, to where the data are.

    Args:
        network: ``[B, *] → [B, D]``, of any arguments.
        outputs: D.

    Attributes:
        centre: of each output, zero at first.
        scale: of each output, one at first.

    Example:
        >>> Placed(nn.Identity(), 2)(torch.tensor([[1.0, 2.0]]))
        tensor([[1., 2.]])
    """

    centre: Tensor
    scale: Tensor

    def __init__(self, network: nn.Module, outputs: int) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("centre", torch.zeros(outputs))
        self.register_buffer("scale", torch.ones(outputs))

    def forward(self, *inputs: Tensor) -> Float[Tensor, "B D"]:
        """The network's output in its place."""
        return self.centre + self.scale * self.network(*inputs)


def moments(values: Float[Tensor, "N D"]) -> tuple[Float[Tensor, " D"], Float[Tensor, " D"]]:
    """Mean and standard deviation of each column's observed numbers; 0 and 1 where there is nothing to be seen.

    Example:
        >>> moments(torch.tensor([[1.0, 4.0], [3.0, 4.0], [torch.nan, 4.0]]))
        (tensor([2., 4.]), tensor([1., 1.]))
    """
    centre = values.nanmean(0).nan_to_num(0)
    scale = (values - centre).square().nanmean(0).nan_to_num(0).sqrt()
    # rounding of a constant column is no spread
    constant = scale <= 10 * torch.finfo(values.dtype).eps * centre.abs()
    return centre, scale.masked_fill(constant, 1.0)


def dispersions(counts: Float[Tensor, "N D"]) -> Float[Tensor, " D"]:
    """Of negative binomial columns by moments: variance = mean + mean²/r.

    Example:
        >>> dispersions(torch.tensor([[0.0], [8.0]]))  # mean 4, variance 16
        tensor([1.3333])
    """
    mean, scale = counts.nanmean(0).nan_to_num(0), moments(counts)[1]
    excess = (scale.square() - mean).clamp(min=1e-6)
    return (mean.square() / excess).clamp(0.1, 100.0)
