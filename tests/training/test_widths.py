"""A head for Σ that is fitted to the widths (11): against a Jacobian by hand and another solver."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from torch import nn

from curvae.autoencoder import Autoencoder
from curvae.data import Batch
from curvae.errors import InputError
from curvae.metrics import Implied
from curvae.posteriors import Diagonal, Full
from curvae.training import fit_widths

BETA = 0.3


def made(condition: bool = False) -> Autoencoder:
    """In float64, with batch normalisation in train mode whose running statistics are not the batch's."""
    torch.manual_seed(0)
    more = 2 * condition
    encoder = nn.Sequential(nn.Linear(5 + more, 6), nn.BatchNorm1d(6), nn.Tanh())
    decoder = nn.Sequential(nn.Linear(2 + more, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 5))
    for network in (encoder, decoder):
        network[1].running_mean.normal_()
        network[1].running_var.uniform_(0.5, 2)
    if condition:
        encoder, decoder = Beside(encoder), Beside(decoder)
    with torch.random.fork_rng():
        return Autoencoder(
            encoder, decoder, 2, Diagonal(), features=6, condition="both" if condition else None
        ).double()


class Beside(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        return self.network(torch.cat([x, c], -1))


@pytest.mark.parametrize("condition", [False, True])
def test_it_is_the_ridge_solution_and_nothing_else_changes(condition: bool) -> None:
    model, x = made(condition), torch.randn(40, 5, dtype=torch.float64)
    c = torch.randn(40, 2, dtype=torch.float64)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    pieces = [Batch(x[at], c[at]) if condition else x[at] for at in torch.arange(40).split(15)]
    fit_widths(model, pieces, BETA)
    assert model.training
    changed = [name for name, value in model.state_dict().items() if not torch.equal(value, before[name])]
    assert changed == ["factor_head.weight", "factor_head.bias"]

    model.eval()
    features, logs = [], []
    for one, beside in zip(x, c, strict=True):
        given = (beside[None],) if condition else ()
        features.append(model.encoder(one[None], *given)[0].detach())
        z = model.encode(one[None], *given)[0].detach()
        jacobian = torch.autograd.functional.jacobian(lambda z, given=given: model.decode(z[None], *given)[0], z)
        logs.append(-0.5 * torch.log1p(jacobian.square().sum(0) / BETA))
    seen = torch.stack(features).numpy()
    design, targets = np.column_stack([seen, np.ones(40)]), torch.stack(logs).numpy()
    # a penalty is so many more samples, of target 0
    more = np.column_stack([np.sqrt(1e-3 * 40 * seen.var(0).mean()) * np.eye(6), np.zeros(6)])
    expected = np.linalg.lstsq(np.vstack([design, more]), np.vstack([targets, np.zeros((6, 2))]), rcond=None)[0]
    np.testing.assert_allclose(model.factor_head.weight.detach().numpy(), expected[:-1].T, atol=1e-8)
    np.testing.assert_allclose(model.factor_head.bias.detach().numpy(), expected[-1], atol=1e-8)


class Tokens(nn.Module):
    """Between vectors and tokens [T, F]."""

    def __init__(self, inside: nn.Module, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.inside, self.shape = inside, shape

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(self.inside(x.flatten(1))).unflatten(1, self.shape)


@pytest.mark.parametrize("shape", [(2, 3, 4), (3, 2)])
def test_latents_with_places_are_fitted_at_each_of_them(shape: tuple[int, ...]) -> None:
    torch.manual_seed(1)
    axis = 0 if len(shape) == 3 else 1  # of the channels
    d, channels = math.prod(shape), shape[axis]
    maps = (5, *shape[1:]) if axis == 0 else (shape[0], 5)
    encoder, decoder = Tokens(nn.Linear(7, math.prod(maps)), maps), Tokens(nn.Linear(d, 7), (7,))
    model = Autoencoder(encoder, decoder, shape, Diagonal(), features=5).double()
    x = torch.randn(11, 7, dtype=torch.float64)
    fit_widths(model, [x[:6], x[6:]], BETA)

    rows, targets = [], []
    for one in x:
        features, z = model.encoder(one[None])[0].detach(), model.encode(one[None])[0].detach()
        jacobian = torch.autograd.functional.jacobian(lambda z: model.decode(z[None])[0], z)
        logs = -0.5 * torch.log1p(jacobian.square().sum(0) / BETA)
        for place in np.ndindex(shape[1:] if axis == 0 else shape[:1]):
            rows.append(features[:, *place] if axis == 0 else features[place])
            targets.append(logs[:, *place] if axis == 0 else logs[place])
    expected = Ridge(1e-3 * len(rows) * np.var(rows, axis=0).mean()).fit(torch.stack(rows), torch.stack(targets))
    np.testing.assert_allclose(model.factor_head.weight.detach(), expected.coef_, atol=1e-8)
    np.testing.assert_allclose(model.factor_head.bias.detach(), expected.intercept_, atol=1e-8)
    assert model.factor_head.weight.shape == (channels, 5)


@pytest.mark.parametrize("kind", ["nearly dependent", "constant"])
def test_features_that_say_the_same_do_not_get_large_weights(kind: str) -> None:
    """A step of training moves the features a little, and must not move log σ by much."""

    class Features(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            noise = torch.linspace(-1, 1, 32, dtype=x.dtype) * x[:, 1:2]
            return x[:, :1] + 1e-6 * noise if kind == "nearly dependent" else torch.ones_like(noise)

    decoder = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 5))
    model = Autoencoder(Features(), decoder, 2, Diagonal(), features=32).double()
    x = torch.randn(60, 5, dtype=torch.float64)
    fit_widths(model, [x], BETA)
    assert model.factor_head.weight.norm(dim=1).max() < 10
    best = Implied(model, BETA, structure=Diagonal()).posterior(x).covariance().diagonal(dim1=1, dim2=2).log() / 2
    mine = model.posterior(x).covariance().diagonal(dim1=1, dim2=2).log() / 2
    assert (mine - best).mean(0).abs().max() < 1e-8


def test_what_it_is_not_for_is_refused() -> None:
    full = Autoencoder(nn.Linear(5, 6), nn.Linear(2, 5), 2, Full())
    with pytest.raises(InputError, match="structure Full"):
        fit_widths(full, [torch.rand(3, 5)], BETA)
    ready = Autoencoder(nn.Linear(5, 4), nn.Linear(2, 5), 2, Diagonal(), head=False)
    with pytest.raises(InputError, match=r"structure Diagonal\(\) and no head"):
        fit_widths(ready, [torch.rand(3, 5)], BETA)
    with pytest.raises(InputError, match="got none"):
        fit_widths(made(), [], BETA)
