"""Alignment of two sets of matrices."""

import numpy as np
import pytest
import torch

from curvae.metrics import correlation, gap, off_diagonal_moments, relative_distance
from curvae.posteriors import Full, Normal

pytestmark = pytest.mark.usefixtures("float64", "seed")


def symmetric(count: int, size: int) -> torch.Tensor:
    root = torch.randn(count, size, size)
    return root @ root.mT


def test_relative_distance_is_numpys() -> None:
    p, q = symmetric(7, 4), symmetric(7, 4)
    oracle = [np.linalg.norm(a - b) / np.linalg.norm(b) for a, b in zip(p.numpy(), q.numpy(), strict=True)]
    np.testing.assert_allclose(relative_distance(p, q), oracle, rtol=1e-12)


def test_correlation_is_numpys_also_in_pieces() -> None:
    p, q = symmetric(50, 5), symmetric(50, 5)
    rows, columns = np.tril_indices(5, -1)
    oracle = np.corrcoef(p.numpy()[:, rows, columns].ravel(), q.numpy()[:, rows, columns].ravel())[0, 1]
    pieces = torch.cat([off_diagonal_moments(*sides) for sides in zip(p.split(13), q.split(13), strict=True)])
    assert correlation(pieces) == pytest.approx(oracle, rel=1e-9)


def test_correlation_without_entries_or_spread_is_none() -> None:
    assert correlation(off_diagonal_moments(symmetric(9, 1), symmetric(9, 1))) is None
    diagonal = torch.diag_embed(torch.rand(9, 3))
    assert correlation(off_diagonal_moments(diagonal, symmetric(9, 3))) is None
    for shared in symmetric(50, 2):  # the same of all data, from decoders that compute in float32
        constant = shared * (1 + 1e-7 * torch.rand(90, 1, 1))
        assert correlation(off_diagonal_moments(shared.expand(90, 2, 2), symmetric(90, 2))) is None
        assert correlation(off_diagonal_moments(symmetric(90, 2), constant)) is None


def test_gap_is_its_formula_and_vanishes_at_the_optimum() -> None:
    beta, curvature = 0.3, symmetric(6, 4)
    implied = torch.eye(4) + curvature / beta
    q = Normal(torch.randn(6, 4), Full().factor(torch.randn(6, 10), 4))
    for value, target, sigma in zip(gap(implied, q, beta), implied.numpy(), q.covariance().numpy(), strict=True):
        product = target @ sigma
        oracle = 0.5 * beta * (np.trace(product) - np.linalg.slogdet(product)[1] - 4)
        assert float(value) == pytest.approx(oracle, rel=1e-9)
        assert oracle > 0
    best = Normal(q.mean, Full().optimal(curvature, beta))
    torch.testing.assert_close(gap(implied, best, beta), torch.zeros(6), atol=1e-12, rtol=0)
