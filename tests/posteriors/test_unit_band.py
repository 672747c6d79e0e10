"""The search over unit banded matrices, against PyTorch's own derivatives and against SciPy's trust region."""

import numpy as np
import pytest
import scipy.optimize
import torch

from curvae.posteriors import unit_band

LATENTS = 6


def problem(seed: int, width: int, decades: float = 1.0):
    """Unit columns whose singular values span some decades, a start, and the band."""
    generator = torch.Generator().manual_seed(seed)
    root = torch.randn(4, 20, LATENTS, generator=generator, dtype=torch.double)
    turn = torch.linalg.qr(torch.randn(LATENTS, LATENTS, generator=generator, dtype=torch.double)).Q
    root = torch.linalg.qr(root * torch.logspace(0, -decades, LATENTS, dtype=torch.double) @ turn).R
    rows, columns = torch.tril_indices(LATENTS, LATENTS, -1)
    near = rows - columns <= width
    inside = (rows[near], columns[near])
    start = 0.3 * torch.randn(4, int(near.sum()), generator=generator, dtype=torch.double)
    return root / torch.linalg.vector_norm(root, dim=1, keepdim=True), start, inside


def objective(unit, inside):
    identity = torch.eye(LATENTS, dtype=torch.double)

    def value(entries):
        moved = unit @ torch.linalg.inv(identity.index_put(inside, entries))
        return moved.square().sum(0).log().sum()

    return value


@pytest.mark.parametrize("width", [1, 2, 5])
def test_derivatives_are_pytorchs(width):
    unit, start, inside = problem(width, width)
    value, gradient, hessian, scale = unit_band._derivatives(unit, start, inside)
    for k in range(len(unit)):
        f = objective(unit[k], inside)
        torch.testing.assert_close(value[k], f(start[k]))
        torch.testing.assert_close(gradient[k] * scale[k], torch.func.grad(f)(start[k]))
        expected = torch.func.hessian(f)(start[k])
        torch.testing.assert_close(hessian[k] * scale[k] * scale[k].unsqueeze(-1), expected)


@pytest.mark.parametrize("width", [1, 2, 4])
def test_finds_what_scipys_trust_region_finds(width):
    """Well-conditioned problems, from a start near the solution: one minimum for both."""
    unit, _, inside = problem(10 + width, width, decades=0.5)
    start = torch.zeros(4, len(inside[0]), dtype=torch.double)
    found = unit_band.minimise(unit, start, inside)[:, *inside]
    for k in range(len(unit)):
        f = objective(unit[k], inside)
        result = scipy.optimize.minimize(
            lambda x, f=f: f(torch.from_numpy(x)).item(),
            start[k].numpy(),
            method="trust-exact",
            jac=lambda x, f=f: torch.func.grad(f)(torch.from_numpy(x)).numpy(),
            hess=lambda x, f=f: torch.func.hessian(f)(torch.from_numpy(x)).numpy(),
            options={"gtol": 1e-10},
        )
        assert f(found[k]).item() == pytest.approx(result.fun, abs=1e-9)
        np.testing.assert_allclose(found[k].numpy(), result.x, atol=1e-6)


@pytest.mark.parametrize("width", [1, 2, 4])
@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 5))])
def test_ends_where_nothing_small_is_better_when_nearly_singular(seed, width):
    unit, start, inside = problem(100 + seed, width, decades=3)
    entries = unit_band.minimise(unit, start, inside)[:, *inside]
    value, gradient, hessian, _ = unit_band._derivatives(unit, entries, inside)
    assert (torch.linalg.eigvalsh(hessian) > 0).all()
    # what one more undamped step would promise
    promised = (gradient * torch.linalg.solve(hessian, gradient)).sum(-1) / 2
    assert (promised.abs() < 1e-9 * (1 + value.abs())).all()


def test_many_unknowns_go_in_parts_without_a_difference(monkeypatch):
    unit, start, inside = problem(7, 2)
    together = unit_band.minimise(unit, start, inside)
    monkeypatch.setattr(unit_band, "ENTRIES", 1)
    torch.testing.assert_close(unit_band.minimise(unit, start, inside), together, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("width", [1, 2, 4])
def test_many_unknowns_are_found_by_first_order(width, monkeypatch):
    unit, start, inside = problem(20 + width, width, decades=0.5)
    expected = unit_band.minimise(unit, start, inside)
    monkeypatch.setattr(unit_band, "UNKNOWNS", 0)
    torch.testing.assert_close(unit_band.minimise(unit, 0.1 * start, inside), expected, rtol=1e-5, atol=1e-6)


def test_an_exact_start_needs_no_hessian(monkeypatch):
    """As with every entry on the band, where the Hessian would be the largest."""
    unit, _, inside = problem(8, LATENTS)
    reverse = torch.linalg.cholesky((unit.mT @ unit).flip(-1, -2)).flip(-1, -2).mT  # lower: unit^T unit = L^T L
    lower = reverse / reverse.diagonal(dim1=-2, dim2=-1).unsqueeze(-1)
    monkeypatch.delattr(unit_band, "_derivatives")
    torch.testing.assert_close(unit_band.minimise(unit, lower[:, *inside], inside), lower)
