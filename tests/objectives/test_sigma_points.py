"""Sigma points of the energy: by enumeration, against quadrature, and what has no meaning."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from curvae import Autoencoder
from curvae.curvature import Columns, Exact, Fraction, Secants
from curvae.errors import IndefiniteError, InputError
from curvae.likelihoods import BernoulliLogits, Gaussian, Likelihood, Poisson
from curvae.objectives import GRAE, Taylor
from curvae.posteriors import Diagonal, Full, Structure

pytestmark = pytest.mark.usefixtures("float64")

LATENTS, BATCH, BETA = 3, 4, 0.4


def _nodes(count: int) -> tuple[Tensor, Tensor]:
    nodes, weights = np.polynomial.hermite_e.hermegauss(count)
    return torch.tensor(nodes), torch.tensor(weights / weights.sum())


def _expected(f: Callable[[Tensor], Tensor], h: Tensor, root: Tensor, count: int = 12) -> Tensor:
    """E f(h + L ε) by a grid of Gauss–Hermite nodes over all latents."""
    nodes, weights = _nodes(count)
    total = torch.zeros(len(h))
    for index in itertools.product(range(count), repeat=h.shape[1]):
        total = total + weights[list(index)].prod() * f(h + root @ nodes[list(index)])
    return total


def _only(latent: int) -> Secants:
    """That latent for every sample, as good as surely: the estimate is its term of the sum over all."""
    p = torch.full((LATENTS,), 1e-13)
    p[latent] = 1.0
    return Secants(1, probabilities=p)


def _decoder() -> nn.Module:
    return nn.Sequential(nn.Linear(LATENTS, 8), nn.Tanh(), nn.Linear(8, 5))


def _agree(found: Tensor, expected: Tensor, leaves: Any) -> None:
    torch.testing.assert_close(found, expected)
    for one, other in zip(
        *(torch.autograd.grad(v.sum(), leaves, retain_graph=True, materialize_grads=True) for v in (found, expected)),
        strict=True,
    ):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("likelihood", [Gaussian(0.5), BernoulliLogits(), Poisson()], ids=str)
def test_the_penalty_latent_by_latent(likelihood: Likelihood, fixed: Any, seed: int) -> None:
    """By hand: the energy at both nodes, at the width that a first secant of either sign implies."""
    decoder, h, x = _decoder(), torch.randn(BATCH, LATENTS, requires_grad=True), torch.randint(2, (BATCH, 5)).double()
    model, eta = fixed(decoder, h, None), decoder(h)

    def energy(z: Tensor) -> Tensor:
        return likelihood.nll(decoder(z), x)

    for latent in range(LATENTS):
        e = torch.eye(LATENTS)[latent]
        terms = []
        for sign in (1, -1):
            moved = likelihood.whiten(eta, x, (decoder(h + sign * 0.1 * e) - eta).unsqueeze(-1)).flatten(1) / 0.1
            width = (1 + moved.square().sum(1) / BETA).rsqrt().detach()
            reach = 3**0.5 * width[:, None] * e
            change = (energy(h + reach) + energy(h - reach) - 2 * energy(h)) / 3
            terms.append(BETA / 2 * (change / BETA + width**2 - 1 - (width**2).log()))
        objective = GRAE(BETA, likelihood, Diagonal(), _only(latent), curvature="hessian")
        found = objective(model, x, torch.Generator().manual_seed(seed))["penalty"]
        positive = (found - terms[0]).abs() < (found - terms[1]).abs()
        _agree(found, torch.where(positive, *terms), [h, *decoder.parameters()])


def test_a_draw_is_weighed_by_its_probability(fixed: Any) -> None:
    decoder, h, x, p = _decoder(), torch.randn(1, LATENTS).expand(200, -1), torch.rand(1, 5).expand(200, -1), [1, 2, 5]
    model = fixed(decoder, h, None)

    def penalty(estimator: Secants) -> Tensor:
        objective = GRAE(BETA, structure=Diagonal(), estimator=estimator, curvature="hessian")
        return objective(model, x, torch.Generator().manual_seed(0))["penalty"]

    drawn = penalty(Secants(1, probabilities=torch.tensor(p)))
    for latent, weight in enumerate(p):
        for each in penalty(_only(latent)).unique():
            assert ((drawn - each * 8 / weight).abs() < 1e-12).any()
    three = penalty(Secants(3))
    assert three.unique().numel() > drawn.unique().numel() and three.std() < drawn.std()


def test_an_affine_decoder_gives_the_closed_form(fixed: Any) -> None:
    """Its value, and by the envelope theorem its gradient, though the width carries none."""
    decoder, h, x = nn.Linear(LATENTS, 5), torch.randn(BATCH, LATENTS, requires_grad=True), torch.rand(BATCH, 5)
    model = fixed(decoder, h, None)
    each = [GRAE(BETA, Gaussian(0.3), Diagonal(), _only(c), curvature="hessian") for c in range(LATENTS)]
    found = torch.stack([objective(model, x)["penalty"] for objective in each]).sum(0)
    closed = GRAE(BETA, Gaussian(0.3), Diagonal(), Exact())(model, x)["penalty"]
    _agree(found, closed, list(decoder.parameters()))


class _Polynomial(Gaussian):
    """An energy of some degree in the outputs."""

    def __init__(self, degree: int) -> None:
        super().__init__()
        self.degree = degree

    def nll(self, eta: Tensor, x: Tensor) -> Tensor:
        return sum((eta - x) ** k / k**2 for k in range(1, self.degree + 1)).flatten(1).sum(1)  # type: ignore[union-attr]


@pytest.mark.parametrize("structure", [Diagonal(), Full()], ids=str)
def test_a_cubic_energy_is_averaged_exactly(structure: Structure, fixed: Any) -> None:
    """The expected energy of a β-VAE by a grid of Gauss–Hermite nodes, in value and gradient."""
    decoder, h, x = nn.Linear(LATENTS, 5), torch.randn(BATCH, LATENTS, requires_grad=True), torch.randn(BATCH, 5)
    parameters = (0.5 * torch.randn(BATCH, structure.num_parameters(LATENTS))).requires_grad_()
    factor = structure.factor(parameters, LATENTS)
    model, leaves = fixed(decoder, h, factor), [h, parameters, *decoder.parameters()]
    for degree in (3, 4):
        likelihood = _Polynomial(degree)
        every = [Taylor(BETA, likelihood, curvature="hessian", estimator=_only(c))(model, x) for c in range(LATENTS)]
        found = every[0]["nll"] + torch.stack([terms["curvature"] for terms in every]).sum(0)
        expected = _expected(lambda z, of=likelihood: of.nll(decoder(z), x), h, factor.dense(), 4)
        if degree == 3:
            _agree(found, expected, leaves)
        else:  # what mixes latents is not seen
            assert ((found - expected).abs() > 1e-3 * expected.abs()).all()


def test_along_one_latent_it_is_exact_to_the_fifth_degree(fixed: Any) -> None:
    decoder, h, x = nn.Linear(1, 5), torch.randn(BATCH, 1, requires_grad=True), torch.randn(BATCH, 5)
    parameters = torch.randn(BATCH, 1, requires_grad=True)
    factor = Diagonal().factor(parameters, 1)
    model, leaves = fixed(decoder, h, factor), [h, parameters, *decoder.parameters()]
    for degree in (5, 6):
        likelihood = _Polynomial(degree)
        terms = Taylor(BETA, likelihood, curvature="hessian", estimator=Secants(1))(model, x)
        expected = _expected(lambda z, of=likelihood: of.nll(decoder(z), x), h, factor.dense())
        if degree == 5:
            _agree(terms["nll"] + terms["curvature"], expected, leaves)
        else:
            assert ((terms["nll"] + terms["curvature"] - expected).abs() > 1e-3 * expected).any()


def test_it_sees_what_the_expansions_leave_out(fixed: Any) -> None:
    """Wide noise through a decoder that bends and saturates, against quadrature: (7), (4), sigma points."""
    decoder = nn.Sequential(nn.Linear(LATENTS, 6), nn.Tanh(), nn.Linear(6, 5))
    h, x = torch.randn(30, LATENTS), torch.randn(30, 5)
    factor = Diagonal().factor(torch.full((30, LATENTS), -0.7), LATENTS)
    model = fixed(decoder, h, factor)
    with torch.no_grad():
        expected = _expected(lambda z: Gaussian().nll(decoder(z), x), h, factor.dense(), 8)

    def error(*objectives: Taylor) -> float:
        parts = [objective(model, x) for objective in objectives]
        found = parts[0]["nll"] + torch.stack([part["curvature"] for part in parts]).sum(0)
        return float((found - expected).detach().abs().mean())

    points = error(*(Taylor(BETA, curvature="hessian", estimator=_only(c)) for c in range(LATENTS)))
    assert points < 0.7 * error(Taylor(BETA, curvature="hessian"))
    assert points < 0.3 * error(Taylor(BETA))


def test_where_the_hessian_is_indefinite_there_is_still_a_value(fixed: Any) -> None:
    h, x = torch.zeros(2, 1), torch.full((2, 1), 5.0)
    model = fixed(lambda z: z.square(), h, None)
    with pytest.raises(IndefiniteError):
        GRAE(BETA, structure=Diagonal(), curvature="hessian")(model, x)
    terms = GRAE(BETA, structure=Diagonal(), estimator=Secants(1), curvature="hessian")(model, x)
    # by hand: a first secant of 0.1, so s² = 1/(1 + 0.01/β), and f = (z² − 5)²/2 at √3 s less that at 0
    s2 = 1 / (1 + 0.01 / BETA)
    change = 2 / 3 * ((3 * s2 - 5) ** 2 / 2 - 12.5)
    expected = change / 2 + BETA / 2 * (s2 - 1 - np.log(s2))
    torch.testing.assert_close(terms["penalty"], torch.full((2,), float(expected)))


def test_a_fraction_decodes_its_samples_alone(fixed: Any) -> None:
    decoder, h, x = _decoder(), torch.randn(BATCH, LATENTS), torch.rand(BATCH, 5)
    objective = GRAE(BETA, structure=Diagonal(), estimator=Fraction(_only(1), 0.5), curvature="hessian")
    whole = GRAE(BETA, structure=Diagonal(), estimator=_only(1), curvature="hessian")
    model = fixed(decoder, h, None)
    objective(model, x)  # its first use
    sizes: list[int] = []
    decoder.register_forward_pre_hook(lambda _, given: sizes.append(len(given[0])))
    penalty = objective(model, x, torch.Generator().manual_seed(0))["penalty"]
    assert sizes == [BATCH, BATCH // 2, BATCH // 2, BATCH // 2]
    chosen = penalty.nonzero().squeeze(1)
    signs = torch.stack([whole(model, x, torch.Generator().manual_seed(s))["penalty"] for s in range(20)])
    assert len(chosen) == BATCH // 2
    assert ((signs[:, chosen] - penalty[chosen] / 2).abs().min(0).values < 1e-12).all()


def test_it_trains_with_few_data_and_a_model_of_its_own() -> None:
    """Through an Autoencoder with batch normalisation in train mode, which moves once."""
    decoder = nn.Sequential(nn.Linear(LATENTS, 8), nn.BatchNorm1d(8), nn.ELU(), nn.Linear(8, 5))
    model = Autoencoder(nn.Linear(5, LATENTS), decoder, LATENTS, head=False)
    x = torch.randn(BATCH, 5)
    objective = GRAE(BETA, structure=Diagonal(), estimator=Secants(1), curvature="hessian")
    terms = objective(model, x, torch.Generator().manual_seed(0))
    assert int(decoder[1].num_batches_tracked) == 1
    assert all(p.grad is None for p in model.parameters())
    terms.mean().backward()
    assert all(bool(p.grad.isfinite().all()) for p in model.parameters())  # type: ignore[union-attr]


def test_what_has_no_meaning_is_refused() -> None:
    given: list[tuple[Any, str]] = [
        (
            lambda: GRAE(BETA, structure=Diagonal(), estimator=Secants(1, step=0.1), curvature="hessian"),
            "leave out step",
        ),
        (lambda: Taylor(BETA, curvature="hessian", estimator=Secants(1, central=True)), "leave out step and central"),
        (lambda: GRAE(BETA, estimator=Secants(1), curvature="hessian"), "penalty of Diagonal"),
        (lambda: GRAE(BETA, structure=Diagonal(), estimator=Columns(1), curvature="hessian"), "Exact() or Secants(k)"),
        (
            lambda: GRAE(BETA, structure=Diagonal(), estimator=Fraction(Exact(), 0.5), curvature="hessian"),
            "Exact() or Secants(k)",
        ),
    ]
    for make, reason in given:
        with pytest.raises(InputError) as refusal:
            make()
        assert reason in str(refusal.value) and "\n" not in str(refusal.value)
