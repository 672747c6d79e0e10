"""A prior N(m, S) as a map in front of the decoder: (2), (7), (13) and (14) are those with KL(q ‖ N(m, S)) in z."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import MultivariateNormal, kl_divergence
from torch.func import jacrev

from curvae import Autoencoder
from curvae.errors import InputError
from curvae.nn import Beside, ConditionalNormalPrior, NormalPrior
from curvae.objectives import GRAE, BetaVAE, Taylor
from curvae.posteriors import Diagonal, Full, Structure

pytestmark = pytest.mark.usefixtures("float64")

BATCH, OUTPUTS, D, CLASSES, BETA = 4, 5, 3, 2, 0.6


class Decoder(nn.Module):
    """A decoder behind a prior that the condition moves; the decoder itself does not see it."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.prior, self.network = ConditionalNormalPrior(D, CLASSES), network
        for weight in self.prior.parameters():
            nn.init.normal_(weight, std=0.5)

    def forward(self, u: Tensor, c: Tensor) -> Tensor:
        return self.network(self.prior(u, c))


class Case:
    """A model in u, and the same model's prior and decoder in z, one matrix and mean for each sample."""

    def __init__(self, conditional: bool, structure: Structure | None) -> None:
        self.network = nn.Sequential(nn.Linear(D, 6), nn.Tanh(), nn.Linear(6, OUTPUTS))
        self.x, c = torch.randn(BATCH, OUTPUTS), torch.eye(CLASSES)[[1, 0, 1, 1]]
        if conditional:
            encoder, decoder = Beside(nn.Linear(OUTPUTS + CLASSES, 7)), Decoder(self.network)
            self.model = Autoencoder(encoder, decoder, D, structure, features=7, condition="both")
            self.at = self.model.given(c)
            self.m, scale = decoder.prior.mean(c), decoder.prior.log_scale(c).exp()
            self.factor = torch.diag_embed(scale)
        else:
            root = torch.randn(D, D)
            self.prior = NormalPrior(D, torch.randn(D), root @ root.T + torch.eye(D))
            decoder = nn.Sequential(self.prior, self.network)
            self.model = self.at = Autoencoder(nn.Linear(OUTPUTS, 7), decoder, D, structure)
            self.m, self.factor = self.prior.mean.expand(BATCH, -1), self.prior.factor.expand(BATCH, -1, -1)

    def to_z(self, u: Tensor) -> Tensor:
        return self.m + (self.factor @ u.unsqueeze(-1)).squeeze(-1)

    def curvature(self, z: Tensor) -> Tensor:
        jacobian = torch.stack([jacrev(lambda p: self.network(p[None])[0])(one) for one in z])
        return jacobian.mT @ jacobian

    def prior_of(self) -> MultivariateNormal:
        return MultivariateNormal(self.m, scale_tril=self.factor)

    def compare(self, found: Tensor, expected: Tensor) -> None:
        torch.testing.assert_close(found, expected)
        weights = torch.arange(1.0, BATCH + 1)
        one, other = (
            torch.autograd.grad((weights * each).sum(), list(self.model.parameters()), retain_graph=True)
            for each in (found, expected)
        )
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("conditional", [False, True])
@pytest.mark.parametrize("structure", [Diagonal(), Full()], ids=str)
def test_noise_and_trace_with_a_posterior(structure: Structure, conditional: bool, seed: int) -> None:
    case = Case(conditional, structure)
    q = case.at.posterior(case.x)
    mean, covariance = case.to_z(q.mean), case.factor @ q.covariance() @ case.factor.mT
    kl = kl_divergence(MultivariateNormal(mean, covariance), case.prior_of())
    nll = 0.5 * (case.network(mean) - case.x).square().sum(1)
    trace = (case.curvature(mean) * covariance).sum((1, 2))
    case.compare(Taylor(BETA)(case.at, case.x).total, nll + 0.5 * trace + BETA * kl)
    draws = case.to_z(q.rsample(torch.Generator().manual_seed(0), (1,))[0])
    nll = 0.5 * (case.network(draws) - case.x).square().sum(1)
    case.compare(BetaVAE(BETA)(case.at, case.x, torch.Generator().manual_seed(0)).total, nll + BETA * kl)


@pytest.mark.parametrize("conditional", [False, True])
def test_the_closed_form_and_its_optimum(conditional: bool, seed: int) -> None:
    r"""$\tfrac\beta2\|h-m\|_{S^{-1}}^2+\tfrac\beta2\log|I+\tfrac1\beta SM|$, and $\Sigma^*=(S^{-1}+M/\beta)^{-1}$."""
    case = Case(conditional, None)
    z = case.to_z(case.at.encode(case.x))
    s, m = case.factor @ case.factor.mT, case.curvature(z)
    off = z - case.m
    nll = 0.5 * (case.network(z) - case.x).square().sum(1)
    prior = torch.linalg.vecdot(off, torch.linalg.solve(s, off))
    closed = nll + 0.5 * BETA * (prior + torch.logdet(torch.eye(D) + s @ m / BETA))
    case.compare(GRAE(BETA, structure=Full())(case.at, case.x).total, closed)
    # the best covariance of any, in z: (7) there is the closed form
    best = torch.linalg.inv(torch.linalg.inv(s) + m / BETA)
    kl = kl_divergence(MultivariateNormal(z, best), case.prior_of())
    torch.testing.assert_close(nll + 0.5 * (m * best).sum((1, 2)) + BETA * kl, closed)


def test_a_diagonal_structure_is_the_same_in_z_where_s_is_diagonal(seed: int) -> None:
    case = Case(True, None)
    z = case.to_z(case.at.encode(case.x))
    s, m = (case.factor**2).diagonal(dim1=1, dim2=2), case.curvature(z).diagonal(dim1=1, dim2=2)
    nll = 0.5 * (case.network(z) - case.x).square().sum(1)
    closed = nll + 0.5 * BETA * ((z - case.m).square() / s + (1 + s * m / BETA).log()).sum(1)
    case.compare(GRAE(BETA, structure=Diagonal())(case.at, case.x).total, closed)


def test_a_prior_is_undone_and_drawn_from(seed: int) -> None:
    prior = NormalPrior(2, [1.0, -2.0], [[2.0, 0.6], [0.6, 0.5]])
    u = torch.randn(5, 2)
    torch.testing.assert_close(prior.inverse(prior(u)), u)
    torch.testing.assert_close(prior.factor @ prior.factor.T, torch.tensor([[2.0, 0.6], [0.6, 0.5]]))
    assert torch.equal(NormalPrior(3)(u[:, [0, 1, 0]]), u[:, [0, 1, 0]])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: NormalPrior(0), "latents is 0"),
        (lambda: NormalPrior(2, [1.0]), r"mean has shape \(1,\) and covariance \(2, 2\); expected \[2\], \[2, 2\]"),
        (lambda: NormalPrior(2, covariance=[[1.0, 2.0], [2.0, 1.0]]), "covariance is not symmetric and positive"),
        (lambda: NormalPrior(2, covariance=[[1.0, 0.5], [0.0, 1.0]]), "covariance is not symmetric and positive"),
        (lambda: ConditionalNormalPrior(2, 0), "conditions is 0; expected a whole number >= 1"),
    ],
)
def test_what_is_no_prior(make: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()  # type: ignore[operator]
