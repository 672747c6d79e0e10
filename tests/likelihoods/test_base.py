"""What every observation model promises."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import pytest
import torch
from torch import Tensor
from torch.func import hessian

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
from curvae.likelihoods.base import check_same_shape, per_sample

pytestmark = pytest.mark.usefixtures("float64")


class Case(NamedTuple):
    """An observation model with random decoder outputs and observations for it."""

    likelihood: Likelihood
    eta: Callable[[int], Tensor]  # batch size → [B, *D]
    observe: Callable[[Tensor], Tensor]  # eta → x
    fisher: bool = False  # whitening uses E[−H], not −H


class Exponential(ElementwiseLikelihood):
    """A user's own model, on log-rates: x ~ rate · exp(−rate x)."""

    def nll(self, eta, x):
        check_same_shape(eta, x)
        return per_sample(x * eta.exp() - eta)

    def log_prob(self, eta, x):
        return -self.nll(eta, x)

    def mean(self, eta):
        return (-eta).exp()

    def sample(self, eta, generator=None):
        return torch.empty_like(eta).exponential_(generator=generator) * self.mean(eta)

    def curvature(self, eta, x):
        return x * eta.exp()


def _probabilities(batch: int) -> Tensor:
    return torch.rand(batch, 2, 3) * 0.9 + 0.05


def _normal(*shape: int) -> Callable[[int], Tensor]:
    return lambda batch: torch.randn(batch, *shape)


def _with_factors(counts: Tensor) -> Tensor:
    return torch.cat([counts, torch.rand(len(counts), 1) + 0.5], 1)


def _with_gaps(x: Tensor) -> Tensor:
    return x.where(torch.rand_like(x) < 0.7, torch.nan)


def _classes(eta: Tensor) -> Tensor:
    return torch.randint(2, (len(eta), 2)).to(eta)


CASES = {
    "gaussian": Case(Gaussian(), _normal(5), torch.randn_like),
    "gaussian-sigma": Case(Gaussian(0.3), _normal(1, 3, 2), torch.randn_like),
    "bernoulli": Case(Bernoulli(), _probabilities, lambda eta: torch.rand_like(eta).round()),
    "bernoulli-grey": Case(Bernoulli(), _probabilities, torch.rand_like),
    "logits": Case(BernoulliLogits(), _normal(4), lambda eta: torch.rand_like(eta).round()),
    "logits-grey": Case(BernoulliLogits(), _normal(2, 2), torch.rand_like),
    "poisson": Case(Poisson(), _normal(4), lambda eta: torch.poisson(eta.exp())),
    "continuous-bernoulli": Case(ContinuousBernoulli(), lambda batch: 4 * torch.randn(batch, 6), torch.rand_like),
    "negative-binomial": Case(NegativeBinomial(2.5), _normal(4), lambda eta: torch.poisson(eta.exp())),
    "laplace": Case(Laplace(0.7), _normal(4), torch.randn_like, fisher=True),
    "student-t": Case(StudentT(5.0, 0.6), _normal(4), torch.randn_like, fisher=True),
    "learned-gaussian": Case(LearnedGaussian(0.4).requires_grad_(False), _normal(4), torch.randn_like),
    "learned-gaussian-each": Case(
        LearnedGaussian(torch.linspace(0.2, 2, 4), floor=0.5).double().requires_grad_(False),
        _normal(4),
        torch.randn_like,
    ),
    "learned-negative-binomial": Case(
        LearnedNegativeBinomial(torch.linspace(0.5, 9, 4)).double().requires_grad_(False),
        _normal(4),
        lambda eta: torch.poisson(eta.exp()),
    ),
    "size-factors": Case(SizeFactors(Poisson()), _normal(4), lambda eta: _with_factors(torch.poisson(eta.exp()))),
    "size-factors-total": Case(
        SizeFactors(NegativeBinomial(2.5), typical=6.0), _normal(4), lambda eta: torch.poisson(eta.exp())
    ),
    "masked": Case(Masked(BernoulliLogits()), _normal(6), lambda eta: _with_gaps(torch.rand_like(eta).round())),
    "masked-categorical": Case(
        Masked(Categorical()), _normal(3, 4), lambda eta: _with_gaps(torch.randint(3, (len(eta), 4)).double())
    ),
    "mixed": Case(
        Mixed([(Gaussian(0.3), 1), (Categorical(), 2, 4), (SizeFactors(Poisson()), 3, 2)]),
        _normal(7),
        lambda eta: torch.cat([eta[:, :1], _classes(eta), _with_factors(torch.poisson(eta[:, 5:].exp()))], 1),
    ),
    "masked-mixed": Case(
        Masked(Mixed([(Gaussian(0.3), 2), (Categorical(), 1, 2)])),
        _normal(4),
        lambda eta: _with_gaps(torch.cat([eta[:, :2], _classes(eta)[:, :1]], 1)),
    ),
    "own": Case(Exponential(), _normal(4), lambda eta: torch.rand_like(eta) + 0.1),
    "categorical": Case(Categorical(), _normal(4), lambda eta: torch.randint(4, (len(eta),))),
    "categorical-positions": Case(Categorical(), _normal(3, 2, 2), lambda eta: torch.randint(3, (len(eta), 2, 2))),
}


@pytest.fixture(params=CASES.values(), ids=CASES.keys())
def case(request: pytest.FixtureRequest) -> Case:
    return request.param


def test_nll_is_minus_log_prob_up_to_a_constant_in_eta(case: Case, seed: int) -> None:
    eta, other = case.eta(6), case.eta(6)
    x = case.observe(eta)
    constant = case.likelihood.nll(eta, x) + case.likelihood.log_prob(eta, x)
    assert constant.shape == (6,)
    torch.testing.assert_close(constant, case.likelihood.nll(other, x) + case.likelihood.log_prob(other, x))


def test_each_sample_is_scored_by_itself(case: Case, seed: int) -> None:
    eta = case.eta(4)
    x = case.observe(eta)
    for score in (case.likelihood.nll, case.likelihood.log_prob):
        alone = torch.cat([score(eta[i : i + 1], x[i : i + 1]) for i in range(4)])
        torch.testing.assert_close(score(eta, x), alone)


def test_whitened_tangents_give_the_hessian_of_the_nll(case: Case, seed: int) -> None:
    eta = case.eta(3)
    x = case.observe(eta)
    tangents = torch.randn(*eta.shape, 4)
    whitened = case.likelihood.whiten(eta, x, tangents).flatten(1, -2)
    for i in range(3):
        size = eta[i].numel()
        curvature = _expected_hessian(case, eta[i]) if case.fisher else _hessian(case, eta[i], x[i])
        t = tangents[i].reshape(size, 4)
        tolerance = {"rtol": 1e-6, "atol": 1e-9} if case.fisher else {}  # quadrature's
        torch.testing.assert_close(whitened[i].mT @ whitened[i], t.mT @ curvature.reshape(size, size) @ t, **tolerance)


def _hessian(case: Case, eta: Tensor, x: Tensor) -> Tensor:
    return hessian(lambda e: case.likelihood.nll(e[None], x[None])[0])(eta)


def _expected_hessian(case: Case, eta: Tensor) -> Tensor:
    """E[−∇² log p] = E[∇ log p ∇ log pᵀ], by quadrature over each output, which are alike and independent."""
    x = torch.linspace(-400, 400, 1_600_000)  # no point at zero, where the nll of Laplace has a kink
    centre = torch.zeros((), requires_grad=True)
    log_prob = case.likelihood.log_prob(centre.expand(len(x), 1), x[:, None])
    score = torch.func.vmap(torch.func.grad(lambda e, v: case.likelihood.log_prob(e[None, None], v[None, None])[0]))
    information = torch.trapezoid(log_prob.exp() * score(torch.zeros_like(x), x).square(), x)
    return torch.diag(information.detach().expand(eta.numel()))


def test_gradients_of_nll_and_whitening(case: Case, seed: int) -> None:
    eta = case.eta(2)
    x = case.observe(eta)
    tangents = torch.randn(*eta.shape, 2, requires_grad=True)
    eta.requires_grad_()
    assert torch.autograd.gradcheck(lambda e: case.likelihood.nll(e, x), (eta,))
    assert torch.autograd.gradcheck(lambda e, t: case.likelihood.whiten(e, x, t), (eta, tangents))


def test_samples_have_the_mean(case: Case, seed: int) -> None:
    draws = 20_000
    eta = case.eta(1)
    samples = case.likelihood.sample(eta.expand(draws, *eta.shape[1:]), torch.Generator().manual_seed(seed))
    samples = _as_outputs(case.likelihood, samples, eta)
    error = (samples.mean(0) - case.likelihood.mean(eta)[0]) / (samples.std(0) / draws**0.5)
    assert samples.std(0).min() > 0
    assert error.abs().max() < 5


def _as_outputs(likelihood: Likelihood, samples: Tensor, eta: Tensor) -> Tensor:
    """Observations in the form of means: classes one-hot, without size factors."""
    match likelihood:
        case Categorical():
            return torch.nn.functional.one_hot(samples.long(), eta.shape[1]).movedim(-1, 1).double()
        case SizeFactors(typical=None):
            return samples[:, :-1]
        case Masked():
            return _as_outputs(likelihood.likelihood, samples, eta)
        case Mixed():
            columns = samples.split([part.columns for part in likelihood.parts], 1)
            outputs = eta.split([part.outputs for part in likelihood.parts], 1)
            shaped = [
                e.unflatten(1, (-1, part.columns)) if isinstance(part.likelihood, Categorical) else e
                for e, part in zip(outputs, likelihood.parts, strict=True)
            ]
            parts = zip(likelihood.parts, columns, shaped, strict=True)
            return torch.cat([_as_outputs(part.likelihood, x, e).flatten(1) for part, x, e in parts], 1)
    return samples.double()


def test_samples_look_like_observations_and_come_from_the_generator(case: Case, seed: int) -> None:
    eta = case.eta(64)
    before = torch.random.get_rng_state()
    first, again, other = (case.likelihood.sample(eta, torch.Generator().manual_seed(s)) for s in (seed, seed, 99))
    assert torch.equal(before, torch.random.get_rng_state())
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first.shape == case.observe(eta).shape
    assert case.likelihood.log_prob(eta, first).isfinite().all()


@pytest.mark.usefixtures("as_shipped")
def test_shapes_are_never_broadcast(case: Case) -> None:
    eta = case.eta(3)
    x = case.observe(eta)
    for wrong in (x[:1], x[..., None], x[..., :1], x.flatten()[:2]):
        with pytest.raises(InputError, match=r"shape \(3, .*\)"):
            case.likelihood.nll(eta, wrong)
        with pytest.raises(InputError):
            case.likelihood.log_prob(eta, wrong)
        if not isinstance(case.likelihood, Gaussian):  # whose curvature asks nothing of the data
            with pytest.raises(InputError):
                case.likelihood.whiten(eta, wrong, torch.ones_like(eta).unsqueeze(-1))


def test_an_empty_batch_has_no_scores(case: Case) -> None:
    eta = case.eta(2)
    x = case.observe(eta)
    assert case.likelihood.nll(eta[:0], x[:0]).shape == (0,)
    assert case.likelihood.log_prob(eta[:0], x[:0]).shape == (0,)


def test_the_former_name_of_nll_still_works_and_says_so() -> None:
    eta, x = torch.randn(3, 4), torch.randn(3, 4)
    with pytest.warns(FutureWarning, match="now called nll"):
        torch.testing.assert_close(Gaussian().energy(eta, x), Gaussian().nll(eta, x))


class Cauchy(ElementwiseLikelihood):
    """A user's own heavy tails, with the second derivative as curvature: negative where |x − eta| > 1."""

    def nll(self, eta, x):
        return per_sample((x - eta).square().log1p())

    def log_prob(self, eta, x):
        return -self.nll(eta, x) - math.log(math.pi) * x[0].numel()

    def mean(self, eta):
        return eta

    def sample(self, eta, generator=None):
        return eta + torch.empty_like(eta).cauchy_(generator=generator)

    def curvature(self, eta, x):
        square = (x - eta).square()
        return 2 * (1 - square) / (1 + square).square()


@pytest.mark.parametrize("total", [lambda values: values.flatten(1).sum(1), lambda values: values.sum(-1)])
def test_gaps_in_a_model_that_sums_over_an_axis_of_its_own(total: Callable[[Tensor], Tensor]) -> None:
    class Own(Exponential):
        def nll(self, eta: Tensor, x: Tensor) -> Tensor:
            return total(x * eta.exp() - eta)

    eta, x = torch.zeros(2, 3), torch.tensor([[1.0, torch.nan, 2.0], [0.5, 1.0, 1.0]])
    for score in (Masked(Own()).nll, Masked(Own()).log_prob):
        with pytest.raises(InputError, match="does not score each observed number by itself, which Masked needs"):
            score(eta, x)


class Weighted(Exponential):
    """A user's own model with a parameter of each output."""

    shape: tuple[int, ...] = (3,)

    def nll(self, eta: Tensor, x: Tensor) -> Tensor:
        return per_sample(torch.tensor([1.0, 2.0, 3.0]).view(self.shape) * (x * eta.exp() - eta))


class WeightedColumn(Weighted):
    """The same for outputs ``[3, 1]``, whose flattened numbers its parameter broadcasts."""

    shape = (3, 1)


def test_gaps_in_a_model_with_a_parameter_of_each_output() -> None:
    eta, x = torch.zeros(2, 3), torch.tensor([[1.0, torch.nan, 2.0], [0.5, 1.0, 1.0]])
    for score in (Masked(Weighted()).nll, Masked(Weighted()).log_prob):
        with pytest.raises(
            InputError, match=r"^Weighted\(\) does not score each observed number[^\n]*; give it[^\n]*$"
        ):
            score(eta, x)
    for own, shape in ((Weighted(), (1, 3)), (WeightedColumn(), (1, 3, 1)), (WeightedColumn(), (2, 3, 1))):
        assert own.nll(torch.zeros(shape), torch.ones(shape)).shape == shape[:1]
        with pytest.raises(InputError, match=r"does not score each observed number"):
            Masked(own).nll(torch.zeros(shape), torch.ones(shape))
    with pytest.raises(RuntimeError, match="must match the size"):  # the model's own error
        Masked(Weighted()).nll(torch.zeros(2, 4), torch.ones(2, 4))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "wrap", [lambda own: own, Masked, lambda own: Mixed([(own, 3)])], ids=["itself", "gaps", "mixed"]
)
def test_a_negative_curvature_is_refused(wrap: Callable[[Likelihood], Likelihood], seed: int) -> None:
    """Its root is NaN, and so would be the loss."""
    eta, tangents = torch.zeros(2, 3), torch.randn(2, 3, 4)
    near, far = torch.full((2, 3), 0.5), torch.tensor([[0.5, 2.0, 0.5], [0.5, 0.5, 0.5]])
    assert wrap(Cauchy()).whiten(eta, near, tangents).isfinite().all()
    with pytest.raises(InputError, match=r"^Cauchy\.curvature gave -0\.24; expected numbers ≥ 0: [^\n]*$"):
        wrap(Cauchy()).whiten(eta.requires_grad_(), far, tangents)  # as in training, where PyTorch must not warn first


def test_a_curvature_inside_a_transform_is_not_looked_at() -> None:
    eta, tangents = torch.zeros(2, 3), torch.randn(2, 3, 4)
    stacked = torch.vmap(lambda x: Cauchy().whiten(eta, x, tangents))(torch.full((5, 2, 3), 2.0))
    assert stacked.isnan().all()
