"""Probes have the identity as their second moment, and a basis removes the variance it should."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from curvae.curvature import Coordinates, Probes, Signs, Sphere, principal_basis
from curvae.errors import InputError
from curvae.likelihoods import Gaussian

pytestmark = pytest.mark.usefixtures("float64")

LATENTS = 4


def _orthonormal(rows: int, columns: int) -> torch.Tensor:
    return torch.linalg.qr(torch.randn(rows, columns))[0]


PROBES = {
    "signs": lambda count: Signs(count),
    "signs along a whole basis": lambda count: Signs(count, _orthonormal(LATENTS, LATENTS)),
    "signs along half a basis": lambda count: Signs(count, _orthonormal(LATENTS, 2)),
    "sphere": lambda count: Sphere(count),
    "coordinates": lambda count: Coordinates(count),
    "uneven coordinates": lambda count: Coordinates(count, [1.0, 2.0, 3.0, 4.0]),
}


@pytest.mark.parametrize("kind", PROBES)
def test_second_moment(kind: str, seed: int) -> None:
    count = 40_000
    probes: Probes = PROBES[kind](count)
    before = torch.random.get_rng_state()
    drawn = probes.draw(torch.zeros(2, LATENTS), torch.Generator().manual_seed(seed))
    again = probes.draw(torch.zeros(2, LATENTS), torch.Generator().manual_seed(seed))
    assert torch.equal(before, torch.random.get_rng_state())
    assert torch.equal(drawn, again)
    assert not torch.equal(drawn[0], drawn[1])
    assert drawn.shape == (2, LATENTS, count)
    products = drawn.unsqueeze(1) * drawn.unsqueeze(2)
    error = products.std(-1) / count**0.5 + 1e-12
    assert ((products.mean(-1) - torch.eye(LATENTS)).abs() < 5 * error).all()


def test_variances(seed: int) -> None:
    """The formulas in the docstrings, over many draws."""
    matrix = torch.randn(LATENTS, LATENTS)
    matrix = matrix + matrix.mT
    norm, trace, off = matrix.square().sum(), matrix.trace(), matrix - torch.diag(matrix.diagonal())
    expected = {
        Signs(100_000): 2 * off.square().sum(),
        Sphere(100_000): 2 * LATENTS / (LATENTS + 2) * (norm - trace**2 / LATENTS),
    }
    for probes, variance in expected.items():
        drawn = probes.draw(torch.zeros(1, LATENTS), torch.Generator().manual_seed(seed))[0]
        forms = ((matrix @ drawn) * drawn).sum(0)
        assert abs(forms.mean() - trace) < 5 * forms.std() / 100_000**0.5
        assert forms.var() == pytest.approx(float(variance), rel=0.05)
    vectors = torch.linalg.eigh(matrix).eigenvectors
    drawn = Signs(50, vectors).draw(torch.zeros(1, LATENTS))[0]
    torch.testing.assert_close(((matrix @ drawn) * drawn).sum(0), trace.expand(50))


def test_principal_basis(seed: int) -> None:
    decoder = nn.Sequential(nn.Linear(LATENTS, 6), nn.Tanh(), nn.Linear(6, 9))
    z, x = torch.randn(3, LATENTS), torch.randn(3, 9)
    basis = principal_basis(decoder, z, x, Gaussian(0.5), chunk_size=3)
    jacobians = torch.func.vmap(torch.func.jacrev(lambda point: decoder(point[None])[0]))(z)
    mean = (jacobians.mT @ jacobians).sum(0)
    diagonal = basis.mT @ mean @ basis
    torch.testing.assert_close(diagonal, torch.diag(diagonal.diagonal()))
    assert (diagonal.diagonal().diff() < 0).all()
    assert not basis.requires_grad
    torch.testing.assert_close(principal_basis(decoder, z, x, Gaussian(0.5), rank=2), basis[:, :2])
    with pytest.raises(InputError, match="rank is 5 but there are only 4 latents"):
        principal_basis(decoder, z, x, Gaussian(), rank=5)


def test_bad_input() -> None:
    for make in (Signs, Sphere, Coordinates):
        with pytest.raises(InputError, match="number of probes is"):
            make(0)
    for basis in (torch.ones(4, 2), torch.eye(4)[:2], 2 * torch.eye(3)):
        with pytest.raises(InputError, match="orthonormal columns"):
            Signs(1, basis)
    with pytest.raises(InputError, match="has 3 rows but there are 4 latents"):
        Signs(1, torch.eye(3)).draw(torch.zeros(1, LATENTS))
    with pytest.raises(InputError, match="Coordinates has 2 probabilities but there are 4 latents"):
        Coordinates(1, [0.5, 0.5]).draw(torch.zeros(1, LATENTS))
    with pytest.raises(InputError, match="column probabilities must be"):
        Coordinates(1, [1.0, -1.0])
