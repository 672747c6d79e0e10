"""Observation models for tables against SciPy: scales and dispersions of each output, size factors, gaps, products."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
import torch
from torch import Tensor

from curvae.errors import InputError
from curvae.likelihoods import (
    Bernoulli,
    BernoulliLogits,
    Categorical,
    ContinuousBernoulli,
    ElementwiseLikelihood,
    Gaussian,
    Laplace,
    LearnedGaussian,
    LearnedNegativeBinomial,
    Likelihood,
    Masked,
    Mixed,
    NegativeBinomial,
    Poisson,
    SizeFactors,
    StudentT,
)

pytestmark = pytest.mark.usefixtures("float64")

ELEMENTWISE: list[ElementwiseLikelihood] = [
    Gaussian(0.4),
    BernoulliLogits(),
    ContinuousBernoulli(),
    Poisson(),
    NegativeBinomial(2.5),
    LearnedNegativeBinomial(torch.tensor([0.5, 3.0, 20.0])),
    Laplace(0.7),
    StudentT(5.0, 0.6),
    LearnedGaussian(0.6),
    LearnedGaussian(torch.tensor([0.2, 1.0, 3.0])),
]


def _doubled(likelihood: ElementwiseLikelihood) -> ElementwiseLikelihood:
    return likelihood.double() if isinstance(likelihood, torch.nn.Module) else likelihood


def _expected(likelihood: ElementwiseLikelihood, eta: np.ndarray, x: np.ndarray) -> np.ndarray:
    """log p of each output, by SciPy."""
    match likelihood:
        case Gaussian():
            return scipy.stats.norm.logpdf(x, eta, likelihood.sigma)
        case LearnedGaussian():
            return scipy.stats.norm.logpdf(x, eta, likelihood.sigma.detach().numpy())
        case BernoulliLogits():
            return scipy.stats.bernoulli.logpmf(x, 1 / (1 + np.exp(-eta)))
        case Poisson():
            return scipy.stats.poisson.logpmf(x, np.exp(eta))
        case NegativeBinomial() | LearnedNegativeBinomial():
            r = likelihood.dispersion
            r = r.detach().numpy() if isinstance(r, Tensor) else r
            return scipy.stats.nbinom.logpmf(x, r, r / (r + np.exp(eta)))
        case Laplace():
            return scipy.stats.laplace.logpdf(x, eta, likelihood.scale)
        case StudentT():
            return scipy.stats.t.logpdf(x, likelihood.dof, eta, likelihood.scale)
    # the density exp(ηx) over its integral, by quadrature
    grid = np.linspace(0, 1, 20_001)
    return x * eta - np.log(scipy.integrate.simpson(np.exp(eta[..., None] * grid), x=grid))


@pytest.mark.parametrize("likelihood", ELEMENTWISE, ids=repr)
def test_each_output_by_itself(likelihood: ElementwiseLikelihood, seed: int) -> None:
    likelihood = _doubled(likelihood)
    eta = torch.randn(4, 3)
    x = torch.rand(4, 3).round() + 0.0
    expected = _expected(likelihood, eta.numpy(), x.numpy())
    np.testing.assert_allclose(likelihood.log_prob_each(eta, x).detach(), expected, rtol=1e-9)
    np.testing.assert_allclose(likelihood.log_prob(eta, x).detach(), expected.sum(1), rtol=1e-9)
    torch.testing.assert_close(likelihood.nll_each(eta, x).sum(1), likelihood.nll(eta, x))


def test_classes_by_themselves(seed: int) -> None:
    eta, x = torch.randn(4, 3, 2, 5), torch.randint(3, (4, 2, 5))
    expected = torch.distributions.Categorical(logits=eta.movedim(1, -1)).log_prob(x)
    torch.testing.assert_close(Categorical().log_prob_each(eta, x), expected)


@pytest.mark.parametrize("likelihood", [*ELEMENTWISE, Bernoulli()], ids=repr)
def test_what_is_missing_has_no_say(likelihood: ElementwiseLikelihood, seed: int) -> None:
    """Against the same likelihood of the observed columns alone, and outputs where it would overflow."""
    likelihood = _doubled(likelihood)
    eta = torch.rand(5, 3, requires_grad=True)
    x, tangents = torch.rand(5, 3).round(), torch.randn(5, 3, 2)
    seen = torch.tensor([[1, 1, 0], [0, 0, 0], [1, 1, 1], [0, 1, 0], [1, 0, 1]]).bool()
    gaps = x.where(seen, torch.nan)
    masked = Masked(likelihood)
    each = likelihood.log_prob_each(eta, x)
    expected = torch.stack([row[here].sum() for row, here in zip(each, seen, strict=True)])
    torch.testing.assert_close(masked.log_prob(eta, gaps), expected)
    (slope,) = torch.autograd.grad(masked.nll(eta, gaps).sum(), eta)
    (full,) = torch.autograd.grad(likelihood.nll(eta, x).sum(), eta)
    torch.testing.assert_close(slope, full * seen)
    torch.testing.assert_close(
        masked.whiten(eta, gaps, tangents), likelihood.whiten(eta, x, tangents) * seen[..., None]
    )
    with torch.no_grad():
        far = eta.where(seen, 1e4)
    far.requires_grad_()
    value = masked.nll(far, gaps).sum() + masked.whiten(far, gaps, tangents).sum()
    assert torch.autograd.grad(value, far)[0].isfinite().all()


def test_learned_parameters_get_nothing_from_gaps(seed: int) -> None:
    likelihood = LearnedGaussian(torch.ones(2)).double()
    x = torch.tensor([[1.0, torch.nan], [2.0, torch.nan]])
    Masked(likelihood).nll(torch.zeros(2, 2), x).sum().backward()
    torch.testing.assert_close(likelihood.log_sigma.grad, torch.tensor([2 - 5.0, 0.0]))


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("own", [Poisson(), NegativeBinomial(2.5), LearnedNegativeBinomial(torch.tensor([0.5, 3.0]))])
def test_size_factors(own: ElementwiseLikelihood, masked: bool, seed: int) -> None:
    own = _doubled(own)
    inner = Masked(own) if masked else own
    eta, x = torch.randn(4, 2), torch.poisson(3 + torch.rand(4, 2))
    factors = torch.rand(4, 1) + 0.3
    expected = _expected(own, (eta + factors.log()).numpy(), x.numpy())
    if masked:
        x[1, 0], expected[1, 0] = torch.nan, 0
    given = torch.cat([x, factors], 1)
    np.testing.assert_allclose(SizeFactors(inner).log_prob(eta, given).detach(), expected.sum(1), rtol=1e-9)
    by_total = SizeFactors(inner, typical=8.0)
    same = SizeFactors(inner).log_prob(eta, torch.cat([x, x.nansum(1, keepdim=True) / 8], 1))
    torch.testing.assert_close(by_total.log_prob(eta, x), same)


@pytest.mark.parametrize("likelihood", [Poisson(), NegativeBinomial(2.5)], ids=repr)
def test_a_sample_without_counts_says_nothing(likelihood: Likelihood) -> None:
    eta = torch.randn(1, 3, requires_grad=True)
    by_total = SizeFactors(likelihood, typical=5.0)
    nll = by_total.nll(eta, torch.zeros(1, 3))
    assert abs(nll.item()) < 1e-12
    assert torch.autograd.grad(nll.sum(), eta)[0].abs().max() < 1e-12
    assert by_total.whiten(eta, torch.zeros(1, 3), torch.ones(1, 3, 1)).abs().max() < 1e-12


def test_a_product_is_the_sum_of_its_parts(seed: int) -> None:
    likelihood = Mixed(
        [(Gaussian(0.5), 2), (Categorical(), 2, 6), (BernoulliLogits(), 1), (SizeFactors(Poisson()), 2, 1)]
    )
    eta = torch.randn(4, 10)
    x = torch.cat([torch.randn(4, 2), torch.randint(3, (4, 2)), torch.ones(4, 2), torch.full((4, 1), 1.7)], 1)
    logits = eta[:, 2:8].numpy().reshape(4, 3, 2)
    classes = x[:, 2:4].long().numpy()
    chosen = np.take_along_axis(scipy.special.log_softmax(logits, 1), classes[:, None], 1)[:, 0]
    expected = (
        scipy.stats.norm.logpdf(x[:, :2], eta[:, :2], 0.5).sum(1)
        + chosen.sum(1)
        + scipy.stats.bernoulli.logpmf(1, scipy.special.expit(eta[:, 8].numpy()))
        + scipy.stats.poisson.logpmf(1, 1.7 * np.exp(eta[:, 9].numpy()))
    )
    np.testing.assert_allclose(likelihood.log_prob(eta, x), expected, rtol=1e-9)


def test_squared_errors_are_those_of_what_was_observed(seed: int) -> None:
    """Size factors are the sample's own, classes are one-hot, gaps are NaN: written out number by number."""
    eta, counts = torch.randn(2, 3), torch.tensor([[1.0, 0.0, 4.0], [2.0, 2.0, 1.0]])
    factors = torch.tensor([[0.5], [3.0]])
    own = (factors * eta.exp() - counts).square()
    torch.testing.assert_close(SizeFactors(Poisson()).squared_error(eta, torch.cat([counts, factors], 1)), own)
    totals = (5 / 2.5 * eta.exp() - counts).square()  # both samples have five
    torch.testing.assert_close(SizeFactors(Poisson(), 2.5).squared_error(eta, counts), totals)
    gaps = torch.cat([counts.where(counts > 0, torch.nan), factors], 1)
    expected = own.where(counts > 0, torch.nan)
    found = SizeFactors(Masked(Poisson())).squared_error(eta, gaps)
    torch.testing.assert_close(found, expected, equal_nan=True)

    mixed = Masked(Mixed([(Gaussian(), 1), (Categorical(), 2, 6)]))
    eta, x = torch.randn(1, 7), torch.tensor([[torch.nan, 2.0, 0.0]])
    logits = eta[0, 1:].view(3, 2)
    one_hot = torch.tensor([[0.0, 1.0], [0.0, 0.0], [1.0, 0.0]])
    expected = torch.cat([torch.tensor([torch.nan]), (logits.softmax(0) - one_hot).square().flatten()])
    torch.testing.assert_close(mixed.squared_error(eta, x)[0], expected, equal_nan=True)
    with pytest.raises(InputError, match="they must be equal"):
        Gaussian().squared_error(torch.zeros(2, 3), torch.zeros(2, 1))


def test_parameters_of_a_product_are_its_own() -> None:
    likelihood = Mixed([(LearnedGaussian(torch.ones(2)), 2), (Masked(LearnedNegativeBinomial()), 1)])
    assert len(list(likelihood.parameters())) == 2


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_large_dispersion_is_poisson(dtype: torch.dtype, seed: int) -> None:
    """Where lgamma(r) alone is 10⁹ times what is left."""
    eta = torch.randn(4, 5, dtype=dtype)
    x = torch.poisson(3 * torch.ones(4, 5)).to(dtype)
    likelihood = LearnedNegativeBinomial(1e8).to(dtype)
    torch.testing.assert_close(likelihood.log_prob(eta, x), Poisson().log_prob(eta, x), rtol=1e-5, atol=1e-5)


def test_gradient_of_the_dispersion(seed: int) -> None:
    likelihood = LearnedNegativeBinomial(torch.tensor([0.3, 4.0, 90.0])).double()
    eta, x = torch.randn(4, 3), torch.poisson(3 * torch.ones(4, 3))

    def nll(log_dispersion: Tensor) -> Tensor:
        return torch.func.functional_call(likelihood, {"log_dispersion": log_dispersion}, ()).sum()

    likelihood.forward = lambda: likelihood.nll(eta, x)  # type: ignore[method-assign]
    assert torch.autograd.gradcheck(nll, (likelihood.log_dispersion,))


def test_scales_of_each_output_have_a_floor(seed: int) -> None:
    eta = torch.randn(50, 2)
    x = eta + torch.tensor([0.5, 0.0]) * torch.randn(50, 2)
    with pytest.raises(InputError, match="equal the data exactly"):
        LearnedGaussian(torch.ones(2)).fit(eta, x)
    likelihood = LearnedGaussian(torch.tensor([1.0, 2.0]), floor=0.01).double()
    likelihood.fit(eta, x)
    best = (x - eta)[:, 0].square().mean().sqrt()
    torch.testing.assert_close(likelihood.sigma[0], best)
    assert math.isclose(likelihood.sigma[1].item(), 0.02, rel_tol=1e-5)
    assert list(likelihood.state_dict()) == ["log_sigma"]
    likelihood.start(torch.tensor([10.0, 20.0]))  # the floor is no longer the constructor's
    again = LearnedGaussian(torch.ones(2), floor=0.01).double().with_kept_floor()
    again.load_state_dict(likelihood.state_dict())
    assert torch.equal(again.sigma, likelihood.sigma)


@pytest.mark.usefixtures("as_shipped")
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SizeFactors(Gaussian()), "size factors are for Poisson"),
        (lambda: SizeFactors(Poisson(), typical=0.0), "typical is 0.0; expected"),
        (lambda: SizeFactors(Poisson()).nll(torch.zeros(2, 3), torch.zeros(2, 3)), r"expected \[B, D\] and"),
        (lambda: SizeFactors(Poisson()).nll(torch.zeros(2, 3), torch.zeros(2, 4)), "is not > 0"),
        (lambda: SizeFactors(Poisson()).nll(torch.zeros(2, 3), torch.full((2, 4), torch.nan)), "is not > 0"),
        (lambda: Masked(Masked(Gaussian())), "masked already"),
        (lambda: Masked(SizeFactors(Poisson(), 3.0)).nll(torch.zeros(2, 3), torch.zeros(2, 3)), "put Masked inside"),
        (lambda: Mixed([]), "got no parts"),
        (lambda: Mixed([(Categorical(), 2)]), "one output for each class"),
        (lambda: Mixed([(Categorical(), 2, 3)]), "one output for each class"),
        (lambda: Mixed([(Gaussian(), 2)]).nll(torch.zeros(2, 3), torch.zeros(2, 2)), r"expects \[B, 2\] and"),
        (lambda: LearnedGaussian(torch.tensor([1.0, 0.0])), "not > 0"),
        (lambda: LearnedGaussian(floor=1.0), "floor is 1; expected"),
        (lambda: LearnedGaussian(torch.ones(2)).nll(torch.zeros(2, 1), torch.zeros(2, 1)), "parameters for outputs"),
        (lambda: LearnedNegativeBinomial(-1.0), "dispersion is -1.0; expected"),
        (lambda: LearnedNegativeBinomial(torch.ones(3)).nll(torch.zeros(2, 1), torch.zeros(2, 1)), "parameters for"),
    ],
)
def test_what_cannot_be(make, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()


def test_what_a_typical_sample_has_in_each_column() -> None:
    """Data that only have columns a typical sample lacks have size factors; other columns have none."""
    each = SizeFactors(Poisson(), torch.tensor([3.0, 1.0, 0.0]))
    x = torch.tensor([[4.0, 2.0, 2.0], [1.0, 1.0, 0.0]])
    eta = torch.zeros(2, 3)
    assert torch.equal(each.nll(eta, x), SizeFactors(Poisson(), 4.0).nll(eta, x))
    assert torch.equal(
        each.parted(eta, torch.tensor([[torch.nan, torch.nan, 8.0]] * 2))[0], torch.full((2, 3), 2.0).log()
    )
    with pytest.raises(InputError, match=r"data have shape \(2, 3\); expected \[B, 1\], as typical"):
        SizeFactors(Poisson(), torch.ones(1)).nll(eta, x)
    with pytest.raises(InputError, match=r"least of typical is -1.0"):
        SizeFactors(Poisson(), torch.tensor([3.0, -1.0]))
