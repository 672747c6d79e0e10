import math

import numpy as np
import pytest
import torch
from scipy import integrate, stats
from torch import distributions as td

from curvae.errors import InputError
from curvae.identifiability import Autoregressive, CorrelatedNormal, Factorised, Prior, gaussian_mixture

D = torch.float64


def gen(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_covariance(dim: int, seed: int, count: tuple[int, ...] = ()) -> torch.Tensor:
    root = torch.randn(*count, dim, dim, generator=gen(seed), dtype=D)
    return root @ root.mT + 0.2 * torch.eye(dim, dtype=D)


def mixture(dim: int = 3, parts: int = 4, seed: int = 0) -> td.MixtureSameFamily:
    means = 2 * torch.randn(parts, dim, generator=gen(seed), dtype=D)
    weights = torch.rand(parts, generator=gen(seed + 1), dtype=D) + 0.1
    return td.MixtureSameFamily(
        td.Categorical(weights), td.MultivariateNormal(means, random_covariance(dim, seed + 2, (parts,)))
    )


def funnel(earlier: torch.Tensor) -> td.Distribution:
    scale = torch.exp(torch.tanh(earlier).sum(-1))
    return td.Laplace(torch.zeros_like(scale), scale)


PRIORS: dict[str, Prior] = {
    "batched marginals": Factorised(td.Laplace(torch.zeros(3, dtype=D), torch.tensor([1.0, 2.0, 0.5], dtype=D))),
    "a list of marginals": Factorised([td.Gamma(2.0, 1.0), td.Cauchy(0.0, 1.0), td.LogNormal(0.0, 0.5)]),
    "correlated normal": CorrelatedNormal(td.MultivariateNormal(torch.ones(3, dtype=D), random_covariance(3, 5))),
    "mixture": gaussian_mixture(mixture()),
    "funnel": Autoregressive(3, funnel),
}


@pytest.mark.parametrize("name", PRIORS)
def test_contract(name: str) -> None:
    prior = PRIORS[name]
    assert isinstance(prior, Prior)
    n = 3 * torch.randn(5, 40, 3, generator=gen(0), dtype=D)
    z = prior.denormalise(n)
    assert z.shape == n.shape
    assert prior.dim == 3
    torch.testing.assert_close(prior.normalise(z), n, rtol=0, atol=1e-10)
    # log p(z) = log φ(n) + log|det ∂n/∂z|, the determinant by differentiation
    z = prior.denormalise(torch.randn(40, 3, generator=gen(1), dtype=D))
    jacobian = torch.func.jacrev(lambda v: prior.normalise(v).sum(0))(z).movedim(0, 1)
    log_normal = td.Normal(torch.zeros(3, dtype=D), 1.0).log_prob(prior.normalise(z)).sum(-1)
    torch.testing.assert_close(prior.log_prob(z), log_normal + torch.linalg.slogdet(jacobian)[1])
    # conditional c.d.f.s: n_i depends on z_1 … z_i only, and grows with z_i
    assert torch.triu(jacobian, 1).abs().max() < 1e-12
    assert (torch.diagonal(jacobian, dim1=1, dim2=2) > 0).all()


def test_normal_conditionals_by_schur_complements() -> None:
    covariance = random_covariance(4, 7)
    mean = torch.randn(4, generator=gen(8), dtype=D)
    z = torch.randn(6, 4, generator=gen(9), dtype=D)
    scores = CorrelatedNormal(td.MultivariateNormal(mean, covariance)).normalise(z)
    for i in range(4):
        gain = covariance[i, :i] @ torch.linalg.inv(covariance[:i, :i]) if i else torch.zeros(0, dtype=D)
        location = mean[i] + (z[:, :i] - mean[:i]) @ gain
        scale = torch.sqrt(covariance[i, i] - gain @ covariance[:i, i])
        # through the conditional c.d.f. itself
        cdf = stats.norm(location.numpy(), scale.item()).cdf(z[:, i].numpy())
        np.testing.assert_allclose(scores[:, i], stats.norm.ppf(cdf), rtol=1e-9, atol=1e-12)


def test_mixture_conditional_cdfs_by_quadrature() -> None:
    distribution = mixture(dim=2, parts=3, seed=11)
    weights, parts = distribution.mixture_distribution.probs, distribution.component_distribution
    means, covariances = parts.loc.numpy(), parts.covariance_matrix.numpy()
    z = np.array([[0.4, -1.3], [-2.0, 0.7], [1.9, 2.2]])
    scores = gaussian_mixture(distribution).normalise(torch.from_numpy(z)).numpy()

    def density(first: float, second: float) -> float:
        return sum(
            w * stats.multivariate_normal(m, c).pdf([first, second])
            for w, m, c in zip(weights.tolist(), means, covariances, strict=True)
        )

    for point, score in zip(z, scores, strict=True):
        first = sum(
            w * stats.norm(m[0], math.sqrt(c[0, 0])).cdf(point[0])
            for w, m, c in zip(weights.tolist(), means, covariances, strict=True)
        )
        below = integrate.quad(lambda s, p=point[0]: density(p, s), -30, point[1], limit=200, epsabs=1e-13)[0]
        above = integrate.quad(lambda s, p=point[0]: density(p, s), point[1], 30, limit=200, epsabs=1e-13)[0]
        np.testing.assert_allclose(stats.norm.cdf(score), [first, below / (below + above)], rtol=1e-8)


def test_mixture_density_and_law() -> None:
    distribution = mixture()
    prior = gaussian_mixture(distribution)
    z = 3 * torch.randn(50, 3, generator=gen(2), dtype=D)
    torch.testing.assert_close(prior.log_prob(z), distribution.log_prob(z), rtol=1e-12, atol=1e-12)
    # draws by the inverse conditional c.d.f.s against draws of the components
    drawn = prior.denormalise(torch.randn(4000, 3, generator=gen(3), dtype=D))
    picks = torch.multinomial(distribution.mixture_distribution.probs, 4000, replacement=True, generator=gen(4))
    parts = distribution.component_distribution
    noise = torch.randn(4000, 3, 1, generator=gen(5), dtype=D)
    direct = parts.loc[picks] + (parts.scale_tril[picks] @ noise)[..., 0]
    for direction in torch.randn(5, 3, generator=gen(6), dtype=D):
        assert stats.ks_2samp(drawn @ direction, direct @ direction).pvalue > 1e-3


def test_mixture_far_out_in_the_tails() -> None:
    prior = gaussian_mixture(mixture(dim=2, parts=3))
    n = torch.tensor([[-25.0, 25.0], [25.0, -25.0], [30.0, 30.0], [-30.0, -30.0]], dtype=D)
    torch.testing.assert_close(prior.normalise(prior.denormalise(n)), n, rtol=1e-9, atol=0)


def test_mixture_gradients_reach_the_parameters() -> None:
    means = torch.randn(2, 2, generator=gen(1), dtype=D).requires_grad_()
    factors = torch.tril(torch.randn(2, 2, 2, generator=gen(2), dtype=D))
    factors = (
        torch.tril(factors, -1) + torch.diag_embed(torch.tensor([[1.0, 0.7], [0.5, 1.2]]).to(D))
    ).requires_grad_()
    n = torch.randn(3, 2, generator=gen(3), dtype=D).requires_grad_()

    def draw(n: torch.Tensor, means: torch.Tensor, factors: torch.Tensor) -> torch.Tensor:
        parts = td.MultivariateNormal(means, scale_tril=torch.tril(factors), validate_args=False)
        weights = td.Categorical(torch.tensor([0.4, 0.6], dtype=D))
        return gaussian_mixture(td.MixtureSameFamily(weights, parts)).denormalise(n)

    assert torch.autograd.gradcheck(draw, (n, means, factors))


def test_bad_input_is_one_clear_line() -> None:
    with pytest.raises(InputError, match="StudentT has no quantile"):
        Factorised([td.StudentT(3.0)])
    with pytest.raises(InputError, match="Poisson is discrete"):
        Factorised([td.Poisson(3.0)])
    with pytest.raises(InputError, match="expected scalar distributions"):
        Factorised(td.Normal(0.0, 1.0))
    with pytest.raises(InputError, match="expected scalar distributions"):
        Factorised([td.Normal(torch.zeros(2), 1.0)])
    with pytest.raises(InputError, match=r"expected \[\.\.\., 3\]"):
        PRIORS["mixture"].normalise(torch.zeros(5, 2, dtype=D))
    with pytest.raises(InputError, match="expected a single distribution"):
        CorrelatedNormal(td.MultivariateNormal(torch.zeros(2, 3), torch.eye(3)))
    with pytest.raises(InputError, match="expected MultivariateNormal"):
        gaussian_mixture(td.MixtureSameFamily(td.Categorical(torch.ones(2)), td.Normal(torch.zeros(2), torch.ones(2))))
