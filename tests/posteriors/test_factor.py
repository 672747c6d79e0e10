"""Factors of covariances against dense linear algebra."""

from __future__ import annotations

import pytest
import torch

from curvae.posteriors import BlockDiagonal, Diagonal, Factor, Full

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
