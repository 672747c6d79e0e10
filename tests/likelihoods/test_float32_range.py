"""Every model over all of float32: nll, its slope and bend, whitening and its slope, against 60-digit arithmetic."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import mpmath
import pytest
import torch
from torch import Tensor

from curvae import Autoencoder, objectives
from curvae.curvature import hessian
from curvae.errors import IndefiniteError, InputError
from curvae.likelihoods import (
    Bernoulli,
    BernoulliLogits,
    Categorical,
    ContinuousBernoulli,
    ElementwiseLikelihood,
    Gaussian,
    Laplace,
    LearnedGaussian,
    Likelihood,
    NegativeBinomial,
    Poisson,
    StudentT,
)
from curvae.likelihoods.base import per_sample
from curvae.metrics import Implied
from curvae.posteriors import Banded, BlockDiagonal, Diagonal, Full, Shared, Structure

mp = mpmath.mp.clone()
mp.dps = 60
Number = mpmath.mpf
Exact = Callable[[Number, Number], tuple[Number, Number, Number, Number]]
"""η, x to nll, slope, bend, and the curvature whose root whitens."""

SIZES = [
    1e-45,
    1e-38,
    1e-20,
    1e-7,
    1e-3,
    0.31,
    0.59,
    0.61,
    1,
    7,
    21,
    50,
    87,
    89,
    100,
    105,
    180,
    1e3,
    1e10,
    1e20,
    1e30,
    1e38,
]
REALS = [0.0, *SIZES, *(-size for size in SIZES)]


def _gaussian(e: Number, x: Number) -> tuple[Number, ...]:
    return (x - e) ** 2 / 2, e - x, mp.mpf(1), mp.mpf(1)


def _laplace(e: Number, x: Number) -> tuple[Number, ...]:
    return abs(x - e), mp.sign(e - x), mp.mpf(0), mp.mpf(1)


def _student(e: Number, x: Number) -> tuple[Number, ...]:
    u = e - x
    return mp.mpf(2.5) * mp.log1p(u**2 / 4), 5 * u / (4 + u**2), 5 * (4 - u**2) / (4 + u**2) ** 2, mp.mpf(5) / 7


def _logits(e: Number, x: Number) -> tuple[Number, ...]:
    bend = 1 / (2 + mp.exp(e) + mp.exp(-e))
    return mp.log1p(mp.exp(e)) - x * e, 1 / (1 + mp.exp(-e)) - x, bend, bend


def _poisson(e: Number, x: Number) -> tuple[Number, ...]:
    return mp.exp(e) - x * e, mp.exp(e) - x, mp.exp(e), mp.exp(e)


def _negative_binomial(e: Number, x: Number) -> tuple[Number, ...]:
    r = mp.mpf(2.5)
    bend = (x + r) / (2 + mp.exp(e) / r + r * mp.exp(-e))
    return (x + r) * mp.log1p(mp.exp(e) / r) - x * e, (x + r) / (1 + r * mp.exp(-e)) - x, bend, bend


def _continuous_bernoulli(e: Number, x: Number) -> tuple[Number, ...]:
    e = mp.mpf(1e-20) if abs(e) < 1e-20 else e  # where its limit is reached
    size, u = abs(e), e / 2
    value = size + mp.log(-mp.expm1(-size) / size) - (size if e < 0 else 0) - x * e
    small = abs(e) < 1e-8
    slope = mp.mpf(0.5) + (u / 6 if small else (mp.coth(u) - 1 / u) / 2) - x
    bend = mp.mpf(1) / 12 if small else (1 / u**2 - mp.csch(u) ** 2) / 4
    return value, slope, bend, bend


def _bernoulli(g: Number, x: Number) -> tuple[Number, ...]:
    bend = (1 / g) ** 2 if x == 1 else (1 / (1 - g)) ** 2
    return -mp.log(g if x == 1 else 1 - g), -1 / g if x == 1 else 1 / (1 - g), bend, bend


COUNTS, PROBABILITIES = [0.0, 1.0, 40.0, 1e6], [1e-30, 1e-5, 0.3, 0.999]
CASES: list[tuple[ElementwiseLikelihood, Exact, Sequence[float], Sequence[float]]] = [
    (Gaussian(), _gaussian, REALS, [0.0, 1.0, -1e10]),
    (LearnedGaussian().requires_grad_(False), _gaussian, REALS, [0.0, 1.0, -1e10]),
    (Laplace(), _laplace, REALS, [0.5, -1e10]),
    (StudentT(4.0), _student, REALS, [0.0, 1.0, -1e10]),
    (BernoulliLogits(), _logits, REALS, [0.0, 1.0]),
    (ContinuousBernoulli(), _continuous_bernoulli, REALS, [0.0, 1.0]),
    (Poisson(), _poisson, REALS, COUNTS[:2]),
    (NegativeBinomial(2.5), _negative_binomial, REALS, COUNTS[:2]),
    (Poisson(), _poisson, [e for e in REALS if abs(e) < 1e30], COUNTS),
    (NegativeBinomial(2.5), _negative_binomial, REALS, COUNTS),
    (Bernoulli(), _bernoulli, PROBABILITIES, [0.0, 1.0]),
]


def _close(got: float, true: Number, scale: Number) -> bool:
    """To float32: what is too large for it is infinite with its sign, what is too small may be zero."""
    limits = torch.finfo(torch.float32)
    if abs(true) > limits.max:
        return got == float("inf") * mp.sign(true) or abs(got) > 0.99 * limits.max
    return abs(got - true) <= 2e-5 * max(abs(true), scale) + limits.tiny


@pytest.mark.parametrize(("likelihood", "exact", "etas", "data"), CASES, ids=[str(case[0]) for case in CASES])
def test_value_slope_bend_and_whitening(
    likelihood: ElementwiseLikelihood, exact: Exact, etas: Sequence[float], data: Sequence[float]
) -> None:
    for observed in data:
        eta = torch.tensor(etas)[:, None].requires_grad_()
        x = torch.full_like(eta, observed).detach()
        nll, whitened = likelihood.nll(eta, x), likelihood.whiten(eta, x, torch.ones(len(eta), 1, 1)).flatten()
        options = {"materialize_grads": True, "create_graph": True}
        (slope,) = torch.autograd.grad(nll.sum(), eta, **options)
        (bend,) = torch.autograd.grad(slope.sum(), eta, **options) if slope.requires_grad else (torch.zeros_like(eta),)
        turned = whitened.requires_grad
        (root_slope,) = torch.autograd.grad(whitened.sum(), eta, **options) if turned else (torch.zeros_like(eta),)
        for i, e in enumerate(eta.flatten().tolist()):
            value, first, second, curvature = exact(mp.mpf(e), mp.mpf(x[i].item()))
            scale = 1 + abs(mp.mpf(x[i].item()))  # what cancels: x against the mean, x times η
            assert _close(nll[i].item(), value, scale), ("nll", e, observed)
            assert _close(slope[i].item(), first, scale), ("slope", e, observed)
            assert _close(bend[i].item(), second, 0.05 * scale), ("bend", e, observed)
            assert _close(whitened[i].item(), mp.sqrt(curvature), mp.mpf(0)) or curvature < 1e-30, ("root", e, observed)
            assert root_slope[i].isfinite().all() or abs(curvature) > 1e30, ("slope of the root", e, observed)


class _EdgeUniforms:
    """``torch.rand`` at its ends."""

    def __init__(self, value: float) -> None:
        self.value = value

    def __call__(self, shape: torch.Size, **options: object) -> Tensor:
        dtype = options["dtype"]
        assert isinstance(dtype, torch.dtype)
        top = 1 - torch.finfo(dtype).eps / 2
        return torch.full(shape, min(self.value, top), dtype=dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("uniform", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("likelihood", [Laplace(0.3), ContinuousBernoulli()], ids=str)
def test_samples_at_the_edge_uniforms_are_finite(
    likelihood: Likelihood, uniform: float, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "rand", _EdgeUniforms(uniform))
    for eta in (-1e30, -200.0, -1.0, 0.0, 1e-9, 3.0, 1e30):
        assert likelihood.sample(torch.full((4, 2), eta, dtype=dtype)).isfinite().all()


@pytest.mark.parametrize("likelihood", [Poisson(), NegativeBinomial(1e-3), NegativeBinomial(50.0)], ids=str)
def test_counts_of_any_rate_are_finite_and_not_negative(likelihood: Likelihood) -> None:
    for eta in (-1e38, -100.0, 3.0, 34.0, 44.0, 60.0, 88.0, 1e38):
        counts = likelihood.sample(torch.full((500, 1), eta), torch.Generator().manual_seed(0))
        assert counts.isfinite().all()
        assert (counts >= 0).all()
    large = Poisson().sample(torch.full((4000, 1), 44.0).double(), torch.Generator().manual_seed(0)) / math.exp(44)
    assert abs(float(large.mean()) - 1) < 1e-8
    assert abs(StudentT(1e-3).sample(torch.zeros(500, 1), torch.Generator().manual_seed(0))).isfinite().all()


class Absolute(ElementwiseLikelihood):
    """A user's own kink, which does not declare itself."""

    def nll(self, eta: Tensor, x: Tensor) -> Tensor:
        return per_sample((x - eta).abs())

    def log_prob(self, eta: Tensor, x: Tensor) -> Tensor:
        return -self.nll(eta, x)

    def mean(self, eta: Tensor) -> Tensor:
        return eta

    def sample(self, eta: Tensor, generator: torch.Generator | None = None) -> Tensor:
        return eta

    def curvature(self, eta: Tensor, x: Tensor) -> Tensor:
        return torch.ones_like(eta)


def _model(structure: Structure | None = None) -> Autoencoder:
    decoder = torch.nn.Sequential(torch.nn.Linear(3, 6), torch.nn.ELU(), torch.nn.Linear(6, 5))
    return Autoencoder(torch.nn.Linear(5, 4), decoder, 3, structure)


@pytest.mark.parametrize("likelihood", [Laplace(), Absolute()], ids=["Laplace", "own"])
def test_a_kink_has_no_exact_hessian(likelihood: Likelihood) -> None:
    model, x = _model(Full()), torch.randn(4, 5)
    for make in (
        lambda: objectives.GRAE(0.1, likelihood, curvature="hessian")(model, x),
        lambda: objectives.Taylor(0.1, likelihood, curvature="hessian")(model, x),
        lambda: Implied(model, 0.1, likelihood, curvature="hessian")(x),
        lambda: hessian(model.decode, torch.zeros(4, 3), x, likelihood),
    ):
        with pytest.raises(InputError, match=r"has no second derivative in its outputs.*use 'gauss-newton'"):
            make()
    if isinstance(likelihood, Laplace):  # at once, where it says so itself
        with pytest.raises(InputError, match="has no second derivative"):
            objectives.GRAE(0.1, likelihood, curvature="hessian")
    objectives.GRAE(0.1, likelihood)(model, x)


def test_smooth_models_keep_their_hessian() -> None:
    """Also where it is 0 to rounding, as a saturated categorical's."""
    z, x = torch.full((2, 3), 1e4), torch.zeros(2)
    classes = hessian(lambda z: z, z + torch.arange(3.0), x, Categorical())
    torch.testing.assert_close(classes, classes.mT)
    for likelihood in (StudentT(3.0), Poisson(), BernoulliLogits()):
        hessian(lambda z: -z, z, torch.zeros(2, 3), likelihood)


@pytest.mark.parametrize("structure", [Diagonal(), BlockDiagonal(2), Full(), Banded(1), Shared(Full())], ids=repr)
def test_no_covariance_where_9_does_not_exist(structure: Structure) -> None:
    """g(z) = z² and x far above it: −H = 4z² + 2(z² − x) is negative."""
    model, x = _model(), torch.full((2, 3), 5.0)
    model.encoder, model.mean_head, model.decoder = torch.nn.Identity(), torch.nn.Hardtanh(-0.1, 0.1), _Square()
    model.features = 3
    with pytest.raises(IndefiniteError, match=r"eigenvalue -9.94 <= -beta = -2"):
        Implied(model, 2.0, structure=structure, curvature="hessian")(x)
    assert Implied(model, 20.0, structure=structure, curvature="hessian")(x).covariance().isfinite().all()


class _Square(torch.nn.Module):
    def forward(self, z: Tensor) -> Tensor:
        return z.square()
