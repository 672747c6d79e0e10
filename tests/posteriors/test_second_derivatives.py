"""Derivatives of derivatives: right, or refused, never a number of the first order taken for more."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from curvae.curvature.gauss_newton import column_norms
from curvae.errors import DerivativeError
from curvae.posteriors import Banded, BlockDiagonal, Diagonal, Full, Shared, Structure

pytestmark = pytest.mark.usefixtures("float64")

BETA = 0.5


def _roots(kind: str) -> Tensor:
    """Jacobians at which eigenvalues coincide, columns are zero, or nothing is special."""
    torch.manual_seed(1)
    root = torch.randn(2, 5, 4)
    match kind:
        case "a column of zeros":
            root[..., 1] = 0
        case "two equal columns":
            root[..., 3] = root[..., 0]
        case "orthonormal columns":
            root = torch.linalg.qr(root)[0]
        case "zero":
            root = torch.zeros_like(root)
    return root.requires_grad_()


KINDS = ["generic", "a column of zeros", "two equal columns", "orthonormal columns", "zero"]


@pytest.mark.covering
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("structure", [Diagonal(), BlockDiagonal(3), Full(), Shared(Full())], ids=repr)
def test_closed_forms_have_them(structure: Structure, kind: str) -> None:
    root = _roots(kind)
    assert gradgradcheck(lambda t: structure.penalty_of_root(t, BETA), root)
    curvature = (root.mT @ root).detach().requires_grad_()

    def of_curvature(m: Tensor) -> Tensor:
        return structure.penalty((m + m.mT) / 2 + 0.1 * torch.eye(4), BETA)

    assert gradcheck(of_curvature, curvature, check_forward_ad=True)
    assert gradgradcheck(of_curvature, curvature)
    hessian = torch.func.hessian(of_curvature)(curvature.detach()[:1]).reshape(16, 16)
    twice = torch.func.jacrev(torch.func.jacrev(of_curvature))(curvature.detach()[:1]).reshape(16, 16)
    torch.testing.assert_close(hessian, twice)


@pytest.mark.parametrize("kind", KINDS)
def test_the_trace_has_them(kind: str) -> None:
    assert gradgradcheck(column_norms, _roots(kind))


def _banded_root(root: Tensor) -> Tensor:
    return Banded(1).penalty_of_root(root, BETA)


def _banded_curvature(root: Tensor) -> Tensor:
    return Banded(1).penalty(root.mT @ root, BETA)


def _shared(root: Tensor) -> Tensor:
    return Shared(Banded(1)).penalty_of_root(root, BETA)


def _beyond_the_gram_matrix(root: Tensor) -> Tensor:
    return Full().penalty_of_root(root, 1e-10)


REFUSED = [_banded_root, _banded_curvature, _shared, _beyond_the_gram_matrix]


@pytest.mark.parametrize("penalty", REFUSED)
def test_what_rests_on_something_held_fixed_refuses(penalty: Callable[[Tensor], Tensor]) -> None:
    root = _roots("generic")[:1].detach().requires_grad_()
    (plain,) = torch.autograd.grad(penalty(root).sum(), root)
    (kept,) = torch.autograd.grad(penalty(root).sum(), root, create_graph=True)
    torch.testing.assert_close(kept, plain)  # asking for a graph alone is no offence
    message = "has first derivatives only, in reverse mode"
    with pytest.raises(DerivativeError, match=message):
        torch.autograd.grad(kept.square().sum(), root, retain_graph=True)
    with pytest.raises(DerivativeError, match=message):
        kept.square().sum().backward()

    def total(t: Tensor) -> Tensor:
        return penalty(t).sum()

    detached = root.detach()
    torch.testing.assert_close(torch.func.grad(total)(detached), plain)
    for transform in (
        torch.func.hessian,
        torch.func.jacfwd,
        lambda f: torch.func.grad(lambda t: torch.func.grad(f)(t).sum()),
    ):
        with pytest.raises(DerivativeError, match=message):
            transform(total)(detached)


def test_an_optimal_covariance_without_a_cholesky_factor_has_no_gradient_and_says_so() -> None:
    torch.manual_seed(0)
    root = torch.randn(3, 5, 2) @ torch.randn(3, 2, 5)
    curvature = (root.mT @ root).float().requires_grad_()
    factor = Full().optimal(curvature, 1e-12)
    with pytest.raises(DerivativeError, match="beta below the rounding of M has no derivatives"):
        factor.log_det().sum().backward()
