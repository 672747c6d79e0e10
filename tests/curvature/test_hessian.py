"""The exact Hessian against torch.func.hessian, and (4), (9), (10) built on it."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from curvae import Autoencoder, curvature, likelihoods, objectives, posteriors
from curvae.curvature.hessian import hessian_products
from curvae.errors import IndefiniteError, InputError

D, LATENTS, BATCH = 5, 3, 4


def decoder(activation: type[nn.Module], *last: nn.Module, norm: bool = False) -> nn.Sequential:
    layers = [nn.Linear(LATENTS, 8), *([nn.BatchNorm1d(8)] if norm else []), activation(), nn.Linear(8, D), *last]
    return nn.Sequential(*layers).double()


def oracle(fn, z, x, likelihood):
    """Per sample, reverse over reverse or forward, on the normalised log-probability."""

    def one(zi, xi):
        return likelihood.log_prob(fn(zi[None]), xi[None])[0]

    return torch.func.vmap(torch.func.hessian(one))(z, x)


CASES = [
    (likelihoods.Gaussian(0.3), (), lambda n: torch.randn(n, D)),
    (likelihoods.Bernoulli(), (nn.Sigmoid(),), lambda n: torch.rand(n, D)),
    (likelihoods.BernoulliLogits(), (), lambda n: torch.rand(n, D).round()),
    (likelihoods.Poisson(), (), lambda n: torch.poisson(2 * torch.ones(n, D))),
]


@pytest.mark.parametrize(("likelihood", "last", "data"), CASES, ids=[str(case[0]) for case in CASES])
@pytest.mark.parametrize("activation", [nn.ELU, nn.Tanh])
def test_equals_torch_func_hessian_in_value_and_gradient(seed, likelihood, last, data, activation):
    torch.manual_seed(seed)
    fn = decoder(activation, *last)
    z, x = torch.randn(BATCH, LATENTS, dtype=torch.double), data(BATCH).double()
    ours = curvature.hessian(fn, z, x, likelihood, chunk_size=2)
    theirs = oracle(fn, z, x, likelihood)
    torch.testing.assert_close(ours, theirs)
    weights = torch.randn_like(ours)
    parameters = list(fn.parameters())
    for a, b in zip(
        torch.autograd.grad((ours * weights).sum(), parameters, allow_unused=True),
        torch.autograd.grad((theirs * weights).sum(), parameters, allow_unused=True),
        strict=True,
    ):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("train", [True, False])
def test_batch_normalisation_is_fixed_and_counted_once(train):
    torch.manual_seed(2)
    fn = decoder(nn.ELU, norm=True).train(train)
    plain = copy.deepcopy(fn)
    z, x = torch.randn(BATCH, LATENTS, dtype=torch.double), torch.randn(BATCH, D, dtype=torch.double)
    ours = curvature.hessian(fn, z, x, likelihoods.Gaussian(), chunk_size=1)
    plain(z)
    for a, b in zip(fn.buffers(), plain.buffers(), strict=True):
        torch.testing.assert_close(a, b)
    deployed = copy.deepcopy(fn).eval()
    if train:
        hidden = deployed[0](z).detach()
        deployed[1].running_mean, deployed[1].running_var = hidden.mean(0), hidden.var(0, correction=0)
    torch.testing.assert_close(ours, oracle(deployed, z, x, likelihoods.Gaussian()))


@pytest.mark.parametrize("likelihood", [likelihoods.BernoulliLogits(), likelihoods.Poisson()], ids=str)
def test_equals_gauss_newton_for_a_piecewise_linear_decoder(likelihood):
    """Equation (6), when the link belongs to the observation model."""
    torch.manual_seed(3)
    fn = decoder(nn.LeakyReLU)
    z, x = torch.randn(BATCH, LATENTS, dtype=torch.double), torch.ones(BATCH, D, dtype=torch.double)
    gauss_newton = curvature.gauss_newton(fn, z, x, likelihood)
    torch.testing.assert_close(-curvature.hessian(fn, z, x, likelihood), gauss_newton)


def test_differs_from_gauss_newton_where_the_sigmoid_is_inside_the_decoder():
    torch.manual_seed(3)
    fn = decoder(nn.LeakyReLU, nn.Sigmoid())
    z, x = torch.randn(BATCH, LATENTS, dtype=torch.double), torch.ones(BATCH, D, dtype=torch.double)
    gauss_newton = curvature.gauss_newton(fn, z, x, likelihoods.Bernoulli())
    difference = curvature.hessian(fn, z, x, likelihoods.Bernoulli()) + gauss_newton
    assert difference.norm() > 0.05 * gauss_newton.norm()


STRUCTURES = [posteriors.Diagonal(), posteriors.BlockDiagonal(2), posteriors.Full()]


@pytest.mark.parametrize("structure", STRUCTURES, ids=str)
def test_taylor_with_the_exact_hessian_is_equation_4(structure):
    torch.manual_seed(4)
    model = Autoencoder(nn.Linear(D, 7), decoder(nn.ELU, nn.Sigmoid()), LATENTS, structure).double()
    x = torch.rand(BATCH, D, dtype=torch.double)
    likelihood = likelihoods.Bernoulli()
    q = model.posterior(x)
    h = oracle(model.decode, q.mean, x, likelihood)
    trace = torch.einsum("bij,bji->b", h, q.covariance())
    expected = likelihood.nll(model.decode(q.mean), x) - 0.5 * trace + 0.3 * q.kl()
    terms = objectives.Taylor(0.3, likelihood, curvature="hessian", chunk_size=2)(model, x)
    torch.testing.assert_close(terms.total, expected)


@pytest.mark.parametrize("structure", STRUCTURES, ids=str)
def test_closed_form_is_taylor_at_its_optimal_covariance(structure):
    """(10) = (4) at (9), where it exists: within each structure."""
    torch.manual_seed(5)
    beta, likelihood = 50.0, likelihoods.BernoulliLogits()
    model = Autoencoder(nn.Linear(D, 7), decoder(nn.Tanh), LATENTS, structure).double()
    x = torch.rand(BATCH, D, dtype=torch.double).round()
    h = model.encode(x)
    hessian = oracle(model.decode, h, x, likelihood)
    q = posteriors.Normal(h, structure.optimal(-hessian, beta))
    trace = torch.einsum("bij,bji->b", hessian, q.covariance())
    expected = likelihood.nll(model.decode(h), x) - 0.5 * trace + beta * q.kl()
    grae = objectives.GRAE(beta, likelihood, structure, curvature="hessian")
    torch.testing.assert_close(grae(model, x).total, expected)


def test_an_indefinite_closed_form_is_refused_with_its_eigenvalue():
    """g(z) = z², x far above g: the second term of (5) makes the log-likelihood convex in z."""
    model = Autoencoder(nn.Identity(), Square(), latents=1, features=1).double()
    x = torch.full((1, 1), 0.5, dtype=torch.double)
    # at h = 0.5: H = −(g'² + (g − x) g'') = −(1 + (0.25 − 0.5)·2) = −0.5; at x = 5, h = 5: fine; push x instead
    fine = objectives.GRAE(0.1, curvature="hessian")(model, x)
    assert torch.isfinite(fine.total).all()
    shifted = Autoencoder(nn.Hardtanh(-0.1, 0.1), Square(), latents=1, features=1).double()
    # at h = 0.1, x = 0.5: −H = 0.04 + (0.01 − 0.5)·2 = −0.94, so I − H/β = 1 − 9.4
    with pytest.raises(IndefiniteError, match=r"smallest eigenvalue in the batch is -8\.4"):
        objectives.GRAE(0.1, curvature="hessian")(shifted, x)
    taylor = hessian_products(
        shifted.decode, shifted.encode(x), x, likelihoods.Gaussian(), torch.ones(1, 1, 1).double()
    )
    torch.testing.assert_close(taylor[1].squeeze(), torch.tensor(0.94).double())


class Square(nn.Module):
    """g(z) = z², with a parameter so that the model has a type."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return self.weight * z.square()


def test_bad_arguments():
    with pytest.raises(InputError, match="curvature is 'newton'"):
        curvature.check_curvature("newton")
    with pytest.raises(InputError, match=r"needs estimator Exact\(\); got Columns\(1\)"):
        objectives.GRAE(0.1, structure=posteriors.Diagonal(), estimator=curvature.Columns(1), curvature="hessian")
