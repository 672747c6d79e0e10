"""Which latents are used, against NumPy and closed forms."""

import numpy as np
import pytest
import torch
from torch import nn

from curvae import Autoencoder
from curvae.errors import InputError
from curvae.metrics import Implied, active_units, codes, unit_divergence
from curvae.posteriors import Diagonal, Full, Structure

pytestmark = pytest.mark.usefixtures("float64", "seed")


def model(structure: Structure | None = None) -> Autoencoder:
    encoder = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 6))
    decoder = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 5))
    return Autoencoder(encoder, decoder, latents=3, structure=structure)


def test_variance_is_numpys_whatever_the_batches() -> None:
    net, x = model(), torch.randn(57, 5)
    oracle = net.encode(x).detach().numpy().var(0, ddof=1)
    for size in (7, 57, 1000):
        np.testing.assert_allclose(active_units(net, x, batch_size=size).variance, oracle, rtol=1e-12)


def test_the_threshold_decides() -> None:
    net, x = model(), torch.randn(400, 5)
    with torch.no_grad():
        net.mean_head.weight *= torch.tensor([[10.0], [1e-3], [10.0]])
    found = active_units(net, x)
    assert found.active.tolist() == [True, False, True]
    assert found.count == 2
    assert active_units(net, x, threshold=float(found.variance.max())).count == 0


def test_divergence_sums_to_the_kl_for_mean_field_and_falls_short_otherwise() -> None:
    x = torch.randn(30, 5)
    net = model(Diagonal())
    torch.testing.assert_close(unit_divergence(net, x, 7).sum(), net.posterior(x).kl().mean().detach())
    net = model(Full())
    q = net.posterior(x)
    lost = 0.5 * (q.covariance().diagonal(dim1=1, dim2=2).log().sum(-1) - q.covariance().logdet()).mean().detach()
    assert float(lost) > 1e-3
    torch.testing.assert_close(unit_divergence(net, x, 7).sum(), q.kl().mean().detach() - lost)


def test_divergence_of_an_unused_latent_of_a_grae_is_zero() -> None:
    net = model()
    with torch.no_grad():
        net.mean_head.weight[1] = 0
        net.mean_head.bias[1] = 0
        net.decoder[0].weight[:, 1] = 0
    found = unit_divergence(Implied(net, beta=0.1), torch.randn(30, 5))
    assert abs(float(found[1])) < 1e-12
    assert bool((found[[0, 2]] > 0.05).all())


def test_bad_input() -> None:
    with pytest.raises(InputError, match="at least 2"):
        active_units(model(), torch.randn(1, 5))
    with pytest.raises(InputError, match="threshold is -1"):
        active_units(model(), torch.randn(3, 5), threshold=-1.0)
    with pytest.raises(InputError, match="no samples"):
        unit_divergence(model(Full()), torch.randn(0, 5))
    with pytest.raises(InputError, match="not finite"):
        codes(model(), torch.full((2, 5), torch.nan))
