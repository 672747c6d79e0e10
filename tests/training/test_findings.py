"""What a finished training remarks on never costs the training."""

import torch
from torch import nn

from curvae import Autoencoder, objectives
from curvae.curvature import Secants
from curvae.data import Dataset
from curvae.posteriors import Diagonal
from curvae.runs import RunConfig
from curvae.training.findings import remark


class Reverse(torch.autograd.Function):
    """Of which forward mode knows nothing."""

    @staticmethod
    def forward(ctx: object, z: torch.Tensor) -> torch.Tensor:
        return z.sin()

    @staticmethod
    def backward(ctx: object, gradient: torch.Tensor) -> torch.Tensor:
        return gradient


class Opaque(nn.Module):
    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return Reverse.apply(z)  # type: ignore[no-untyped-call, no-any-return]


def test_what_cannot_be_measured_is_not_remarked_on() -> None:
    data = Dataset("toy", torch.randn(20, 2), torch.randn(20, 2), {})
    config, secants = RunConfig(data="toy"), objectives.GRAE(0.2, structure=Diagonal(), estimator=Secants(1))
    assert remark(Autoencoder(nn.Linear(2, 2), Opaque(), latents=2), secants, data, config) is None
    broken = Autoencoder(nn.Linear(2, 2), nn.Linear(2, 2), latents=2)
    nn.init.constant_(broken.encoder.weight, torch.nan)
    assert remark(broken, objectives.GRAE(0.2), data, config) is None
