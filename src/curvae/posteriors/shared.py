r"""One covariance for all data (§5.2): $\Sigma_{z\mid x}=\Sigma$."""

from __future__ import annotations

import torch
from torch import nn

from curvae._part import all_rows, mean_over_rows
from curvae._typing import Float, Int, Tensor
from curvae.posteriors.factor import Factor
from curvae.posteriors.structure import Structure


class Shared(Structure):
    r"""A structure whose covariance does not depend on the sample, which encourages a flat latent manifold.

    In an :class:`~curvae.Autoencoder` the covariance is a free parameter instead of the encoder's output. The optimum
    of (8) averaged over data is $(I+\bar M/\beta)^{-1}$ with $\bar M$ the *mean* curvature, and what it costs is
    $\log|I+\bar M/\beta|$ (or its like for the structure inside). The mean is over the batch given (on several
    devices, over that of all); because the
    log-determinant is concave, a mini-batch's value is on average below the whole data set's.

    Args:
        structure: what the shared covariance looks like.

    Example:
        >>> from curvae.posteriors import Full
        >>> curvature = torch.stack([torch.zeros(2, 2), 2 * torch.eye(2)])
        >>> Shared(Full()).penalty(curvature, beta=1.0).exp()    # |I + I| = 4 for every sample
        tensor([4., 4.])
    """

    def __init__(self, structure: Structure) -> None:
        self.structure = structure

    def num_parameters(self, latents: int) -> int:
        """Those of one covariance."""
        return self.structure.num_parameters(latents)

    def head(self, features: int, latents: int) -> nn.Module:
        """Free parameters, the same for every sample; they start at the identity."""
        return FreeParameters(self.num_parameters(latents))

    def factor(self, parameters: Float[Tensor, "B P"], latents: int) -> Factor:
        """As the structure inside."""
        return self.structure.factor(parameters, latents)

    def restrict(self, matrix: Float[Tensor, "B d d"]) -> Float[Tensor, "B d d"]:
        """As the structure inside."""
        return self.structure.restrict(matrix)

    def groups(self, latents: int) -> Int[Tensor, " d"] | None:
        """As the structure inside."""
        return self.structure.groups(latents)

    def seen(self, curvature: Float[Tensor, "B d d"]) -> Float[Tensor, "N d d"]:
        """The mean curvature's, whatever a single sample's may be."""
        return self.structure.seen(mean_over_rows(curvature).unsqueeze(0))

    def optimal(self, curvature: Float[Tensor, "B d d"], beta: float) -> Factor:
        r"""The best single covariance for the batch, once for each sample."""
        return self.structure.optimal(mean_over_rows(curvature).expand_as(curvature), beta)

    def penalty(self, curvature: Float[Tensor, "B d d"], beta: float) -> Float[Tensor, " B"]:
        r"""The penalty of the batch's mean curvature, for each sample."""
        return self.structure.penalty(mean_over_rows(curvature).unsqueeze(0), beta).expand(len(curvature))

    def penalty_of_root(self, root: Float[Tensor, "B *D d"], beta: float) -> Float[Tensor, " B"]:
        r"""The same from the columns: those of all data below each other are a root of the sum of curvatures."""
        roots = all_rows(root)
        stacked = roots.flatten(0, -2) / len(roots) ** 0.5
        return self.structure.penalty_of_root(stacked.unsqueeze(0), beta).expand(len(root))

    def __repr__(self) -> str:
        return f"Shared({self.structure})"


class FreeParameters(nn.Module):
    """Parameters that do not look at the features; zeros at first.

    Example:
        >>> FreeParameters(3)(torch.randn(2, 16)).shape
        torch.Size([2, 3])
    """

    def __init__(self, count: int) -> None:
        super().__init__()
        self.values = nn.Parameter(torch.zeros(count))

    def forward(self, features: Float[Tensor, "B *F"]) -> Float[Tensor, "B P"]:
        """The same row for every sample."""
        return self.values.expand(len(features), -1)
