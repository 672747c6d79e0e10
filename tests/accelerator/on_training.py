"""The whole training loop, which the trainer is told to run there."""

from pathlib import Path
from typing import Any

import pytest
import torch
from device import NAME, Accelerator
from lightning.pytorch import Trainer
from lightning.pytorch.accelerators import CPUAccelerator
from lightning.pytorch.strategies import SingleDeviceStrategy
from torch import nn

import curvae
from curvae import Autoencoder, curvature, likelihoods, objectives, posteriors
from curvae.training import loop

DIAGONAL = posteriors.Diagonal()
COLUMNS = objectives.GRAE(0.2, structure=DIAGONAL, estimator=curvature.Columns(1))
SECANTS = objectives.GRAE(0.2, structure=DIAGONAL, estimator=curvature.Fraction(curvature.Secants(1), 1 / 2))
X = torch.rand(60, 1, 8, 8, generator=torch.Generator().manual_seed(0))


class _Strange(CPUAccelerator):
    def setup_device(self, device: torch.device) -> None:
        """Which is no CPU."""


def model(structure: Any = None) -> Autoencoder:
    torch.manual_seed(0)
    # no bias before a normalisation: its gradient is rounding, which Adam makes a step of
    encoder = nn.Sequential(
        nn.Conv2d(1, 4, 4, 2, 1, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 16)
    )
    decoder = nn.Sequential(
        nn.Linear(4, 64, bias=False), nn.Unflatten(1, (4, 4, 4)), nn.BatchNorm2d(4), nn.SiLU(),
        nn.ConvTranspose2d(4, 1, 4, 2, 1),
    )  # fmt: skip
    return Autoencoder(encoder, decoder, latents=4, structure=structure)


def weights(of: Autoencoder) -> torch.Tensor:
    return torch.cat([weight.detach().cpu().flatten() for weight in of.parameters()])


@pytest.fixture
def there(monkeypatch: pytest.MonkeyPatch) -> None:
    device = torch.device(NAME, 0)

    real = Trainer.__init__

    def there(self: Trainer, accelerator: str, devices: object, **given: Any) -> None:
        real(self, strategy=SingleDeviceStrategy(device=device, accelerator=_Strange()), **given)

    monkeypatch.setattr(Trainer, "__init__", there)
    monkeypatch.setattr(loop, "choose_device", lambda _: device)


@pytest.mark.parametrize(
    ("objective", "structure", "more"),
    [
        (objectives.BetaVAE(0.2), DIAGONAL, {}),
        (objectives.BetaVAE(0.2, likelihood=likelihoods.LearnedGaussian()), DIAGONAL, {"ema": 0.9}),
        (COLUMNS, None, {"accumulate": 2, "clip": 1.0}),
        (SECANTS, None, {"schedule": "cosine", "early_stop": 5}),
        (objectives.GRAE(0.2, structure=posteriors.Full()), None, {"beta_warmup": 5}),
    ],
    ids=str,
)
def test_it_ends_where_a_cpu_ends(
    objective: Any, structure: Any, more: dict[str, Any], accelerator: Accelerator, there: None, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    settings = {"steps": 8, "batch_size": 8, "checkpoint_every": 4, "log_every": 3, "progress": False, **more}
    found = model(structure)
    curvae.fit(found, X, objective, out=tmp_path / "there", **settings)
    monkeypatch.undo()
    expected = model(structure)
    curvae.fit(expected, X, objective, out=tmp_path / "here", **settings)
    # by their norm: Adam makes a step of a gradient that is rounding
    assert float((weights(found) - weights(expected)).norm()) < 1e-3 * float(weights(expected).norm())
    assert next(found.parameters()).device.type == "cpu"


def test_a_step_waits_for_its_batch_alone(accelerator: Accelerator, there: None) -> None:
    waits = []
    for steps in (5, 25):
        accelerator.waits.clear()
        curvae.fit(model(), X, COLUMNS, steps=steps, batch_size=8, log_every=100, checkpoint_every=100, progress=False)
        waits.append(sum("copy" not in each for each in accelerator.waits))
    # batches are looked at ever more seldom: the 8th and the 16th, but no others
    assert waits[1] - waits[0] < 10


@pytest.mark.parametrize("data_too", [False, True])
def test_what_lies_there_before(data_too: bool, accelerator: Accelerator) -> None:
    run = curvae.fit(
        model().to(NAME), X.to(NAME) if data_too else X, COLUMNS, steps=3, batch_size=8, device="cpu", progress=False
    )
    assert run.finished
