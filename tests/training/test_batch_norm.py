"""Batch-norm statistics estimated anew."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from curvae import Autoencoder, curvature, objectives, posteriors
from curvae.data import Batches
from curvae.runs import RunConfig
from curvae.training import train
from curvae.training.batch_norm import PreciseBatchNorm
from curvae.training.module import Training
from curvae.training.noise import step_generator

DATA = torch.rand(40, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
OBJECTIVES = {
    "β-VAE": objectives.BetaVAE(0.2, samples=2),
    "Taylor": objectives.Taylor(0.2),
    "GRAE": objectives.GRAE(0.2),
    "one column": objectives.GRAE(0.2, structure=posteriors.Diagonal(), estimator=curvature.Columns(1)),
    "one column on a part": objectives.GRAE(
        0.2, structure=posteriors.Diagonal(), estimator=curvature.Fraction(curvature.Columns(1), 1 / 4)
    ),
}


def module_of(objective: objectives.BetaVAE, dtype: torch.dtype = torch.float64) -> Training:
    torch.manual_seed(0)
    encoder = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ELU())
    decoder = nn.Sequential(nn.Linear(2, 5), nn.BatchNorm1d(5), nn.ELU(), nn.Linear(5, 6))
    model = Autoencoder(encoder, decoder, latents=2, structure=posteriors.Diagonal(), features=5).to(dtype)
    return Training(model, objective, torch.optim.Adam(model.parameters()), seed=3)


def seen(module: Training, batches: int) -> dict[str, torch.Tensor]:
    """Mean over the batches of the mean and of the unbiased variance of what each normalisation is fed."""
    found: dict[str, list[torch.Tensor]] = {}

    def note(name: str) -> Callable[..., None]:
        def hook(_: nn.Module, args: tuple[torch.Tensor]) -> None:
            values = args[0].detach()
            found.setdefault(f"{name}.running_mean", []).append(values.mean(0))
            found.setdefault(f"{name}.running_var", []).append(values.var(0))

        return hook

    model, generator = module.model, step_generator(3, 0, torch.device("cpu"))
    layers = {name: layer for name, layer in model.named_modules() if isinstance(layer, nn.BatchNorm1d)}
    hooks = [layer.register_forward_pre_hook(note(name)) for name, layer in layers.items()]
    momenta = [layer.momentum for layer in layers.values()]
    for layer in layers.values():
        layer.momentum = 0.0
    noisy = isinstance(module.objective, objectives.BetaVAE)
    for x in Batches(DATA, 8, 3, steps=batches):
        if noisy:
            for z in model.posterior(x.double()).rsample(generator, (2,)):
                model.decode(z)
        else:
            model.decode(model.encode(x.double()))
    for hook in hooks:
        hook.remove()
    for layer, momentum in zip(layers.values(), momenta, strict=True):
        layer.momentum = momentum
    return {name: torch.stack(values).mean(0) for name, values in found.items()}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_statistics_are_means_of_what_the_objective_feeds(name: str) -> None:
    module = module_of(OBJECTIVES[name])
    expected = seen(module, batches=4)
    before = {key: value.clone() for key, value in module.model.named_parameters()}
    state, momentum = torch.get_rng_state(), module.model.decoder[1].momentum
    assert PreciseBatchNorm(DATA, 8, 3)(module, samples=33) == 32
    buffers = dict(module.model.named_buffers())
    assert len(expected) == 4
    for key, value in expected.items():
        torch.testing.assert_close(buffers[key], value, rtol=1e-10, atol=1e-12)
    assert module.model.decoder[1].momentum == momentum
    assert torch.equal(torch.get_rng_state(), state)
    torch.testing.assert_close(dict(module.model.named_parameters()), before, rtol=0, atol=0)


def test_uses_all_samples_where_there_are_fewer() -> None:
    assert PreciseBatchNorm(DATA, 8, 3)(module_of(OBJECTIVES["GRAE"]), samples=1000) == 40


def test_frozen_layers_stay_and_models_without_any_are_left_alone() -> None:
    module = module_of(OBJECTIVES["GRAE"])
    module.model.decoder[1].eval()
    frozen = module.model.decoder[1].running_mean.clone()
    assert PreciseBatchNorm(DATA, 8, 3)(module) == 40
    assert torch.equal(module.model.decoder[1].running_mean, frozen)
    assert not module.model.decoder[1].training
    assert not torch.equal(module.model.encoder[1].running_mean, torch.zeros(5, dtype=torch.float64))
    module.model.encoder[1].eval()
    assert PreciseBatchNorm(DATA, 8, 3)(module) == 0


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["beta-vae", "grae"])
def test_a_finished_run_is_exported_with_them(
    objective: str, configure: Callable[..., RunConfig], tmp_path: Path
) -> None:
    config = configure(network="paper", objective=objective, steps=4, checkpoint_every=2, log_every=1)
    run = train(config, tmp_path / "run").run
    assert [line.get("batch_norm_samples") for line in run.metrics] == [None, 8, None, 32]
    counted = [value for name, value in run.model().state_dict().items() if name.endswith("num_batches_tracked")]
    assert counted
    assert all(int(value) == 4 for value in counted)  # 32 training samples in batches of 8, counted from 0
