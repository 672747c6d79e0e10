"""The penalty at the edge of floating point: every digit against 60-digit arithmetic, value and gradient."""

from __future__ import annotations

import math

import mpmath
import pytest
import torch
from torch import Tensor, nn

from curvae.curvature import Exact, Linearised
from curvae.errors import IndefiniteError
from curvae.likelihoods import Gaussian
from curvae.posteriors import BlockDiagonal, Diagonal, Full, Shared, Structure

BETAS = [1e-10, 1e-7, 1e-3, 1.0, 1e4]
STRUCTURES = [Diagonal(), BlockDiagonal(3), Full()]


def _with_condition(condition: float, outputs: int = 7, latents: int = 4) -> Tensor:
    left, right = (torch.linalg.qr(torch.randn(n, latents, dtype=torch.float64))[0] for n in (outputs, latents))
    return (left * torch.logspace(0, -math.log10(condition), latents, dtype=torch.float64)) @ right.T


def _jacobian(kind: str) -> Tensor:
    """Float32 Jacobians that are hard in one way each."""
    torch.manual_seed(KINDS.index(kind))
    dense = torch.randn(7, 4, dtype=torch.float64)
    match kind:
        case "cond 1":
            dense = _with_condition(1)
        case "cond 1e4":
            dense = _with_condition(1e4)
        case "cond 1e8":
            dense = _with_condition(1e8)
        case "columns of lengths 1 to 1e-8":
            dense = dense * torch.logspace(0, -8, 4)
        case "two equal columns":
            dense[:, 1] = dense[:, 0]
        case "rank 2, as a float32 keeps it":
            dense = dense[:, :2] @ torch.randn(2, 4, dtype=torch.float64)
        case "a column of zeros":
            dense[:, 2] = 0
        case "two live outputs":
            dense[2:] = 0
        case "d = 1":
            dense = dense[:, :1]
        case "d > D":
            dense = torch.randn(3, 8, dtype=torch.float64)
        case "zero":
            dense = torch.zeros(7, 4)
    return dense.float()


KINDS = [
    "cond 1",
    "cond 1e4",
    "cond 1e8",
    "columns of lengths 1 to 1e-8",
    "two equal columns",
    "rank 2, as a float32 keeps it",
    "a column of zeros",
    "two live outputs",
    "d = 1",
    "d > D",
    "zero",
]


def _oracle(jacobian: Tensor, structure: Structure, beta: float) -> tuple[mpmath.mpf, list[list[mpmath.mpf]]]:
    r"""$\sum_b\log|I+J_b^\top J_b/\beta|$ and $2J_b(\beta I+J_b^\top J_b)^{-1}$, to 60 digits."""
    latents = jacobian.shape[1]
    size = {"Diagonal()": 1, "BlockDiagonal(3)": 3}.get(str(structure), latents)
    with mpmath.workdps(60):
        value, columns = mpmath.mpf(0), []
        for start in range(0, latents, size):
            block = mpmath.matrix(jacobian[:, start : start + size].tolist())
            shifted = mpmath.mpf(beta) * mpmath.eye(block.cols) + block.T * block
            value += mpmath.log(mpmath.det(shifted)) - block.cols * mpmath.log(mpmath.mpf(beta))
            gradient = 2 * block * shifted**-1
            columns += [[gradient[i, j] for i in range(block.rows)] for j in range(block.cols)]
    return value, columns


def _representable(value: mpmath.mpf) -> float:
    return float(value) if abs(value) > torch.finfo(torch.float32).tiny else 0.0


@pytest.mark.covering
@pytest.mark.parametrize("scale", [0.01, 1e3])
@pytest.mark.parametrize("beta", BETAS)
@pytest.mark.parametrize("kind", KINDS)
def test_value_and_gradient_to_five_digits(kind: str, beta: float, scale: float) -> None:
    with torch.random.fork_rng():
        jacobian = (scale * _jacobian(kind)).requires_grad_()
    z, x = torch.zeros(1, jacobian.shape[1]), torch.zeros(1, jacobian.shape[0])
    for structure in [*STRUCTURES, Shared(Full())]:
        _, got = Exact().penalty(Linearised(lambda z: z @ jacobian.T, z, x, Gaussian()), structure, beta)
        (gradient,) = torch.autograd.grad(got.sum(), jacobian)
        value, columns = _oracle(jacobian.detach(), structure, beta)
        assert got.dtype == torch.float32
        assert got.item() == pytest.approx(_representable(value), rel=1e-5, abs=0)
        norm = mpmath.sqrt(sum(entry**2 for column in columns for entry in column))
        entries = zip(gradient.T.tolist(), columns, strict=True)
        error = mpmath.sqrt(sum((a - b) ** 2 for got, want in entries for a, b in zip(got, want, strict=True)))
        assert gradient.isfinite().all()
        assert error <= max(mpmath.mpf("1e-5") * norm, torch.finfo(torch.float32).tiny)


def test_hard_and_easy_data_in_one_batch(seed: int) -> None:
    """Each sample takes the route it needs, and a diverged one hurts nobody else."""
    easy, hard = torch.randn(6, 3), torch.randn(6, 3)
    hard[:, 1] = hard[:, 0]
    roots = torch.stack([1e-3 * easy, hard, torch.full_like(easy, math.nan), easy, torch.full_like(easy, math.inf)])
    got = Full().penalty_of_root(roots.requires_grad_(), 1e-10)
    alone = [Full().penalty_of_root(root[None], 1e-10) for root in roots]
    torch.testing.assert_close(got, torch.cat(alone), equal_nan=True)
    assert got.isfinite().tolist() == [True, True, False, True, False]
    (gradient,) = torch.autograd.grad(got[[0, 1, 3]].sum(), roots)
    assert gradient[[0, 1, 3]].isfinite().all()


@pytest.mark.parametrize("structure", STRUCTURES, ids=str)
def test_the_curvature_alone_never_gives_nan(structure: Structure, seed: int) -> None:
    """A float32 Gram matrix has eigenvalues below zero; they are rounding and count as zero."""
    columns = torch.randn(20, 9, 4) @ torch.randn(20, 4, 6)
    curvature = (columns.mT @ columns).requires_grad_()
    penalty = structure.penalty(curvature, 1e-10)
    assert penalty.isfinite().all()
    assert torch.autograd.grad(penalty.sum(), curvature)[0].isfinite().all()
    best = structure.optimal(curvature.detach(), 1e-10).covariance()
    assert best.isfinite().all()
    assert (torch.linalg.eigvalsh(best.double()) > -1e-6).all()
    # the best covariance's log-determinant is minus the penalty, to what float32 has left of M
    narrow = structure.optimal(curvature.detach().double(), 1e-3).log_det()
    torch.testing.assert_close(-narrow, structure.penalty(curvature.detach().double(), 1e-3))


def test_optimal_without_a_cholesky_factor(seed: int) -> None:
    columns = torch.randn(3, 9, 2) @ torch.randn(3, 2, 5)
    curvature = columns.mT @ columns
    assert torch.linalg.cholesky_ex((curvature.double() / 1e-12 + torch.eye(5)).flip(-1, -2)).info.any()
    factor = Full().optimal(curvature, 1e-12).dense().double()
    assert torch.equal(factor, factor.tril())
    assert (factor.diagonal(dim1=-2, dim2=-1) > 0).all()
    # no movement along what the decoder sees, no more than the prior's anywhere
    seen = torch.linalg.svd(columns.double()).Vh
    variances = torch.linalg.vector_norm(factor.mT @ seen.mT, dim=1).square()
    assert (variances[:, :2] < 1e-5).all()
    assert (torch.linalg.matrix_norm(factor, 2) <= 1 + 1e-6).all()
    with pytest.raises(IndefiniteError, match=r"eigenvalue -1 <= -beta = -0.5"):
        Full().optimal(torch.diag(torch.tensor([1.0, -1.0]))[None], 0.5)


def test_lengths_whose_squares_overflow() -> None:
    decoder = nn.Linear(2, 3)
    with torch.no_grad():
        decoder.weight.copy_(torch.tensor([[1e25, 0.0], [0.0, 1e-25], [1e25, 0.0]]))
    z, x = torch.zeros(1, 2), torch.zeros(1, 3)
    for structure in STRUCTURES:
        _, got = Exact().penalty(Linearised(decoder, z, x, Gaussian()), structure, 1e-10)
        torch.testing.assert_close(got, torch.tensor([math.log(2e60)]))


@pytest.mark.parametrize("structure", STRUCTURES, ids=str)
def test_autocast_leaves_the_penalty_alone(structure: Structure, seed: int) -> None:
    roots = torch.randn(4, 5, 6, 6, requires_grad=True)
    plain = structure.penalty_of_root(roots, 1e-4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = structure.penalty_of_root(roots, 1e-4)
    assert torch.equal(plain, cast)
    assert torch.equal(*(torch.autograd.grad(p.sum(), roots)[0] for p in (plain, cast)))


@pytest.mark.parametrize("structure", STRUCTURES, ids=str)
def test_training_in_bfloat16(structure: Structure, seed: int) -> None:
    """The decoder's products lose digits, the determinant none: values and gradients stay near the float32 ones."""
    decoder = nn.Sequential(
        nn.Linear(6, 16), nn.Unflatten(1, (4, 2, 2)), nn.ConvTranspose2d(4, 8, 2, 2), nn.BatchNorm2d(8), nn.ELU(),
        nn.Conv2d(8, 3, 3, padding=1),
    )  # fmt: skip
    z, x = torch.randn(8, 6), torch.randn(8, 3, 4, 4)

    def gradients(enabled: bool) -> tuple[Tensor, Tensor]:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            eta, penalty = Exact().penalty(Linearised(decoder, z, x, Gaussian()), structure, 0.01)
        assert (eta.dtype, penalty.dtype) == (torch.float32, torch.float32)
        flat = torch.autograd.grad(penalty.mean(), [decoder[0].weight, decoder[2].weight, decoder[5].weight])
        return penalty, torch.cat([g.flatten() for g in flat])

    (full, wanted), (half, got) = gradients(False), gradients(True)
    torch.testing.assert_close(half, full, rtol=0.03, atol=0)
    assert torch.linalg.vector_norm(got - wanted) < 0.05 * torch.linalg.vector_norm(wanted)
