"""Equation (2)."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

from curvae import Autoencoder
from curvae.errors import InputError
from curvae.likelihoods import BernoulliLogits, Categorical, Gaussian, Likelihood
from curvae.nn import MLPDecoder
from curvae.objectives import BetaVAE, Taylor
from curvae.posteriors import BlockDiagonal, Diagonal, Full, Structure

pytestmark = pytest.mark.usefixtures("float64")


@pytest.mark.parametrize("structure", [Diagonal(), BlockDiagonal(2), Full()], ids=str)
@pytest.mark.parametrize("samples", [1, 3])
def test_value_and_gradients_with_known_noise(structure: Structure, samples: int, seed: int) -> None:
    model = Autoencoder(nn.Linear(6, 7), MLPDecoder(3, (6,), hidden=(8,)), latents=3, structure=structure)
    x, beta = torch.randint(2, (4, 6)).double(), 0.3
    got = BetaVAE(beta, BernoulliLogits(), samples)(model, x, torch.Generator().manual_seed(seed)).total
    q = model.posterior(x)
    noise = torch.randn(samples, 4, 3, generator=torch.Generator().manual_seed(seed))
    z = q.mean + torch.einsum("bij,sbj->sbi", q.factor.dense(), noise)
    log_p = torch.stack([torch.distributions.Bernoulli(logits=model.decode(one)).log_prob(x).sum(1) for one in z])
    reference = torch.distributions.MultivariateNormal(q.mean, q.covariance())
    prior = torch.distributions.MultivariateNormal(torch.zeros(3), torch.eye(3))
    expected = -log_p.mean(0) + beta * torch.distributions.kl_divergence(reference, prior)
    torch.testing.assert_close(got, expected)
    wrt = list(model.parameters())
    torch.testing.assert_close(
        torch.autograd.grad(got.sum(), wrt), torch.autograd.grad(expected.sum(), wrt, retain_graph=True)
    )


@pytest.mark.parametrize("structure", [Diagonal(), BlockDiagonal(2), Full()], ids=str)
def test_expectation_for_a_linear_decoder_is_7(structure: Structure, fixed: Any, seed: int) -> None:
    """½‖x − Az − b‖² is quadratic, so that the second-order expansion is the expectation."""
    draws, latents = 20_000, 3
    decoder = nn.Linear(latents, 5)
    x, mean = torch.randn(1, 5).expand(draws, -1), torch.randn(1, latents)
    parameters = 0.5 * torch.randn(1, structure.num_parameters(latents))
    one = fixed(decoder, mean, structure.factor(parameters, latents))
    many = fixed(decoder, mean.expand(draws, -1), structure.factor(parameters.expand(draws, -1), latents))
    expected = Taylor(beta=0.4)(one, x[:1]).total.item()
    sampled = BetaVAE(beta=0.4)(many, x, torch.Generator().manual_seed(seed)).total
    assert abs(sampled.mean() - expected) < 5 * sampled.std() / draws**0.5
    assert sampled.std() > 0.01


def test_more_samples_have_the_same_mean_and_less_variance(seed: int) -> None:
    draws = 8000
    model = Autoencoder(nn.Linear(6, 7), MLPDecoder(3, (6,), hidden=(8,)), latents=3, structure=Full())
    x = torch.randn(1, 6).expand(draws, -1)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        one, four = (BetaVAE(beta=0.4, samples=s)(model, x, generator).total for s in (1, 4))
    assert abs(one.mean() - four.mean()) < 5 * (one.var() / draws + four.var() / draws).sqrt()
    assert 0.2 < four.var() / one.var() < 0.3


def test_antithetic_draws_are_pairs_of_the_same_noise(seed: int) -> None:
    model = Autoencoder(nn.Linear(6, 7), MLPDecoder(3, (6,), hidden=(8,)), latents=3, structure=Full())
    x = torch.randn(4, 6)
    found = BetaVAE(0.4, samples=4, antithetic=True)(model, x, torch.Generator().manual_seed(seed))
    q, noise = model.posterior(x), torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(seed))
    steps = torch.einsum("bij,sbj->sbi", q.factor.dense(), noise)
    nlls = [0.5 * (x - model.decode(q.mean + sign * step)).square().sum(1) for step in steps for sign in (1, -1)]
    expected = torch.stack(nlls).mean(0)
    torch.testing.assert_close(found["nll"], expected)
    weights = list(model.parameters())
    torch.testing.assert_close(*(torch.autograd.grad(v.sum(), weights) for v in (found["nll"], expected)))


def test_an_antithetic_pair_has_the_mean_and_not_the_linear_noise(seed: int) -> None:
    """Of a linear decoder the trace's own variance is left, whatever the residual is."""
    draws, decoder = 8000, nn.Linear(3, 6)
    model = Autoencoder(nn.Linear(6, 7), decoder, latents=3, structure=Diagonal())
    x = 9 * torch.randn(1, 6).expand(draws, -1)
    with torch.no_grad():
        two, pair = (
            BetaVAE(0.4, samples=2, antithetic=antithetic)(model, x, torch.Generator().manual_seed(seed))["nll"]
            for antithetic in (False, True)
        )
        q = model.posterior(x[:1])
        root, residual = decoder.weight @ q.factor.dense()[0], (x[:1] - model.decode(q.mean))[0]
    assert abs(two.mean() - pair.mean()) < 5 * (two.var() / draws + pair.var() / draws).sqrt()
    # var of ½ εᵀAε is ½ tr A², A = LᵀWᵀWL
    quadratic, linear = 0.5 * (root.mT @ root).square().sum(), (residual @ root).square().sum()
    torch.testing.assert_close(pair.var(), quadratic, rtol=0.2, atol=0.0)
    torch.testing.assert_close(two.var(), (linear + quadratic) / 2, rtol=0.2, atol=0.0)


@pytest.mark.parametrize("samples", [1, 3])
def test_pairs_need_an_even_number(samples: int) -> None:
    with pytest.raises(InputError, match=rf"^samples is {samples}, but antithetic draws come in pairs[^\n]*$"):
        BetaVAE(0.4, samples=samples, antithetic=True)


def test_each_sample_keeps_its_own_samples(seed: int) -> None:
    """With hardly any noise every sample is the mean: a wrong pairing of data and draws would show."""
    model = Autoencoder(nn.Linear(6, 7), MLPDecoder(3, (6,), hidden=(8,)), latents=3, structure=Diagonal())
    with torch.no_grad():
        model.factor_head.weight.zero_()
        model.factor_head.bias.fill_(-30)
    x = torch.randn(5, 6)
    terms = BetaVAE(beta=0.4, samples=3)(model, x)
    torch.testing.assert_close(terms["nll"], 0.5 * (x - model.reconstruct(x)).square().sum(1))


@pytest.mark.parametrize("likelihood", [Gaussian(0.3), BernoulliLogits(), Categorical()], ids=repr)
def test_beta_one_is_the_evidence_lower_bound(likelihood: Likelihood, seed: int) -> None:
    shape = (3, 4) if isinstance(likelihood, Categorical) else (6,)
    model = Autoencoder(nn.Linear(6, 7), MLPDecoder(3, shape, hidden=(8,)), latents=3, structure=Full())
    model.posterior = lambda x: Autoencoder.posterior(model, torch.ones(4, 6))  # whatever the data look like
    x = torch.randint(3, (4, 4)) if isinstance(likelihood, Categorical) else torch.randint(2, (4, 6)).double()
    terms = BetaVAE(1.0, likelihood)(model, x, torch.Generator().manual_seed(seed))
    q = model.posterior(x)
    z = q.rsample(torch.Generator().manual_seed(seed))
    bound = likelihood.log_prob(model.decode(z), x) - q.kl()
    constant = -bound - terms.total
    torch.testing.assert_close(constant, constant[:1].expand(4))
    zero = torch.zeros_like(model.decode(z))
    torch.testing.assert_close(constant, -likelihood.log_prob(zero, x) - likelihood.nll(zero, x))


def test_no_noise_without_a_posterior() -> None:
    model = Autoencoder(nn.Linear(6, 3), nn.Linear(3, 6), latents=3)
    with pytest.raises(InputError, match=r"deterministic.*build it with structure="):
        BetaVAE(beta=0.1)(model, torch.randn(2, 6))


@pytest.mark.parametrize("beta", [-0.1, math.nan, math.inf, -math.inf, "0.2", None, True])
@pytest.mark.usefixtures("as_shipped")
def test_bad_beta(beta: object) -> None:
    with pytest.raises(InputError, match=r"beta is .*expected a finite number >= 0"):
        BetaVAE(beta)


@pytest.mark.parametrize("samples", [0, -1, 1.5, "2", None, True])
@pytest.mark.usefixtures("as_shipped")
def test_bad_samples(samples: object) -> None:
    with pytest.raises(InputError, match=r"samples is .*expected a whole number >= 1"):
        BetaVAE(0.1, samples=samples)


@pytest.mark.usefixtures("as_shipped")
def test_a_decoder_of_another_shape() -> None:
    model = Autoencoder(nn.Linear(6, 3), nn.Linear(3, 1), latents=3, structure=Full())
    with pytest.raises(InputError, match=r"\(2, 1\) but the data has \(2, 6\)"):
        BetaVAE(0.1)(model, torch.randn(2, 6))
