"""A decoder that holds something of each sample: every objective and estimator gives it the right rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from curvae.curvature import Columns, Exact, Fraction, Lanczos, Signs, Trace, columns, hessian, principal_basis
from curvae.likelihoods import Gaussian, Poisson
from curvae.objectives import GRAE, RAE, BetaVAE, Taylor
from curvae.posteriors import BlockDiagonal, Diagonal, Full, Normal, Shared

pytestmark = pytest.mark.usefixtures("float64")

DATA, LATENTS, OUTPUTS, BETA = 5, 3, 4, 0.5
FRACTIONS = (0.2, 0.6, 1.0)  # also of one sample, whose row would broadcast


@dataclass
class Conditional:
    """A model at one batch, with labels and sizes of its data."""

    net: nn.Sequential
    z: Tensor
    labels: Tensor
    sizes: Tensor
    found: bool = False

    def posterior(self, x: Tensor) -> Normal:
        return Normal(self.z, Full().factor(torch.linspace(-1, 1, 6).expand(DATA, -1), LATENTS))

    def encode(self, x: Tensor) -> Tensor:
        return self.z

    def decode(self, z: Tensor) -> Tensor:
        labels, sizes = self.labels, self.sizes
        if self.found:  # by the codes themselves, in whatever order and number they come
            which = (z.detach().unsqueeze(1) - self.z.detach()).abs().sum(-1).argmin(1)
            labels, sizes = labels[which], sizes[which]
        return self.net(torch.cat([z, labels], 1)) + sizes.log()


def _models() -> tuple[Conditional, Conditional]:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(LATENTS + 2, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, OUTPUTS))
    z, labels = torch.randn(DATA, LATENTS, requires_grad=True), torch.randn(DATA, 2, requires_grad=True)
    sizes = torch.rand(DATA, 1) + 0.5
    return Conditional(net, z, labels, sizes), Conditional(net, z, labels, sizes, found=True)


OBJECTIVES: dict[str, Callable[[], object]] = {
    "taylor": lambda: Taylor(BETA, chunk_size=2),
    "taylor-hessian": lambda: Taylor(BETA, curvature="hessian"),
    "grae": lambda: GRAE(BETA, Poisson()),
    "grae-chunks": lambda: GRAE(BETA, estimator=Exact(chunk_size=2)),
    "grae-hessian": lambda: GRAE(50.0, curvature="hessian"),
    "grae-shared": lambda: GRAE(BETA, structure=Shared(Full())),
    "columns": lambda: GRAE(BETA, structure=BlockDiagonal(2), estimator=Columns(2), orthogonality=0.3),
    "lanczos": lambda: GRAE(BETA, estimator=Lanczos(2, Signs(1))),
    "rae": lambda: RAE(BETA, trace=Trace(Signs(2))),
    **{
        f"fraction-{fraction}-{inner}": lambda fraction=fraction, inner=inner: GRAE(
            BETA,
            Poisson(),
            Diagonal(),
            Fraction(inner, fraction),
            orthogonality=0.0 if inner.__class__ is Trace else 0.3,
        )
        for fraction in FRACTIONS
        for inner in (Exact(), Exact(chunk_size=2), Columns(2), Trace(Signs(1)))
    },
}


@pytest.mark.parametrize("make", OBJECTIVES.values(), ids=OBJECTIVES.keys())
def test_labels_belong_to_their_data(make: Callable[[], Callable[..., object]]) -> None:
    objective, values = make(), []
    x = torch.poisson(torch.ones(DATA, OUTPUTS), torch.Generator().manual_seed(1))
    for model in _models():
        total = objective(model, x, torch.Generator().manual_seed(2)).total
        wrt = (model.z, model.labels, *model.net.parameters())
        values.append((total, *torch.autograd.grad((total * torch.arange(1.0, DATA + 1)).sum(), wrt)))
    torch.testing.assert_close(values[0], values[1])


def test_every_sample_of_a_beta_vae_has_its_label() -> None:
    model, _ = _models()
    x = torch.randn(DATA, OUTPUTS)
    terms = BetaVAE(BETA, samples=3)(model, x, torch.Generator().manual_seed(0))
    draws = model.posterior(x).rsample(torch.Generator().manual_seed(0), (3,))
    nll = torch.stack([Gaussian().nll(model.decode(z), x) for z in draws]).mean(0)
    torch.testing.assert_close(terms.parts["nll"], nll)


def test_what_only_measures_keeps_the_order_too() -> None:
    mine, found = _models()
    mine.net.eval()
    x, z = torch.randn(DATA, OUTPUTS), mine.z.detach()
    indices = torch.tensor([[0], [2], [1], [1], [0]])
    for measure in (
        lambda fn: columns(fn, z, indices),
        lambda fn: hessian(fn, z, x, Gaussian(), chunk_size=2),
        lambda fn: principal_basis(fn, z, x, Gaussian()).abs(),
    ):
        torch.testing.assert_close(measure(mine.decode), measure(found.decode))
