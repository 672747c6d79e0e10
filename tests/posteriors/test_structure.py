"""What every covariance structure promises: its family, its optimum of (8) and its closed form."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.func import jacrev

from curvae.autoencoder import Autoencoder
from curvae.errors import InputError
from curvae.posteriors import BlockDiagonal, BlockFactor, Diagonal, Full, Normal, Structure

pytestmark = pytest.mark.usefixtures("float64")

CASES = [(d, s) for d in (1, 5) for s in (Diagonal(), *(BlockDiagonal(b) for b in range(1, d + 2)), Full())]


@pytest.fixture(params=CASES, ids=lambda case: f"{case[1]}-d{case[0]}")
def latents_and_structure(request: pytest.FixtureRequest) -> tuple[int, Structure]:
    return request.param


def _mask(structure: Structure, latents: int) -> Tensor:
    """One where the family allows an entry of Σ, from its definition."""
    if isinstance(structure, Full):
        return torch.ones(latents, latents)
    size = structure.size if isinstance(structure, BlockDiagonal) else 1
    block = torch.arange(latents) // size
    return (block[:, None] == block).double()


def _curvature(batch: int, latents: int, rank: int | None = None) -> Tensor:
    jacobian = torch.randn(batch, latents + 3 if rank is None else rank, latents) * torch.rand(latents) * 3
    return jacobian.mT @ jacobian


def _parameters(batch: int, structure: Structure, latents: int) -> Tensor:
    return 0.7 * torch.randn(batch, structure.num_parameters(latents))


def test_as_many_parameters_as_free_entries(latents_and_structure: tuple[int, Structure]) -> None:
    latents, structure = latents_and_structure
    assert structure.num_parameters(latents) == int(_mask(structure, latents).tril().sum())


def test_zeros_give_the_identity(latents_and_structure: tuple[int, Structure]) -> None:
    latents, structure = latents_and_structure
    factor = structure.factor(torch.zeros(2, structure.num_parameters(latents)), latents)
    torch.testing.assert_close(factor.dense(), torch.eye(latents).expand(2, -1, -1), rtol=0, atol=0)
    assert torch.equal(Normal(torch.zeros(2, latents), factor).kl(), torch.zeros(2))


def test_every_parameter_matters_and_nothing_lies_outside_the_blocks(
    latents_and_structure: tuple[int, Structure], seed: int
) -> None:
    latents, structure = latents_and_structure
    parameters = _parameters(1, structure, latents)
    dense = structure.factor(parameters, latents).dense()
    mask = _mask(structure, latents).bool()
    for matrix in (dense, dense @ dense.mT, structure.factor(parameters, latents).precision()):
        assert (matrix[:, ~mask] == 0).all()
    assert (dense.triu(1) == 0).all()
    assert (dense.diagonal(dim1=1, dim2=2) > 0).all()
    sensitivity = jacrev(lambda p: structure.factor(p, latents).dense())(parameters).reshape(latents**2, -1)
    assert torch.linalg.matrix_rank(sensitivity) == structure.num_parameters(latents)


def test_any_covariance_of_the_family_can_be_written(latents_and_structure: tuple[int, Structure], seed: int) -> None:
    """Parameters from a Cholesky factor's entries give that factor back."""
    latents, structure = latents_and_structure
    covariance = (_curvature(1, latents) + torch.eye(latents)) * _mask(structure, latents)
    root = torch.linalg.cholesky(covariance)[0]
    written = root - root.diagonal().diag() + root.diagonal().log().diag()
    rows, columns = torch.nonzero(_mask(structure, latents).tril(), as_tuple=True)  # row by row
    factor = structure.factor(written[rows, columns][None], latents)
    torch.testing.assert_close(factor.covariance(), covariance)


def test_optimal_covariance_is_the_inverse_within_the_family(
    latents_and_structure: tuple[int, Structure], seed: int
) -> None:
    latents, structure = latents_and_structure
    curvature, beta = _curvature(3, latents), 0.3
    inverse = torch.linalg.inv(torch.eye(latents) + _mask(structure, latents) * curvature / beta)
    torch.testing.assert_close(structure.optimal(curvature, beta).covariance(), inverse)
    torch.testing.assert_close(
        structure.optimal(curvature, beta).precision(),
        torch.eye(latents) + _mask(structure, latents) * curvature / beta,
    )


def _equation_8(structure: Structure, parameters: Tensor, curvature: Tensor, beta: float) -> Tensor:
    """What (8) says about Σ: ½ tr(MΣ) + β KL(N(0, Σ) ‖ N(0, I)), with dense matrices."""
    dense = structure.factor(parameters, curvature.shape[-1]).dense()
    covariance = dense @ dense.mT
    trace = torch.einsum("bii->b", covariance)
    divergence = 0.5 * (trace - torch.logdet(covariance) - curvature.shape[-1])
    return 0.5 * torch.einsum("bij,bji->b", curvature, covariance) + beta * divergence


def test_optimum_minimises_8_and_the_penalty_is_its_value(
    latents_and_structure: tuple[int, Structure], seed: int
) -> None:
    """Numerical minimisation over the structure's own parameters knows nothing of the closed form."""
    latents, structure = latents_and_structure
    curvature, beta = _curvature(1, latents), 0.5
    parameters = _parameters(1, structure, latents).requires_grad_()
    optimiser = torch.optim.LBFGS([parameters], max_iter=500, tolerance_grad=1e-11, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimiser.zero_grad()
        value = _equation_8(structure, parameters, curvature, beta).sum()
        value.backward()
        return value

    optimiser.step(closure)
    best = _equation_8(structure, parameters, curvature, beta).detach()
    torch.testing.assert_close(beta / 2 * structure.penalty(curvature, beta), best, rtol=1e-9, atol=0)
    numerical = structure.factor(parameters.detach(), latents).covariance()
    torch.testing.assert_close(structure.optimal(curvature, beta).covariance(), numerical, rtol=1e-4, atol=1e-5)
    optimum = Normal(torch.zeros(1, latents), structure.optimal(curvature, beta))
    value = 0.5 * (curvature * optimum.covariance()).sum((1, 2)) + beta * optimum.kl()
    torch.testing.assert_close(beta / 2 * structure.penalty(curvature, beta), value)


def test_penalty_and_its_gradient_are_those_of_a_log_determinant(
    latents_and_structure: tuple[int, Structure], seed: int
) -> None:
    latents, structure = latents_and_structure
    mask, beta = _mask(structure, latents), 0.2

    def reference(jacobian: Tensor) -> Tensor:
        return torch.linalg.slogdet(torch.eye(latents) + mask * (jacobian.mT @ jacobian) / beta).logabsdet

    def penalty(jacobian: Tensor) -> Tensor:
        return structure.penalty(jacobian.mT @ jacobian, beta)

    for rows in (latents + 2, 1):  # of full rank, and with d − 1 equal eigenvalues
        jacobian = torch.randn(2, rows, latents)
        torch.testing.assert_close(penalty(jacobian), reference(jacobian))
        torch.testing.assert_close(jacrev(penalty)(jacobian), jacrev(reference)(jacobian))


def test_optimum_is_differentiable(latents_and_structure: tuple[int, Structure], seed: int) -> None:
    latents, structure = latents_and_structure
    mask, beta, curvature = _mask(structure, latents), 0.2, _curvature(2, latents)
    got = jacrev(lambda m: structure.optimal((m + m.mT) / 2, beta).covariance())(curvature)
    expected = jacrev(lambda m: torch.linalg.inv(torch.eye(latents) + mask * (m + m.mT) / 2 / beta))(curvature)
    torch.testing.assert_close(got, expected)


@given(st.integers(1, 8), st.integers(0, 10), st.floats(1e-3, 1e3), st.floats(1e-3, 1e3), st.integers(0, 10_000))
def test_ordering(latents: int, rank: int, beta: float, scale: float, seed: int) -> None:
    """Full ≤ blocks ≤ diagonal ≤ trace, and coarser blocks of a divisible size are tighter."""
    jacobian = scale * torch.randn(2, rank, latents, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    curvature = jacobian.mT @ jacobian
    trace = curvature.diagonal(dim1=1, dim2=2).sum(1) / beta
    chain = [s.penalty(curvature, beta) for s in (Full(), BlockDiagonal(4), BlockDiagonal(2), Diagonal())]
    for tighter, looser in zip(chain, [*chain[1:], trace], strict=True):
        assert (tighter <= looser + 1e-9 * (1 + looser)).all()
    assert (chain[0] >= -1e-12).all()


def test_ordering_is_strict_and_tight_where_it_should_be(seed: int) -> None:
    curvature, beta = _curvature(4, 6), 0.5
    full, blocks, diagonal = (s.penalty(curvature, beta) for s in (Full(), BlockDiagonal(2), Diagonal()))
    assert (full < blocks - 1e-3).all()
    assert (blocks < diagonal - 1e-3).all()
    orthogonal = curvature * torch.eye(6)
    torch.testing.assert_close(Full().penalty(orthogonal, beta), Diagonal().penalty(orthogonal, beta))
    first_order = beta * Full().penalty(1e-9 * curvature, beta)
    torch.testing.assert_close(first_order, 1e-9 * curvature.diagonal(dim1=1, dim2=2).sum(1), rtol=1e-6, atol=0)


def test_names_for_the_same_family(seed: int) -> None:
    curvature, beta, latents = _curvature(3, 5), 0.4, 5
    for one, other in ((BlockDiagonal(1), Diagonal()), (BlockDiagonal(5), Full()), (BlockDiagonal(9), Full())):
        assert one.num_parameters(latents) == other.num_parameters(latents)
        parameters = _parameters(3, one, latents)
        torch.testing.assert_close(
            one.factor(parameters, latents).covariance(), other.factor(parameters, latents).covariance()
        )
        torch.testing.assert_close(one.penalty(curvature, beta), other.penalty(curvature, beta))
        torch.testing.assert_close(
            one.optimal(curvature, beta).covariance(), other.optimal(curvature, beta).covariance()
        )


@pytest.mark.parametrize("beta", [1e-12, 1e-8, 1e8])
def test_badly_conditioned_curvature(beta: float, seed: int) -> None:
    """cond(J) = 1e5; the reference is the sum over J's own singular values."""
    left, right = (torch.linalg.qr(torch.randn(n, 6))[0] for n in (20, 6))
    singular = torch.logspace(-5, 0, 6)
    jacobian = (left * singular) @ right.T
    expected = (singular**2 / beta).log1p().sum()
    torch.testing.assert_close(Full().penalty((jacobian.T @ jacobian)[None], beta), expected[None], rtol=1e-5, atol=0)


def test_bad_input() -> None:
    for size in (0, -1, True):
        with pytest.raises(InputError, match=r"block size is .*expected a whole number >= 1"):
            BlockDiagonal(size)
    for structure in (Diagonal(), BlockDiagonal(2), Full()):
        for beta in (0.0, -1.0, math.nan, math.inf):
            with pytest.raises(InputError, match=r"beta is .*expected a finite number > 0"):
                structure.penalty(torch.eye(3)[None], beta)
            with pytest.raises(InputError, match="beta is"):
                structure.optimal(torch.eye(3)[None], beta)
        with pytest.raises(InputError, match=r"of 3 latents takes \d parameters per sample; got 7"):
            structure.factor(torch.zeros(1, 7), 3)


@pytest.mark.parametrize("size", [1.5, "2", None, math.nan])
@pytest.mark.usefixtures("as_shipped")
def test_a_block_size_that_is_no_whole_number(size: object) -> None:
    with pytest.raises(InputError, match="block size is"):
        BlockDiagonal(size)


@pytest.mark.usefixtures("as_shipped")
def test_numpys_numbers_are_numbers(seed: int) -> None:
    assert BlockDiagonal(np.int64(2)).num_parameters(3) == 4
    curvature = _curvature(1, 3)
    torch.testing.assert_close(Full().penalty(curvature, np.float32(0.5)), Full().penalty(curvature, 0.5))


class LowRank(Full):
    """Σ = diag σ² + uuᵀ, given by its factor or, wrongly, as a matrix."""

    def __init__(self, matrix: bool) -> None:
        self.matrix = matrix

    __repr__ = Structure.__repr__

    def num_parameters(self, latents: int) -> int:
        return 2 * latents

    def factor(self, parameters: Tensor, latents: int) -> BlockFactor:
        scale, u = parameters.split(latents, 1)
        covariance = torch.diag_embed((2 * scale).exp()) + u[:, :, None] * u[:, None]
        return covariance if self.matrix else BlockFactor(torch.linalg.cholesky(covariance)[:, None], latents)  # type: ignore[return-value]


def test_a_structure_of_ones_own_has_a_name_and_a_factor() -> None:
    parameters = torch.randn(4, 6)
    assert repr(LowRank(matrix=False)) == "LowRank()"
    q = Normal(torch.zeros(4, 3), LowRank(matrix=False).factor(parameters, 3))
    other = torch.distributions.MultivariateNormal(torch.zeros(4, 3), LowRank(matrix=True).factor(parameters, 3))  # type: ignore[arg-type]
    z = torch.randn(4, 3)
    torch.testing.assert_close(q.log_prob(z), other.log_prob(z))
    model = Autoencoder(torch.nn.Linear(5, 8), torch.nn.Linear(3, 5), latents=3, structure=LowRank(matrix=True))
    with pytest.raises(InputError, match=r"factor of LowRank\(\) returned a Tensor; expected .* BlockFactor"):
        model.posterior(torch.randn(4, 5))
