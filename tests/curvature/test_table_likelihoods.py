"""Every estimator with what belongs to a sample: size factors, gaps, columns of different kinds."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.func import hessian as naive_hessian
from torch.func import jacrev

from curvae import curvature, objectives
from curvae.autoencoder import Autoencoder
from curvae.curvature import Columns, Exact, Fraction, Lanczos, Signs, gauss_newton
from curvae.likelihoods import (
    BernoulliLogits,
    Categorical,
    Gaussian,
    LearnedGaussian,
    LearnedNegativeBinomial,
    Likelihood,
    Masked,
    Mixed,
    NegativeBinomial,
    Poisson,
    SizeFactors,
)
from curvae.posteriors import Diagonal, Full

pytestmark = pytest.mark.usefixtures("float64")
BETA, BATCH, LATENTS, OUTPUTS = 0.3, 6, 3, 6


def _gaps(x: Tensor) -> Tensor:
    return x.where(torch.rand_like(x) < 0.6, torch.nan)


def _counts() -> Tensor:
    return torch.poisson(2 * torch.ones(BATCH, OUTPUTS))


def _factors() -> Tensor:
    return 3 * torch.rand(BATCH, 1) + 0.2


CASES: dict[str, tuple[Likelihood, Callable[[], Tensor]]] = {
    "learned gaussian": (LearnedGaussian(torch.linspace(0.2, 2, OUTPUTS)), lambda: torch.randn(BATCH, OUTPUTS)),
    "size factors": (SizeFactors(Poisson()), lambda: torch.cat([_counts(), _factors()], 1)),
    "totals": (SizeFactors(LearnedNegativeBinomial(torch.linspace(0.5, 9, OUTPUTS)), 12.0), _counts),
    "masked": (Masked(Gaussian(0.7)), lambda: _gaps(torch.randn(BATCH, OUTPUTS))),
    "masked counts": (SizeFactors(Masked(Poisson())), lambda: torch.cat([_gaps(_counts()), _factors()], 1)),
    "mixed": (
        Masked(Mixed([(Gaussian(), 1), (Categorical(), 1, 3), (BernoulliLogits(), 2)])),
        lambda: _gaps(torch.randint(2, (BATCH, 4)).double()),
    ),
}


@pytest.fixture(params=CASES.values(), ids=CASES.keys())
def at(request: pytest.FixtureRequest, seed: int) -> tuple[nn.Module, Tensor, Tensor, Likelihood]:
    likelihood, observe = request.param
    if isinstance(likelihood, nn.Module):
        likelihood.double()
    decoder = nn.Sequential(nn.Linear(LATENTS, 8), nn.Tanh(), nn.Linear(8, OUTPUTS))
    return decoder, torch.randn(BATCH, LATENTS), observe(), likelihood


def _naive(decoder: nn.Module, z: Tensor, x: Tensor, likelihood: Likelihood) -> Tensor:
    """JᵀHJ of each sample by itself."""
    found = []
    for point, observed in zip(z, x, strict=True):
        jacobian = jacrev(lambda p: decoder(p[None])[0])(point)
        bend = naive_hessian(lambda e: likelihood.nll(e[None], observed[None])[0])(decoder(point[None])[0])  # noqa: B023
        found.append(jacobian.T @ bend @ jacobian)
    return torch.stack(found).detach()


def test_estimators(at: tuple[nn.Module, Tensor, Tensor, Likelihood], seed: int) -> None:
    decoder, z, x, likelihood = at
    point = curvature.Linearised(decoder, z, x, likelihood)
    m = _naive(*at)
    torch.testing.assert_close(gauss_newton(decoder, z, x, likelihood), m)
    full = torch.logdet(torch.eye(LATENTS) + m / BETA)
    exact = Exact().penalty(point, Full(), BETA)[1]
    torch.testing.assert_close(exact, full)
    columns = Columns(1).estimate(point, Diagonal(), BETA, torch.Generator().manual_seed(seed))
    chosen = m.diagonal(dim1=1, dim2=2).gather(1, columns.sampled.indices)[:, 0]
    torch.testing.assert_close(columns.value, LATENTS * torch.log1p(chosen / BETA))
    part = Fraction(Exact(), 0.5).penalty(point, Full(), BETA, torch.Generator().manual_seed(seed))[1]
    drawn = part.nonzero().flatten()
    torch.testing.assert_close(part[drawn], 2 * full[drawn])
    assert len(drawn) <= BATCH // 2
    probes = Signs(2).draw(z, torch.Generator().manual_seed(seed))
    values, vectors = torch.linalg.eigh(m)
    log = vectors @ torch.diag_embed(torch.log1p(values.clamp(min=0) / BETA)) @ vectors.mT
    quadrature = torch.einsum("bdk,bde,bek->b", probes, log, probes) / 2
    lanczos = Lanczos(LATENTS, Signs(2)).penalty(point, Full(), BETA, torch.Generator().manual_seed(seed))[1]
    torch.testing.assert_close(lanczos, quadrature)


def test_exact_hessian(at: tuple[nn.Module, Tensor, Tensor, Likelihood]) -> None:
    decoder, z, x, likelihood = at
    expected = [
        -naive_hessian(lambda p: likelihood.nll(decoder(p[None]), row[None])[0])(point)  # noqa: B023
        for point, row in zip(z, x, strict=True)
    ]
    torch.testing.assert_close(curvature.hessian(decoder, z, x, likelihood), torch.stack(expected).detach())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_counts_of_nothing_are_flat_and_not_kinked(dtype: torch.dtype) -> None:
    likelihood, z = SizeFactors(NegativeBinomial(1.0), typical=5.0), torch.zeros(2, LATENTS, dtype=dtype)
    products = curvature.hessian(lambda z: z, z, torch.zeros(2, LATENTS, dtype=dtype), likelihood)
    torch.testing.assert_close(products, torch.zeros(2, LATENTS, LATENTS, dtype=dtype))


def test_an_objective_trains_what_the_likelihood_learns(seed: int) -> None:
    """GRAE on counts with gaps and size factors: against the same from its parts, gradients included."""
    own = LearnedNegativeBinomial(torch.linspace(0.5, 9, OUTPUTS)).double()
    likelihood = SizeFactors(Masked(own))
    decoder = nn.Sequential(nn.Linear(LATENTS, 8), nn.Tanh(), nn.Linear(8, OUTPUTS))
    counts, factors = _gaps(_counts()), _factors()
    x = torch.cat([counts, factors], 1)
    encoder = nn.Sequential(_Zeros(), nn.Linear(OUTPUTS + 1, 5))
    model = Autoencoder(encoder, decoder, LATENTS, features=5)
    loss = objectives.Loss(model, objectives.GRAE(BETA, likelihood))
    value = loss(x).mean()
    assert any(parameter is own.log_dispersion for parameter in loss.parameters())
    got = torch.autograd.grad(value, [own.log_dispersion, decoder[0].weight])

    h = model.encode(x)
    eta, seen = decoder(h), ~counts.isnan()
    mean, r = factors * eta.exp(), own.dispersion
    y = counts.nan_to_num(0)
    log_p = torch.distributions.NegativeBinomial(r, logits=mean.log() - r.log()).log_prob(y) + torch.lgamma(y + 1)
    nll = -(log_p * seen).sum(1)
    bends = ((y + r) * r * mean / (r + mean).square() * seen).unsqueeze(-1)
    jacobian = torch.stack([jacrev(lambda p: decoder(p[None])[0])(point) for point in h])
    penalty = torch.logdet(torch.eye(LATENTS) + jacobian.mT @ (bends * jacobian) / BETA)
    expected = (nll + 0.5 * BETA * (h.square().sum(1) + penalty)).mean()
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(got, torch.autograd.grad(expected, [own.log_dispersion, decoder[0].weight]))


class _Zeros(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.nan_to_num(0)
