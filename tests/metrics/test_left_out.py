"""A decoder that is flat at the codes is told from one of which the expansion holds."""

import pytest
import torch
from torch import nn

from curvae import Autoencoder, objectives, posteriors
from curvae.metrics.left_out import flat_at_codes
from curvae.objectives import GRAE

X = torch.cat([torch.full((16, 6), -1.0), torch.full((16, 6), 1.0)])


class Steep(nn.Module):
    """Between −1 and 1, where the codes are, as steep as is asked for."""

    def __init__(self, slope: float) -> None:
        super().__init__()
        self.slope = slope

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return torch.tanh(self.slope * z[:, :1]).expand(-1, 6) / torch.tanh(torch.tensor(self.slope))


def model(slope: float, latents: int = 1) -> Autoencoder:
    encoder = nn.Linear(6, latents, bias=False)
    nn.init.constant_(encoder.weight, 1 / 6)
    return Autoencoder(encoder, Steep(slope), latents, head=False)


@pytest.mark.parametrize("structure", [posteriors.Full(), posteriors.Diagonal()])
def test_it_is_the_cost_of_noise_by_quadrature(structure: posteriors.Structure) -> None:
    """σ is 1 where the Jacobian vanishes; E[tanh] over it, and so the cost, by quadrature."""
    told = flat_at_codes(model(20.0), X, GRAE(0.2, structure=structure))
    assert told is not None
    z = 1 + torch.linspace(-8, 8, 100_001, dtype=torch.float64)
    density = torch.exp(-((z - 1) ** 2) / 2) / (2 * torch.pi) ** 0.5
    cost = float(torch.trapezoid(density * 3 * (torch.tanh(20 * z) - 1) ** 2, z))
    assert float(told.split()[7]) == pytest.approx(cost, rel=0.5)  # of 8 draws for each sample
    assert "the penalty is" in told


def test_none_where_the_expansion_holds_or_says_nothing() -> None:
    assert flat_at_codes(model(0.3), X, GRAE(0.2)) is None
    assert flat_at_codes(model(20.0), X, GRAE(0.2, decoder_weight=0.1)) is None
    assert flat_at_codes(model(20.0, latents=65), X, GRAE(0.2)) is None
    assert flat_at_codes(model(20.0), X[:1], GRAE(0.2)) is None


def test_modes_and_generators_stay() -> None:
    net, state = model(20.0).train(), torch.get_rng_state()
    assert flat_at_codes(net, X, objectives.GRAE(0.2))
    assert net.training
    assert torch.equal(state, torch.get_rng_state())
