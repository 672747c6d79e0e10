"""A model whose posterior the test chooses, and dense references."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor
from torch.func import hessian, jacrev

from curvae.likelihoods import Likelihood
from curvae.posteriors import BlockDiagonal, Diagonal, Factor, Normal, Structure


@dataclass(frozen=True)
class Fixed:
    """Codes and a covariance given from outside; any function for a decoder."""

    decoder: Callable[[Tensor], Tensor]
    mean: Tensor
    factor: Factor

    def posterior(self, x: Tensor) -> Normal:
        return Normal(self.mean, self.factor)

    def encode(self, x: Tensor) -> Tensor:
        return self.mean

    def decode(self, z: Tensor) -> Tensor:
        return self.decoder(z)


@pytest.fixture
def fixed() -> type[Fixed]:
    return Fixed


@pytest.fixture
def group() -> Iterator[None]:
    """A process group of one."""
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


def _dense_curvature(decoder: Callable[[Tensor], Tensor], z: Tensor, x: Tensor, likelihood: Likelihood) -> Tensor:
    """M = Jᵀ (−H) J of each sample by reverse mode, with the D × D matrix in full."""
    found = []
    for i in range(len(z)):
        jacobian = jacrev(lambda p: decoder(p[None])[0])(z[i]).reshape(-1, z.shape[1])
        outer = hessian(lambda e, i=i: likelihood.nll(e[None], x[i : i + 1])[0])(decoder(z[i : i + 1])[0])
        found.append(jacobian.mT @ outer.reshape(len(jacobian), -1) @ jacobian)
    return torch.stack(found)


@pytest.fixture
def dense_curvature() -> Callable[[Callable[[Tensor], Tensor], Tensor, Tensor, Likelihood], Tensor]:
    return _dense_curvature


def _within(structure: Structure, curvature: Tensor) -> Tensor:
    latents = curvature.shape[-1]
    size = structure.size if isinstance(structure, BlockDiagonal) else 1 if isinstance(structure, Diagonal) else latents
    block = torch.arange(latents) // size
    return curvature * (block[:, None] == block)


@pytest.fixture
def within() -> Callable[[Structure, Tensor], Tensor]:
    """The entries of M that a structure sees."""
    return _within
