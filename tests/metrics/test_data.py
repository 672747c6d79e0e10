"""Metrics take any arrays, any loaders and any model that gives codes, a posterior and outputs."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from curvae import Autoencoder, metrics
from curvae.data import Dataset
from curvae.errors import InputError
from curvae.likelihoods import Gaussian
from curvae.posteriors import Along, Diagonal, DiagonalFactor, Full, Normal, Structure

X = torch.rand(11, 3, generator=torch.Generator().manual_seed(0))


class Plain:
    """No module, no structure, not even a base class: encode, decode and a posterior."""

    def __init__(self) -> None:
        self.weight = torch.tensor([[1.0, 0.0, 0.5], [0.0, -1.0, 0.2]])

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        return x @ self.weight.T

    def posterior(self, x: torch.Tensor) -> Normal:
        return Normal(self.encode(x), DiagonalFactor(0.3 + 0.1 * x[:, :2]))

    def decode(self, z: torch.Tensor) -> torch.Tensor:
        return (z @ self.weight).tanh()


class Deterministic(Plain):
    structure = None

    def posterior(self, x: torch.Tensor) -> Normal:
        raise AssertionError("it has none")


def autoencoder() -> Autoencoder:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Autoencoder(nn.Linear(3, 5), nn.Linear(2, 3), 2, structure=Diagonal())


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(3)


def evaluated(model: Any, x: Any) -> list[float]:
    found = metrics.evaluate(model, x, 0.2, Gaussian(), Full(), generator=generator(), batch_size=4)
    return [getattr(found, name).mean for name in ("beta_vae", "taylor", "grae", "alignment")]


METRICS: dict[str, Callable[[Any, Any], Any]] = {
    "codes": lambda model, x: metrics.codes(model, x, 4),
    "active_units": lambda model, x: metrics.active_units(model, x, batch_size=4).variance,
    "unit_divergence": lambda model, x: metrics.unit_divergence(model, x, batch_size=4),
    "importance_weighted_nll": lambda model, x: (
        metrics.importance_weighted_nll(model, x, Gaussian(), samples=3, generator=generator(), batch_size=4).nll
    ),
    "evaluate": lambda model, x: evaluated(model, x),
}


def loader() -> Iterator[torch.Tensor]:
    yield from X.split(4)


KINDS: dict[str, Callable[[], Any]] = {
    "array": lambda: X.numpy(),
    "float64 array": lambda: X.double().numpy(),
    "list": lambda: X.tolist(),
    "loader of tensors": lambda: DataLoader(X, batch_size=4),  # type: ignore[arg-type]
    "loader of tuples": lambda: DataLoader(TensorDataset(X, torch.arange(11)), batch_size=4),
    "loader of arrays": lambda: [(part.numpy(), 0) for part in X.split(4)].__iter__(),
    "generator": loader,
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("metric", METRICS)
def test_any_kind_of_data(kind: str, metric: str) -> None:
    model = autoencoder()
    found, expected = (torch.as_tensor(METRICS[metric](model, x)) for x in (KINDS[kind](), X))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("metric", METRICS)
def test_any_model(metric: str) -> None:
    assert torch.as_tensor(METRICS[metric](Plain(), X)).isfinite().all()


def test_a_model_of_ones_own_is_measured_with_its_own_posterior() -> None:
    model = Plain()
    q = model.posterior(X)
    kl = 0.2 * (0.5 * (q.mean.square() + q.factor.variance() - q.factor.variance().log() - 1)).sum(1)
    found = metrics.evaluate(model, X, 0.2, Gaussian(), Full(), generator=generator())
    assert found.own_posterior
    jacobians = [torch.func.jacrev(lambda z: model.decode(z[None])[0])(h) for h in q.mean]
    traces = torch.stack([(j @ torch.diag(s)).square().sum() for j, s in zip(jacobians, q.factor.scale, strict=True)])
    nll = 0.5 * (model.decode(q.mean) - X).square().sum(1)
    assert found.taylor.mean == pytest.approx(float((nll + 0.5 * traces + kl).mean()), rel=1e-5)
    torch.testing.assert_close(metrics.unit_divergence(model, X).sum().float() * 0.2, kl.mean())


def test_a_model_without_a_posterior_gets_the_best_one() -> None:
    found = metrics.evaluate(Deterministic(), X, 0.2, Gaussian(), Full(), generator=generator())
    assert not found.own_posterior
    assert found.taylor.mean == pytest.approx(found.grae.mean, rel=1e-5)


def test_no_matrices_are_kept_unless_they_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    model = autoencoder()
    assert metrics.evaluate(model, X, 0.2, Gaussian(), Full(), generator=generator(), examples=0).examples is None

    def dense(*_: object) -> None:
        raise AssertionError("a matrix of all latents")

    monkeypatch.setattr(DiagonalFactor, "dense", dense)
    metrics.unit_divergence(model, X)
    metrics.importance_weighted_nll(model, X, Gaussian(), samples=2, generator=generator())


REFUSED: dict[str, tuple[Any, str]] = {
    "a set": (TensorDataset(X), "expected a DataLoader over it"),
    "curvae's own set": (Dataset("toy", X, X, {}), "of type Dataset"),
    "dictionaries": ([{"image": X}].__iter__(), "a batch is a dict with 'image'"),
    "no batches": (iter(()), "there are no samples"),
    "infinity": (np.where(np.arange(33).reshape(11, 3) == 25, np.inf, 1.0), "sample 8 holds infinity"),
    "text": ("toy.npy", "of type str"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_no_data(kind: str) -> None:
    data, said = REFUSED[kind]
    with pytest.raises(InputError, match=said):
        metrics.codes(autoencoder(), data, 4)


@pytest.mark.parametrize("structure", [Diagonal(), Along((2, 2), 0), Along((2, 2), 1)], ids=repr)
def test_latents_with_axes_are_measured_like_those_in_a_row(structure: Structure) -> None:
    """A model whose codes have axes, beside one that has the same posterior for its codes in a row."""
    weight = torch.randn(3, 4)

    class Rows:
        def encode(self, x: torch.Tensor) -> torch.Tensor:
            return x @ weight

        def posterior(self, x: torch.Tensor) -> Normal:
            parameters = torch.linspace(-1, 0.5, structure.num_parameters(4)).expand(len(x), -1)
            return Normal(self.encode(x), structure.factor(parameters, 4))

        def decode(self, z: torch.Tensor) -> torch.Tensor:
            return (z @ weight.T).tanh()

    class Shaped(Rows):
        def encode(self, x: torch.Tensor) -> torch.Tensor:
            return super().encode(x).unflatten(1, (2, 2))

        def decode(self, z: torch.Tensor) -> torch.Tensor:
            return super().decode(z.flatten(1))

    for metric in METRICS.values():
        found, expected = (torch.as_tensor(metric(model, X)) for model in (Shaped(), Rows()))
        torch.testing.assert_close(found.flatten(), expected.flatten())
