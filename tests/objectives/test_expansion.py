"""The minimum over Σ against a search for it and dense matrices; the estimate from columns; what is refused."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from torch import Tensor, nn

from curvae import Autoencoder, regulariser
from curvae.curvature import Columns, Estimator, Exact, Fraction, Lanczos, SampledColumns, Secants, Trace
from curvae.errors import DerivativeError, InputError
from curvae.likelihoods import BernoulliLogits, Gaussian, Likelihood
from curvae.objectives import GRAE, expansion, sampled_expansion
from curvae.posteriors import Along, Banded, BlockDiagonal, Diagonal, Full, Shared, Structure
from curvae.runs.spelling import spelled

pytestmark = pytest.mark.usefixtures("float64")

LAMBDA = 0.07
STRUCTURES = {
    Diagonal(): [[0], [1], [2], [3]],
    BlockDiagonal(3): [[0, 1, 2], [3]],
    Along((2, 2), axis=0): [[0, 2], [1, 3]],
    Full(): [[0, 1, 2, 3]],
}


def _by_search(curvature: Tensor, beta: float) -> float:
    """Over log σ² of each eigendirection, which the best Σ shares with M."""

    def cost(log_variance: float, t: float) -> float:
        variance = np.exp(log_variance)
        return 0.5 * t * variance + 0.5 * beta * (variance - log_variance - 1) + LAMBDA / variance

    eigenvalues = torch.linalg.eigvalsh(curvature).clamp(min=0).tolist()
    return sum(minimize_scalar(cost, bounds=(-12, 12), args=(t,), method="bounded").fun for t in eigenvalues)


@pytest.mark.parametrize("beta", [0.0, 0.3])
@pytest.mark.parametrize("outputs", [3, 6])
@pytest.mark.parametrize("structure", STRUCTURES, ids=str)
def test_it_is_the_minimum(structure: Structure, outputs: int, beta: float) -> None:
    root = torch.randn(2, outputs, 4)
    if beta == 0 and outputs < 4:
        root[..., 3] = 0.0  # the search does not end at t = 0 otherwise, and the singular value is exactly zero
    found = expansion(root, structure, LAMBDA, beta)
    for each, value in zip(root, found, strict=True):
        blocks = [each[:, members] for members in STRUCTURES[structure]]
        expected = sum(_by_search(block.mT @ block, beta) for block in blocks)
        assert value.item() == pytest.approx(expected, abs=5e-3 if beta == 0 and outputs < 4 else 1e-6)


@pytest.mark.covering
@pytest.mark.parametrize("beta", [0.0, 0.3])
@pytest.mark.parametrize("likelihood", [Gaussian(0.7), BernoulliLogits()], ids=str)
@pytest.mark.parametrize("structure", STRUCTURES, ids=str)
def test_values_and_gradients(
    structure: Structure, likelihood: Likelihood, beta: float, dense_curvature: Callable[..., Tensor]
) -> None:
    """By eigenvalues of the dense M, and without the formula: at the best Σ the cost itself has the gradient."""
    decoder = nn.Sequential(nn.Linear(4, 9), nn.Tanh(), nn.Linear(9, 6))
    z, x = torch.randn(3, 4), torch.rand(3, 6)
    found = regulariser(
        decoder, z, beta, estimator=Exact(), structure=structure, likelihood=likelihood, x=x, expansion=LAMBDA
    )
    m = dense_curvature(decoder, z, x, likelihood)
    expected = torch.zeros(3)
    for members in STRUCTURES[structure]:
        block = m[:, members][:, :, members]
        values, vectors = torch.linalg.eigh(block.detach())
        u = (-beta / 2 + (beta**2 / 4 + 2 * LAMBDA * (values + beta)).sqrt()) / (2 * LAMBDA)
        sigma = (vectors / u.unsqueeze(1)) @ vectors.mT
        kl = 0.5 * ((1 / u).sum(1) + u.log().sum(1) - len(members))
        expected = expected + 0.5 * (block * sigma).sum((1, 2)) + beta * kl + LAMBDA * u.sum(1)
    torch.testing.assert_close(found, expected)
    gradients = [torch.autograd.grad(value.sum(), list(decoder.parameters())[:3]) for value in (found, expected)]
    torch.testing.assert_close(*gradients)


def test_its_limits_and_order() -> None:
    root = torch.randn(5, 6, 4)
    norms = root.square().sum(1).sqrt()
    torch.testing.assert_close(expansion(root, Diagonal(), LAMBDA), (2 * LAMBDA) ** 0.5 * norms.sum(1))
    for structure in STRUCTURES:
        logarithm = 0.15 * structure.penalty_of_root(root, 0.3)
        torch.testing.assert_close(expansion(root, structure, 1e-9, 0.3), logarithm, rtol=1e-6, atol=1e-6)
    for beta in (0.0, 0.3):
        full, block, diagonal = (expansion(root, s, LAMBDA, beta) for s in (Full(), BlockDiagonal(3), Diagonal()))
        assert (full < block).all()
        assert (block < diagonal).all()


@pytest.mark.parametrize("structure", STRUCTURES, ids=str)
def test_nothing_breaks_where_a_column_is_zero(structure: Structure) -> None:
    root = torch.randn(2, 6, 4)
    root[..., 1] = 0.0
    root[1, 0, 0] = torch.nan
    root.requires_grad_()
    values = expansion(root, structure, LAMBDA)
    assert values.isfinite().tolist() == [True, False]
    (gradient,) = torch.autograd.grad(values[0], root)
    assert gradient[0].isfinite().all()
    torch.testing.assert_close(gradient[0, :, 1], torch.zeros(6), atol=1e-12, rtol=0)


@pytest.mark.parametrize("beta", [0.0, 0.3])
def test_columns_are_unbiased_root_and_all(beta: float) -> None:
    """The mean over every draw by its probability, value and gradient."""
    root = torch.randn(2, 6, 4, requires_grad=True)
    p = torch.tensor([0.1, 0.2, 0.3, 0.4])
    mean = torch.zeros(2)
    for first in range(4):
        for second in range(4):
            drawn = SampledColumns(root[..., [first, second]], torch.tensor([[first, second]] * 2), p)
            mean = mean + p[first] * p[second] * sampled_expansion(drawn, Diagonal(), LAMBDA, beta)
    expected = expansion(root, Diagonal(), LAMBDA, beta)
    torch.testing.assert_close(mean, expected)
    torch.testing.assert_close(
        torch.autograd.grad(mean.sum(), root), torch.autograd.grad(expected.sum(), root), rtol=1e-9, atol=1e-12
    )


@pytest.mark.parametrize("estimator", [Columns(2), Fraction(Columns(1), 0.5), Fraction(Exact(), 0.5)], ids=str)
def test_random_estimators_have_its_mean(estimator: Estimator) -> None:
    decoder, z = nn.Sequential(nn.Linear(4, 9), nn.Tanh(), nn.Linear(9, 6)), torch.randn(1, 4).expand(3000, 4)
    exact = regulariser(decoder, z[:1], 0.3, estimator=Exact(), structure=Diagonal(), expansion=LAMBDA)
    found, eta = regulariser(
        decoder,
        z,
        0.3,
        estimator=estimator,
        structure=Diagonal(),
        expansion=LAMBDA,
        output=True,
        generator=torch.Generator().manual_seed(0),
    )
    torch.testing.assert_close(eta, decoder(z))
    assert (found.mean() - exact).abs() < 5 * found.std() / 3000**0.5


@pytest.mark.parametrize("estimator", [Exact(), Columns(2), Fraction(Columns(1), 0.5)], ids=str)
def test_a_grae_takes_it_in_place_of_its_penalty(estimator: Estimator) -> None:
    model, x = (
        Autoencoder(nn.Linear(6, 4), nn.Sequential(nn.Linear(4, 9), nn.Tanh(), nn.Linear(9, 6)), 4),
        torch.randn(4, 6),
    )
    objective = GRAE(0.3, structure=Diagonal(), estimator=estimator, expansion=LAMBDA)
    for each, beta in ((objective, 0.3), (objective.with_beta(0.5), 0.5)):
        terms = each(model, x, torch.Generator().manual_seed(0))
        expected = regulariser(
            model.decode,
            model.encode(x),
            beta,
            estimator=estimator,
            structure=Diagonal(),
            expansion=LAMBDA,
            generator=torch.Generator().manual_seed(0),
        )
        torch.testing.assert_close(terms["penalty"], expected)
        assert set(terms.parts) == {"nll", "prior", "penalty"}
    assert repr(objective).endswith("expansion=0.07)")
    for bad in ({"decoder_weight": 0.3}, {"curvature": "hessian", "estimator": Exact()}):
        with pytest.raises(InputError, match=r"^an expansion is one minimum with the log-determinant's"):
            GRAE(0.3, structure=Diagonal(), expansion=LAMBDA, **bad)
    with pytest.raises(InputError, match=r"^an expansion takes roots"):
        GRAE(0.3, estimator=Trace(), expansion=LAMBDA)
    assert spelled(objective)["objective"] == "python"  # a configuration has no word for it, and loses none of it


@pytest.mark.parametrize("estimator", [Trace(), Lanczos(2), Secants(1), Fraction(Trace(), 0.5)], ids=str)
def test_estimators_without_columns_are_refused(estimator: Estimator) -> None:
    with pytest.raises(InputError, match=r"^an expansion takes roots, of which .* gives no unbiased estimate: use Col"):
        regulariser(nn.Linear(4, 6), torch.randn(3, 4), 0.3, estimator=estimator, expansion=LAMBDA)


def test_structures_without_a_closed_form_are_refused() -> None:
    z = torch.randn(3, 4)
    for structure in (Banded(1), Shared(Full())):
        with pytest.raises(InputError, match=r"^an expansion has no closed form for (Banded|Shared)"):
            regulariser(nn.Linear(4, 6), z, 0.3, estimator=Exact(), structure=structure, expansion=LAMBDA)
    with pytest.raises(InputError, match=r"^an expansion from sampled columns is for Diagonal\(\) only; got Block"):
        regulariser(nn.Linear(4, 6), z, 0.3, structure=BlockDiagonal(2), expansion=LAMBDA)
    with pytest.raises(InputError, match=r"^expansion is -1.0; expected a finite number >= 0"):
        regulariser(nn.Linear(4, 6), z, 0.3, expansion=-1.0)
    with pytest.raises(InputError, match=r"is for 4 latents; got 6"):
        expansion(torch.randn(2, 5, 6), Along((2, 2), axis=0), LAMBDA)


@pytest.mark.parametrize("beta", [0.0, 0.4])
def test_second_derivatives_are_right_or_refused(beta: float) -> None:
    """Columns of zeros and equal singular values among them, where they used to be NaN."""
    root = torch.linalg.qr(torch.randn(2, 6, 4)).Q * torch.tensor([1.0, 1.0, 0.0, 1.0])
    way = torch.randn_like(root) * torch.tensor([1.0, 1.0, float(beta > 0), 1.0])  # along the kink at β = 0

    def slope(at: Tensor, structure: Structure) -> Tensor:
        at = at.detach().requires_grad_()
        return (torch.autograd.grad(expansion(at, structure, LAMBDA, beta).sum(), at, create_graph=True)[0] * way).sum()

    point = root.clone().requires_grad_()
    value = expansion(point, Diagonal(), LAMBDA, beta).sum()
    (gradient,) = torch.autograd.grad(value, point, create_graph=True)
    (product,) = torch.autograd.grad((gradient * way).sum(), point)
    assert product.isfinite().all()
    other, h = torch.randn_like(way) * way.ne(0), 1e-5
    ahead, back = (slope(root + h * sign * other, Diagonal()) for sign in (1, -1))
    assert (product * other).sum().item() == pytest.approx((ahead - back).item() / (2 * h), rel=1e-5)
    for structure in (Full(), BlockDiagonal(3), Along((2, 2), axis=0)):
        (gradient,) = torch.autograd.grad(expansion(point, structure, LAMBDA, beta).sum(), point, create_graph=True)
        assert gradient.isfinite().all()
        with pytest.raises(DerivativeError, match="an expansion over singular values has first derivatives only"):
            gradient.sum().backward()
