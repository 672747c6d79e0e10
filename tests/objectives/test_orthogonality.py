"""The orthogonality penalty: pair by pair, and sampled pairs by every draw that can happen."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor, nn

from curvae import Autoencoder
from curvae.curvature import Columns, Exact, Lanczos, SampledColumns, Trace, jacobian, unchecked
from curvae.errors import InputError
from curvae.likelihoods import BernoulliLogits, Gaussian
from curvae.nn import MLPDecoder
from curvae.objectives import GRAE, orthogonality, sampled_orthogonality
from curvae.posteriors import Banded, BlockDiagonal, Diagonal, Full, Structure

pytestmark = pytest.mark.usefixtures("float64")

LATENTS = 5
UNEVEN = torch.tensor([0.1, 0.4, 0.05, 0.25, 0.2], dtype=torch.float64)
STRUCTURES = {
    Diagonal(): [*itertools.combinations(range(LATENTS), 2)],
    BlockDiagonal(2): [(0, 2), (0, 3), (0, 4), (1, 2), (1, 3), (1, 4), (2, 4), (3, 4)],
    BlockDiagonal(3): [(0, 3), (0, 4), (1, 3), (1, 4), (2, 3), (2, 4)],
    Banded(2): [(0, 3), (0, 4), (1, 4)],
}


def _naive(columns: Tensor, pairs: list[tuple[int, int]]) -> Tensor:
    cosines = [torch.cosine_similarity(columns[..., i].flatten(1), columns[..., j].flatten(1)) ** 2 for i, j in pairs]
    return torch.stack(cosines).mean(0)


@pytest.mark.parametrize("structure", STRUCTURES, ids=str)
def test_exact(structure: Structure, seed: int) -> None:
    columns = torch.randn(3, 2, 4, LATENTS, requires_grad=True)
    got, expected = orthogonality(columns, structure), _naive(columns, STRUCTURES[structure])
    torch.testing.assert_close(got, expected)
    assert ((got > 0) & (got < 1)).all()
    for value in (got, expected):
        value.sum().backward(retain_graph=True)
    torch.testing.assert_close(torch.autograd.grad(got.sum(), columns), torch.autograd.grad(expected.sum(), columns))
    # lengths do not matter
    torch.testing.assert_close(orthogonality(columns * torch.rand(LATENTS), structure), got)


@pytest.mark.covering
@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("probabilities", [torch.full((LATENTS,), 1 / LATENTS), UNEVEN], ids=["uniform", "uneven"])
@pytest.mark.parametrize("structure", STRUCTURES, ids=str)
def test_sampled_pairs_are_unbiased(structure: Structure, probabilities: Tensor, count: int, seed: int) -> None:
    columns = torch.randn(2, 6, LATENTS, requires_grad=True)
    expectation = torch.zeros(2)
    for chosen in itertools.product(range(LATENTS), repeat=count):
        indices = torch.tensor(chosen).expand(2, -1)
        sampled = SampledColumns(columns[..., list(chosen)], indices, probabilities)
        weight = probabilities[list(chosen)].prod()
        expectation = expectation + weight * sampled_orthogonality(sampled, structure, LATENTS)
    exact = orthogonality(columns, structure)
    torch.testing.assert_close(expectation, exact)
    torch.testing.assert_close(
        torch.autograd.grad(expectation.sum(), columns), torch.autograd.grad(exact.sum(), columns)
    )


def test_special_cases(seed: int) -> None:
    orthogonal = torch.linalg.qr(torch.randn(2, 8, LATENTS))[0] * torch.rand(LATENTS)
    torch.testing.assert_close(orthogonality(orthogonal, Diagonal()), torch.zeros(2))
    parallel = torch.randn(2, 8, 1) * torch.tensor([1.0, -2.0, 3.0])
    torch.testing.assert_close(orthogonality(parallel, Diagonal()), torch.ones(2))
    assert torch.equal(orthogonality(torch.randn(2, 8, LATENTS), Full()), torch.zeros(2))
    assert torch.equal(orthogonality(torch.randn(2, 8, 1), Diagonal()), torch.zeros(2))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_columns_of_zeros(dtype: torch.dtype, seed: int) -> None:
    columns = torch.randn(2, 6, LATENTS, dtype=dtype)
    columns[..., 1] = 0
    columns.requires_grad_()
    value = orthogonality(columns, Diagonal())
    rest = _naive(columns[..., [0, 2, 3, 4]].double(), [*itertools.combinations(range(4), 2)]) * 6 / 10
    torch.testing.assert_close(value, rest.to(dtype))
    (gradient,) = torch.autograd.grad(value.sum(), columns)
    assert gradient.isfinite().all()
    assert torch.equal(gradient[..., 1], torch.zeros(2, 6, dtype=dtype))
    nothing = torch.zeros(2, 6, LATENTS, requires_grad=True)
    assert torch.equal(
        torch.autograd.grad(orthogonality(nothing, Diagonal()).sum(), nothing)[0], torch.zeros(2, 6, LATENTS)
    )
    # lengths whose squares leave float32's range
    scales = torch.logspace(-30, 30, LATENTS, dtype=dtype)
    torch.testing.assert_close(orthogonality(columns * scales, Diagonal()), value)
    # and fourth powers float64's, as those of counts whose total is zero
    if dtype == torch.float64:
        short = (columns.detach() * 1e-150).requires_grad_()
        again = orthogonality(short, Diagonal())
        torch.testing.assert_close(again, value)
        torch.testing.assert_close(torch.autograd.grad(again.sum(), short)[0] * 1e-150, gradient)


def _model() -> Autoencoder:
    return Autoencoder(nn.Linear(6, LATENTS), MLPDecoder(LATENTS, (6,), hidden=(7,)), latents=LATENTS)


@pytest.mark.parametrize("structure", STRUCTURES, ids=str)
def test_in_the_objective(structure: Structure, seed: int) -> None:
    model, x = _model(), torch.rand(3, 6)
    plain = GRAE(0.2, Gaussian(0.5), structure)(model, x)
    terms = GRAE(0.2, Gaussian(0.5), structure, orthogonality=3.0)(model, x)
    expected = 3 * _naive(jacobian(model.decode, model.encode(x)), STRUCTURES[structure])
    torch.testing.assert_close(terms["orthogonality"], expected)
    torch.testing.assert_close(terms.total, plain.total + expected)
    assert "orthogonality" not in plain.parts


@pytest.mark.parametrize("structure", [Diagonal(), BlockDiagonal(2)], ids=str)
def test_the_objective_samples_pairs_of_the_columns_it_pushes(structure: Structure, seed: int) -> None:
    """The whitened ones, at no further pass, unbiased over draws."""
    model, x, draws = _model(), torch.rand(1, 6), 6000
    calls = []
    model.decoder.register_forward_hook(lambda *_: calls.append(1))
    objective = GRAE(0.2, BernoulliLogits(), structure, Columns(3, UNEVEN), orthogonality=1.0)
    with unchecked():  # a first look is some passes more
        terms = objective(model, x.expand(draws, -1), torch.Generator().manual_seed(seed))
    assert len(calls) == 1
    exact = GRAE(0.2, BernoulliLogits(), structure, orthogonality=1.0)(model, x)
    for name in ("orthogonality", "penalty"):
        sampled = terms[name].detach()
        assert abs(sampled.mean() - exact[name].item()) < 5 * sampled.std() / math.sqrt(draws)
    terms.mean().backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())


def test_bad_input() -> None:
    with pytest.raises(InputError, match="orthogonality is -1"):
        GRAE(0.1, structure=Diagonal(), orthogonality=-1.0)
    with pytest.raises(InputError, match=r"no meaning with structure Full\(\)"):
        GRAE(0.1, orthogonality=1.0)
    with pytest.raises(InputError, match="needs pairs of Jacobian columns"):
        GRAE(0.1, structure=Diagonal(), estimator=Columns(1), orthogonality=1.0)
    with pytest.raises(InputError, match="needs pairs of Jacobian columns"):
        GRAE(0.1, structure=Diagonal(), estimator=Trace(), orthogonality=1.0)
    with pytest.raises(InputError, match="needs pairs of Jacobian columns"):
        GRAE(0.1, structure=Diagonal(), estimator=Exact(), curvature="hessian", orthogonality=1.0)
    with pytest.raises(InputError, match="no meaning"):
        GRAE(0.1, estimator=Lanczos(), orthogonality=1.0)
    one = SampledColumns(torch.randn(1, 4, 1), torch.tensor([[2]]), UNEVEN)
    with pytest.raises(InputError, match="at least two sampled columns"):
        sampled_orthogonality(one, Diagonal(), LATENTS)
