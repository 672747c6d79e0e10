"""Lanczos's curves in the benchmark of its accuracy, on a matrix whose logarithm is known."""

import sys
from pathlib import Path

import pytest
import torch

from curvae.curvature import Lanczos, Linearised, Signs
from curvae.likelihoods import Gaussian
from curvae.posteriors import Full

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks import accuracy


@pytest.mark.parametrize("depth", [2, 6])
def test_every_depth_from_one_run_is_the_estimator(depth: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accuracy, "DEPTHS", (2, 6))
    generator = torch.Generator().manual_seed(0)
    jacobian = torch.randn(8, 6, generator=generator, dtype=torch.float64)
    exact = jacobian.mT @ jacobian
    root, largest = accuracy._root(exact)
    assert largest == pytest.approx(torch.linalg.matrix_norm(exact, 2).item())
    spectra = accuracy._spectra(root, Signs(5), torch.Generator().manual_seed(1))
    found = accuracy._quadrature(spectra, depth, 0.3)
    z = torch.zeros(1, 6, dtype=torch.float64)
    at = Linearised(lambda z: z @ jacobian.mT, z, torch.zeros(1, 8), Gaussian())
    expected = Lanczos(depth, Signs(5)).estimate(at, Full(), 0.3, torch.Generator().manual_seed(1))
    torch.testing.assert_close(found.mean(), expected.value.squeeze())
    if depth == 6:  # the whole space: nothing of the quadrature's error is left
        probes = Signs(5).draw(z, torch.Generator().manual_seed(1))[0]
        values, vectors = torch.linalg.eigh(exact)
        logarithm = (vectors * (values / 0.3).log1p()) @ vectors.mT
        torch.testing.assert_close(found, torch.einsum("ik,ij,jk->k", probes, logarithm, probes))
