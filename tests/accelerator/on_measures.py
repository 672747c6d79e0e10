"""What is asked of a model that lies there, of data that lie there or not."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from device import NAME, Accelerator
from torch import nn

import curvae
from curvae import Autoencoder, curvature, geometry, likelihoods, metrics, posteriors
from curvae.curvature import Linearised

GAUSSIAN = likelihoods.Gaussian()
Measure = Callable[[Autoencoder, torch.Tensor], Any]


def model(structure: Any = None) -> Autoencoder:
    torch.manual_seed(0)
    decoder = nn.Sequential(nn.Linear(4, 64), nn.Unflatten(1, (4, 4, 4)), nn.SiLU(), nn.ConvTranspose2d(4, 1, 4, 2, 1))
    return Autoencoder(nn.Sequential(nn.Flatten(), nn.Linear(64, 16)), decoder, latents=4, structure=structure).eval()


def first(values: Any) -> torch.Tensor:
    return torch.as_tensor(values).detach().cpu().double()


OF_DATA: dict[str, Measure] = {
    "codes": metrics.codes,
    "active units": lambda at, x: metrics.active_units(at, x).variance,
    "evaluate": lambda at, x: metrics.evaluate(
        at, x, 0.2, GAUSSIAN, posteriors.Diagonal(), generator=torch.Generator(next(at.parameters()).device)
    ).taylor.mean,
    "inspect": lambda at, x: curvae.inspect(at, x, 0.2).log_det.value,
    "nll": lambda at, x: metrics.importance_weighted_nll(
        metrics.Implied(at, 0.2, GAUSSIAN), x, GAUSSIAN, samples=20,
        generator=torch.Generator(next(at.parameters()).device).manual_seed(0),
    ).nll,
}  # fmt: skip
OF_CODES: dict[str, Measure] = {
    "regulariser": lambda at, z: curvae.regulariser(at.decode, z, 0.2),
    "log-determinant": lambda at, z: curvature.log_determinant(
        Linearised(at.decode, z, z.new_zeros(len(z), 1, 8, 8), GAUSSIAN), 0.2, products=8
    ).value,
    "jacobian": lambda at, z: curvature.jacobian(at.decode, z),
    "columns": lambda at, z: curvature.columns(at.decode, z, torch.tensor([[0], [3]], device=z.device)),
    "pullback": lambda at, z: geometry.pullback(at.decode, z),
    "christoffel": lambda at, z: geometry.christoffel(lambda point: geometry.pullback(at.decode, point), z),
    "flatness": lambda at, z: geometry.affine_flatness(geometry.pullback(at.decode, z)),
    "geodesic": lambda at, z: geometry.geodesic(
        lambda curve: geometry.energy(at.decode, curve), z[:1], z[1:], nodes=5, iterations=5
    ).curve,
    "implied": lambda at, z: metrics.Implied(at, 0.2, GAUSSIAN, refine=2).posterior(at.decode(z)).mean,
}  # fmt: skip


@pytest.mark.parametrize("here", [False, True], ids=["data on the CPU", "data there"])
@pytest.mark.parametrize("name", OF_DATA)
def test_of_data(name: str, here: bool, accelerator: Accelerator) -> None:
    x = torch.rand(20, 1, 8, 8)
    expected = first(OF_DATA[name](model(), x))
    found = first(OF_DATA[name](model().to(NAME), x.to(NAME) if here else x))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", OF_CODES)
def test_of_codes(name: str, accelerator: Accelerator) -> None:
    z = torch.randn(2, 4)
    found = OF_CODES[name](model().to(NAME), z.to(NAME))
    torch.testing.assert_close(first(found), first(OF_CODES[name](model(), z)), rtol=1e-3, atol=1e-4)


def test_samples_are_there(accelerator: Accelerator) -> None:
    assert model(posteriors.Full()).to(NAME).sample(3).device.type == NAME
