"""What measures a model leaves its statistics, counters and modes alone."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from curvae import Autoencoder, curvature, geometry, metrics, objectives, posteriors
from curvae.errors import InputError
from curvae.likelihoods import Gaussian
from curvae.metrics.frechet import FrechetDistance
from curvae.unamortised import Unamortised

LATENTS, OUTPUTS, DATA = 2, 6, 12


def _normed(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inputs, 8),
        nn.BatchNorm1d(8),
        nn.ELU(),
        nn.Dropout(0.5),
        nn.Linear(8, 8),
        nn.BatchNorm1d(8, momentum=None),
        nn.Unflatten(1, (2, 4)),
        nn.InstanceNorm1d(2),
        nn.Flatten(),
        nn.Linear(8, outputs),
    )


def _model(structure: posteriors.Structure | None = None) -> Autoencoder:
    """In train mode, some layers frozen."""
    model = Autoencoder(_normed(OUTPUTS, 5), _normed(LATENTS, OUTPUTS), LATENTS, structure, features=5)
    with torch.no_grad():
        model.reconstruct(torch.randn(50, OUTPUTS))
    model.decoder[1].eval()
    model.encoder[5].eval()
    return model


class Pixels(nn.Module):
    num_features = 4

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(9, 4), nn.BatchNorm1d(4), nn.Dropout(0.5))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x.double().to(torch.get_default_dtype()))


def _curve(z: Tensor) -> Tensor:
    return torch.stack([z[:4], z[4:8], z[8:12]], 1)


def _metric(model: Autoencoder) -> Callable[[Tensor], Tensor]:
    """One that calls the decoder itself."""
    return lambda z: torch.eye(LATENTS) + model.decode(z).square().mean(1)[:, None, None] * torch.eye(LATENTS)


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


MEASURES: dict[str, Callable[[Autoencoder, Tensor, Tensor], object]] = {
    "evaluate": lambda m, x, z: metrics.evaluate(
        m, x, 0.2, Gaussian(), posteriors.Full(), generator=_generator(), batch_size=5
    ),
    "codes": lambda m, x, z: metrics.codes(m, x, batch_size=5),
    "active_units": lambda m, x, z: metrics.active_units(m, x),
    "unit_divergence": lambda m, x, z: metrics.unit_divergence(metrics.Implied(m, 0.2), x),
    "likelihood": lambda m, x, z: metrics.importance_weighted_nll(
        metrics.Implied(m, 0.2), x, Gaussian(), samples=3, generator=_generator()
    ),
    "principal_basis": lambda m, x, z: curvature.principal_basis(m.decode, z, x, Gaussian()),
    "pullback": lambda m, x, z: geometry.pullback(m.decode, z, chunk_size=1),
    "log_magnification_of": lambda m, x, z: geometry.log_magnification_of(m.decode, z),
    "length": lambda m, x, z: geometry.length(m.decode, _curve(z)),
    "energy": lambda m, x, z: geometry.energy(m.decode, _curve(z)),
    "metric_length": lambda m, x, z: geometry.metric_length(_metric(m), _curve(z)),
    "metric_energy": lambda m, x, z: geometry.metric_energy(_metric(m), _curve(z)),
    "geodesic": lambda m, x, z: geometry.geodesic(
        partial(geometry.energy, m.decode), z[:4], z[4:8], nodes=5, iterations=3
    ),
    "geodesic-own": lambda m, x, z: geometry.geodesic(
        lambda c: m.decode(c.flatten(0, 1)).unflatten(0, c.shape[:2]).flatten(2).diff(dim=1).square().sum((1, 2)),
        z[:4],
        z[4:8],
        nodes=5,
        iterations=3,
    ),
    "sectional_curvature": lambda m, x, z: geometry.sectional_curvature(lambda p: geometry.pullback(m.decode, p), z),
    "christoffel": lambda m, x, z: geometry.christoffel(_metric(m), z),
}


@pytest.mark.parametrize("name", MEASURES)
def test_a_model_in_train_mode_is_left_as_it_is(name: str) -> None:
    model, x, z = _model(), torch.rand(DATA, OUTPUTS), torch.randn(DATA, LATENTS)
    if name in ("sectional_curvature", "christoffel"):  # another mask in each pass is no map
        for layer in model.modules():
            if isinstance(layer, nn.Dropout):
                layer.p = 0.0
    before = copy.deepcopy(model.state_dict())
    modes = [module.training for module in model.modules()]
    with curvature.unchecked():
        MEASURES[name](model, x, z)
    if name != "sectional_curvature":  # a derivative of derivatives sees through the batch's statistics: refused
        MEASURES[name](model, x, z)
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key]), key
    assert [module.training for module in model.modules()] == modes


def test_a_curvature_through_the_batchs_statistics_is_refused() -> None:
    decoder = nn.Sequential(nn.Linear(LATENTS, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, OUTPUTS))
    with pytest.raises(InputError, match="mixes the samples"):
        geometry.sectional_curvature(lambda p: geometry.pullback(decoder, p), torch.randn(DATA, LATENTS))
    geometry.sectional_curvature(lambda p: geometry.pullback(decoder.eval(), p), torch.randn(DATA, LATENTS))


def test_modes_come_back_after_an_error() -> None:
    model = _model()
    modes = [module.training for module in model.modules()]
    with pytest.raises(InputError, match="not finite"):
        metrics.evaluate(
            model, torch.full((4, OUTPUTS), torch.nan), 0.2, Gaussian(), posteriors.Full(), generator=_generator()
        )
    assert [module.training for module in model.modules()] == modes


def test_a_model_that_only_holds_modules_is_measured_in_eval_mode() -> None:
    """Free posteriors at some data: no module, but the decoder in it is one."""
    model = Unamortised(_normed(LATENTS, OUTPUTS), LATENTS, posteriors.Full(), count=DATA)
    x, before = torch.rand(DATA, OUTPUTS), copy.deepcopy(model.state_dict())
    found = [
        metrics.importance_weighted_nll(
            model.at(torch.arange(DATA)), x, Gaussian(), samples=2, generator=_generator(), batch_size=DATA
        ).nll
        for _ in range(2)
    ]
    assert torch.equal(*found)  # dropout would make another of it
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert all(module.training for module in model.modules())


def test_an_extractor_of_features_is_used_in_eval_mode() -> None:
    extractor, images = Pixels(), torch.rand(20, 1, 3, 3)
    extractor.layers[3].eval()
    before, modes = copy.deepcopy(extractor.state_dict()), [module.training for module in extractor.modules()]
    distance = FrechetDistance(extractor, images.split(10))
    assert distance([images]) < 1e-6
    assert all(torch.equal(value, before[key]) for key, value in extractor.state_dict().items())
    assert [module.training for module in extractor.modules()] == modes


def test_an_implied_posterior_in_train_mode_counts_each_batch_once(seed: int) -> None:
    model, x = _model(), torch.rand(DATA, OUTPUTS)
    objectives.Taylor(0.2)(metrics.Implied(model, 0.2), x)
    assert model.decoder[5].num_batches_tracked == 2
    assert model.encoder[1].num_batches_tracked == 2


def test_a_basis_in_train_mode_is_that_of_the_batchs_statistics(float64: None, seed: int) -> None:
    decoder = nn.Sequential(nn.Linear(LATENTS, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, OUTPUTS))
    z, x = torch.randn(DATA, LATENTS), torch.randn(DATA, OUTPUTS)
    mean = curvature.gauss_newton(copy.deepcopy(decoder), z, x, Gaussian()).mean(0)
    expected = torch.linalg.eigh(mean).eigenvectors.flip(-1)
    got = curvature.principal_basis(decoder, z, x, Gaussian())
    torch.testing.assert_close((got.mT @ expected).abs(), torch.eye(LATENTS))
