"""Gauss–Newton curvature against JᵀHJ from reverse mode, and against the exact Hessian where the two are one."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.func import hessian, jacrev

from curvae.curvature import gauss_newton
from curvae.likelihoods import Bernoulli, BernoulliLogits, Categorical, Gaussian, Likelihood, Poisson
from curvae.nn import MLPDecoder

pytestmark = pytest.mark.usefixtures("float64")

BATCH, LATENTS = 3, 4

# likelihood, shape of η, what ends the decoder, observations for a given η
CASES: dict[str, tuple[Likelihood, tuple[int, ...], nn.Module | None, Callable[[Tensor], Tensor]]] = {
    "gaussian": (Gaussian(), (1, 2, 3), None, torch.randn_like),
    "gaussian-sigma": (Gaussian(0.2), (5,), None, torch.randn_like),
    "bernoulli": (Bernoulli(), (2, 3), nn.Sigmoid(), lambda eta: torch.rand_like(eta).round()),
    "bernoulli-grey": (Bernoulli(), (6,), nn.Sigmoid(), torch.rand_like),
    "logits": (BernoulliLogits(), (2, 3), None, torch.rand_like),
    "poisson": (Poisson(), (5,), None, lambda eta: torch.poisson(eta.exp())),
    "categorical": (Categorical(), (3, 2, 2), None, lambda eta: torch.randint(3, (len(eta), 2, 2))),
}


@pytest.fixture(params=CASES.values(), ids=CASES.keys())
def setting(request: pytest.FixtureRequest, seed: int) -> tuple[nn.Module, Tensor, Tensor, Likelihood]:
    likelihood, shape, output, observe = request.param
    decoder = MLPDecoder(LATENTS, shape, hidden=(7,), output=output)
    z = torch.randn(BATCH, LATENTS)
    return decoder, z, observe(decoder(z).detach()), likelihood


def _reference(decoder: nn.Module, z: Tensor, x: Tensor, likelihood: Likelihood) -> Tensor:
    """−Jᵀ (∇²_η log p) J of each sample, with the D × D matrix in full."""
    curvatures = []
    for i in range(len(z)):
        eta = decoder(z[i : i + 1])[0]
        outer = hessian(lambda e, i=i: likelihood.log_prob(e[None], x[i : i + 1])[0])(eta)
        jacobian = jacrev(lambda p: decoder(p[None])[0])(z[i]).reshape(-1, LATENTS)
        curvatures.append(-jacobian.mT @ outer.reshape(len(jacobian), -1) @ jacobian)
    return torch.stack(curvatures)


def _exact(decoder: nn.Module, z: Tensor, x: Tensor, likelihood: Likelihood) -> Tensor:
    """−∇²_z log p(x | z), nothing dropped."""
    return torch.stack(
        [-hessian(lambda p, i=i: likelihood.log_prob(decoder(p[None]), x[i : i + 1])[0])(z[i]) for i in range(len(z))]
    )


@pytest.mark.covering
@pytest.mark.parametrize("chunk_size", [None, 3])
def test_value_and_gradients(setting: tuple[nn.Module, Tensor, Tensor, Likelihood], chunk_size: int | None) -> None:
    decoder, z, x, likelihood = setting
    z.requires_grad_()
    got = gauss_newton(decoder, z, x, likelihood, chunk_size)
    expected = _reference(decoder, z, x, likelihood)
    torch.testing.assert_close(got, expected)
    assert (torch.linalg.eigvalsh(got) > -1e-12).all()
    weight, wrt = torch.randn_like(got), (z, *decoder.parameters())
    torch.testing.assert_close(
        torch.autograd.grad((weight * got).sum(), wrt, materialize_grads=True),
        torch.autograd.grad((weight * expected).sum(), wrt, materialize_grads=True),
    )


def test_the_papers_case_is_the_metric(seed: int) -> None:
    decoder, z = MLPDecoder(LATENTS, (2, 3), hidden=(7,)), torch.randn(BATCH, LATENTS)
    jacobian = torch.stack([jacrev(lambda p: decoder(p[None])[0])(sample) for sample in z]).flatten(1, 2)
    x = torch.randn(BATCH, 2, 3)
    torch.testing.assert_close(gauss_newton(decoder, z, x, Gaussian()), jacobian.mT @ jacobian)
    torch.testing.assert_close(gauss_newton(decoder, z, x, Gaussian(0.5)), 4 * jacobian.mT @ jacobian)


@pytest.mark.parametrize("activation", [nn.ReLU, nn.LeakyReLU])
@pytest.mark.parametrize("likelihood", [BernoulliLogits(), Poisson(), Gaussian(), Categorical()], ids=repr)
def test_piecewise_linear_decoder_with_a_canonical_link_has_this_hessian(
    activation: type[nn.Module], likelihood: Likelihood, seed: int
) -> None:
    """(6) is exact: the decoder has no second derivative and the link is the observation model's."""
    categorical = isinstance(likelihood, Categorical)
    decoder = MLPDecoder(LATENTS, (3, 2) if categorical else (6,), hidden=(16, 16), activation=activation)
    z = torch.randn(BATCH, LATENTS)
    x = torch.randint(3, (BATCH, 2)) if categorical else torch.randint(2, (BATCH, 6)).double()
    exact = _exact(decoder, z, x, likelihood)
    assert exact.norm() > 1e-3
    torch.testing.assert_close(gauss_newton(decoder, z, x, likelihood), exact)


def test_a_link_inside_the_decoder_leaves_a_second_term(seed: int) -> None:
    """The same relu network, with the sigmoid on the decoder's side: Gauss–Newton is not the Hessian any more."""
    logits = MLPDecoder(LATENTS, (6,), hidden=(16, 16), activation=nn.ReLU)
    probabilities = nn.Sequential(logits, nn.Sigmoid())
    z, x = torch.randn(BATCH, LATENTS), torch.randint(2, (BATCH, 6)).double()
    exact = _exact(probabilities, z, x, Bernoulli())
    torch.testing.assert_close(exact, _exact(logits, z, x, BernoulliLogits()))  # one model, written in two ways
    error = (gauss_newton(probabilities, z, x, Bernoulli()) - exact).norm() / exact.norm()
    assert error > 0.03


def test_a_smooth_decoder_leaves_a_second_term(seed: int) -> None:
    decoder, z, x = MLPDecoder(LATENTS, (6,), hidden=(16,)), torch.randn(BATCH, LATENTS), 3 * torch.randn(BATCH, 6)
    exact = _exact(decoder, z, x, Gaussian())
    assert (gauss_newton(decoder, z, x, Gaussian()) - exact).norm() > 0.05 * exact.norm()
