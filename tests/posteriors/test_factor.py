"""Factors of covariances against dense linear algebra."""

from __future__ import annotations

import pytest
import torch

from curvae.posteriors import Along, Banded, BlockDiagonal, Diagonal, Factor, Full, Structure

pytestmark = pytest.mark.usefixtures("float64")

STRUCTURES = [
    Diagonal(),
    BlockDiagonal(1),
    BlockDiagonal(2),
    BlockDiagonal(3),
    BlockDiagonal(5),
    BlockDiagonal(7),
    Full(),
]


@pytest.fixture(params=STRUCTURES, ids=str)
def factor(request: pytest.FixtureRequest, seed: int) -> Factor:
    structure = request.param
    return structure.factor(0.7 * torch.randn(4, structure.num_parameters(5)), 5)


def test_dense_forms(factor: Factor) -> None:
    dense = factor.dense()
    covariance = torch.einsum("bij,bkj->bik", dense, dense)
    torch.testing.assert_close(factor.covariance(), covariance)
    torch.testing.assert_close(factor.precision(), torch.linalg.inv(covariance))
    torch.testing.assert_close(factor.log_det(), torch.linalg.slogdet(covariance).logabsdet)
    torch.testing.assert_close(factor.trace(), torch.einsum("bii->b", covariance))


@pytest.mark.parametrize("leading", [(), (3,), (2, 3)])
def test_apply_and_solve(factor: Factor, leading: tuple[int, ...]) -> None:
    noise = torch.randn(*leading, 4, 5)
    applied = torch.einsum("bij,...bj->...bi", factor.dense(), noise)
    torch.testing.assert_close(factor.apply(noise), applied)
    torch.testing.assert_close(factor.solve(applied), noise)


@pytest.mark.parametrize(
    "structure", [Diagonal(), BlockDiagonal(4), Full(), Banded(1), Along((2, 3), 0), Along((2, 3), 1)], ids=repr
)
def test_variances_and_other_types(structure: Structure) -> None:
    factor = structure.factor(0.3 * torch.randn(4, structure.num_parameters(6)), 6)
    torch.testing.assert_close(factor.variance(), factor.covariance().diagonal(dim1=-2, dim2=-1))
    delta = torch.randn(4, 6)
    torch.testing.assert_close(
        factor.to(torch.float32).solve(delta.float()), factor.solve(delta).float(), rtol=1e-4, atol=1e-4
    )
    triangular = not isinstance(structure, Along)
    for one in (factor.to(torch.float32), *([Factor.to(factor, torch.float32)] if triangular else [])):
        assert one.dense().dtype == torch.float32
        torch.testing.assert_close(one.dense(), factor.dense().float())
        torch.testing.assert_close(one.variance(), factor.variance().float())
