"""Beyond the paper: the same uniqueness without any sampling, from GRAE's structure alone (eq. 13 and its families).

GRAE with the diagonal structure is the mean-field ELBO with its covariance optimised away, so it should single out the
same axes; with ``Full()`` it should leave every rotation, and with ``BlockDiagonal(2)`` in four dimensions only those
within the blocks. The objective is the library's own. It is deterministic, so a quasi-Newton method takes it to its
minimum, and two starts on the same data ("twins") tell directly whether that minimum is unique.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment, minimize
from torch import nn

from curvae import Autoencoder, objectives
from curvae._typing import Float, Tensor
from curvae.identifiability.procrustes import orthogonal_procrustes, rotation_angle
from curvae.posteriors import Structure
from curvae.reproduce.uniqueness.activations import OF_TENSORS, Nonlinearity

Array = NDArray[np.float64]
PAIRINGS = (((0, 1), (2, 3)), ((0, 2), (1, 3)), ((0, 3), (1, 2)))
"""The three ways to put four axes into two blocks."""


class Decoder(nn.Module):
    """ν(Az) + b."""

    def __init__(self, nu: Nonlinearity, dimensions: int) -> None:
        super().__init__()
        self.nu = nu
        self.linear = nn.Linear(dimensions, dimensions, bias=False)
        self.offset = nn.Parameter(torch.zeros(dimensions))

    def forward(self, z: Float[Tensor, "B d"]) -> Float[Tensor, "B d"]:
        """The decoder's outputs."""
        return OF_TENSORS[self.nu](self.linear(z)) + self.offset


@dataclass(frozen=True)
class TwinSetting:
    """What is trained.

    Attributes:
        nu: output function of the data and the decoder.
        norms: column norms of W, whose columns are orthogonal; their number is the dimension.
        structure: of the covariance that GRAE optimises away.
        points: data in a trial.
        sigma: standard deviation of the observations; β is its square.
    """

    nu: Nonlinearity
    norms: tuple[float, ...]
    structure: Structure
    points: int = 2000
    sigma: float = 0.05


@dataclass(frozen=True)
class Twins:
    """Two minima on the same data from different starts.

    Attributes:
        latents: the true ones [N, d].
        means: of the two models [2, N, d].
        losses: the objective there.
    """

    latents: Tensor
    means: Tensor
    losses: tuple[float, float]

    @property
    def angle_between(self) -> float:
        """Rotation angle from one twin to the other, degrees (two dimensions only)."""
        return rotation_angle(orthogonal_procrustes(self.means[0], self.means[1]))

    @property
    def angles_to_truth(self) -> tuple[float, float]:
        """Rotation angles to the true latents, degrees (two dimensions only)."""
        first, second = (rotation_angle(orthogonal_procrustes(self.latents, m)) for m in self.means)
        return first, second


def axes_angle(reference: Float[Tensor, "N d"], latents: Float[Tensor, "N d"]) -> float:
    """The largest angle in degrees between an axis of some latents and its match in a reference, signs and order aside.

    Example:
        >>> z = torch.randn(50, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        >>> axes_angle(z, -z[:, [2, 0, 3, 1]]) < 1e-5
        True
    """
    size = orthogonal_procrustes(reference, latents).abs().numpy()
    matched = size[linear_sum_assignment(size, maximize=True)]
    return math.degrees(math.acos(min(1.0, float(matched.min()))))


def draw(setting: TwinSetting, generator: torch.Generator) -> tuple[Float[Tensor, "N d"], Float[Tensor, "N d"]]:
    """True latents and data."""
    d = len(setting.norms)

    def normal(rows: int) -> Tensor:
        return torch.randn(rows, d, dtype=torch.float64, generator=generator)

    mixing = torch.linalg.qr(normal(d)).Q * torch.tensor(setting.norms, dtype=torch.float64)
    z = normal(setting.points)
    return z, OF_TENSORS[setting.nu](z @ mixing.mT) + setting.sigma * normal(setting.points)


def train(
    setting: TwinSetting, x: Float[Tensor, "N d"], generator: torch.Generator
) -> tuple[Float[Tensor, "N d"], float]:
    """Minimise GRAE from a random start; the posterior means and the objective there."""
    d = x.shape[1]
    model = Autoencoder(nn.Linear(d, d), Decoder(setting.nu, d), latents=d).double()
    for parameter in model.parameters():
        nn.init.normal_(parameter, generator=generator)
    objective = objectives.GRAE(beta=setting.sigma**2, structure=setting.structure)
    parameters = list(model.parameters())

    def value_and_gradient(theta: Array) -> tuple[float, Array]:
        nn.utils.vector_to_parameters(torch.from_numpy(theta), parameters)
        # divided by β this is a negative ELBO: the scale at which the tolerance below means something
        loss = objective(model, x).total.mean() / setting.sigma**2
        gradients = torch.autograd.grad(loss, parameters)
        return float(loss.detach()), torch.cat([g.reshape(-1) for g in gradients]).numpy()

    start = nn.utils.parameters_to_vector(parameters).detach().numpy().copy()
    options = {"gtol": 1e-5, "maxiter": 3000}
    found = minimize(value_and_gradient, start, jac=True, method="BFGS", options=options)
    nn.utils.vector_to_parameters(torch.from_numpy(found.x), parameters)
    return model.encode(x).detach(), float(found.fun)


def twins(setting: TwinSetting, seed: int) -> Twins:
    """Draw data and minimise from two random starts.

    Example:
        >>> from curvae.posteriors import Diagonal
        >>> pair = twins(TwinSetting(Nonlinearity.IDENTITY, (2.0, 1.0), Diagonal(), points=64, sigma=0.5), seed=0)
        >>> abs(pair.angle_between) < 0.1
        True
    """
    generator = torch.Generator().manual_seed(seed)
    z, x = draw(setting, generator)
    (first, one), (second, two) = (train(setting, x, generator) for _ in range(2))
    return Twins(z, torch.stack([first, second]), (one, two))


def block_freedom(reference: Float[Tensor, "N 4"], latents: Float[Tensor, "N 4"]) -> tuple[float, tuple[float, float]]:
    """How a rotation of four latents is split by the blocks {0, 1} and {2, 3} of the inferred ones.

    Which true axes share a block is not determined by anything, so the pairing with the largest energy within blocks
    counts.

    Returns:
        the fraction of O's energy that crosses blocks (0: none), and the two angles within blocks in degrees.

    Example:
        >>> z = torch.randn(50, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        >>> block_freedom(z, z[:, [2, 0, 3, 1]])[0] < 1e-12
        True
    """
    rotation = orthogonal_procrustes(reference, latents)
    candidates = []
    for (first, second), swap in itertools.product(PAIRINGS, (False, True)):
        rows = (second, first) if swap else (first, second)
        blocks = [rotation[list(r)][:, c] for r, c in zip(rows, ([0, 1], [2, 3]), strict=True)]
        candidates.append((sum(float(b.square().sum()) for b in blocks), blocks))
    energy, blocks = max(candidates, key=lambda pair: pair[0])
    angles = tuple(rotation_angle(torch.linalg.svd(b).U @ torch.linalg.svd(b).Vh) for b in blocks)
    return 1 - energy / 4, (angles[0], angles[1])
