"""What callers bring to ``curvae.fit``: callbacks of Lightning's, and layers that keep their results."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer, callbacks
from torch import nn
from torch.nn import utils

from curvae import Autoencoder, fit, objectives
from curvae.errors import InputError
from curvae.sklearn.conditions import Told
from curvae.sklearn.reporting import About, write

SETTINGS: dict[str, Any] = {"batch_size": 8, "device": "cpu", "progress": False}


class Seen(Callback):
    """The steps that a trainer says."""

    def __init__(self) -> None:
        self.steps: list[int] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.steps.append(trainer.global_step)

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        self.steps.append(trainer.global_step)


def test_callbacks_see_the_steps_of_the_run(tmp_path: Path) -> None:
    model, x = Autoencoder(nn.Linear(6, 2), nn.Linear(2, 6), latents=2), torch.randn(40, 6)
    first, second = Seen(), Seen()
    settings = {"out": tmp_path / "run", **SETTINGS}
    fit(model, x, objectives.GRAE(0.2), steps=3, callbacks=[first], **settings)
    fit(model, x, objectives.GRAE(0.2), steps=5, callbacks=[second], resume=True, **settings)
    assert first.steps == [0, 1, 2, 3]
    assert second.steps == [3, 4, 5]


REFUSED: list[tuple[Callback, str]] = [
    (callbacks.EarlyStopping("loss"), "early_stop"),
    (callbacks.ModelCheckpoint(every_n_train_steps=2), "checkpoint_every"),
    (callbacks.OnExceptionCheckpoint("."), "checkpoint_every"),
    (callbacks.TQDMProgressBar(), "progress"),
    (callbacks.StochasticWeightAveraging(1e-2), "ema"),
    (callbacks.GradientAccumulationScheduler({0: 2}), "accumulate"),
    (callbacks.LearningRateMonitor(), "logger"),
    (callbacks.DeviceStatsMonitor(), "logger"),
]


@pytest.mark.parametrize(("callback", "argument"), REFUSED, ids=lambda value: type(value).__name__)
def test_what_fit_does_itself_is_asked_of_its_arguments(callback: Callback, argument: str, tmp_path: Path) -> None:
    model, x = Autoencoder(nn.Linear(6, 2), nn.Linear(2, 6), latents=2), torch.randn(40, 6)
    with pytest.raises(InputError, match=f"callbacks has {type(callback).__name__}.*; use the argument {argument}$"):
        fit(model, x, objectives.GRAE(0.2), steps=2, callbacks=[callback], out=tmp_path / "run", **SETTINGS)
    assert not (tmp_path / "run").exists()


class Keeping(nn.Linear):
    """A layer that keeps what it has returned, beside other things."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = super().forward(x)
        self.seen = {"last": [y]}
        return y


KEEPING: dict[str, Callable[[nn.Linear], nn.Module]] = {
    "weight norm": utils.weight_norm,
    "spectral norm": utils.spectral_norm,
    "layer": lambda _: Keeping(2, 8),
}


@pytest.mark.filterwarnings("ignore:.*weight_norm.*is deprecated:FutureWarning")
@pytest.mark.parametrize("kind", KEEPING)
def test_layers_that_keep_results_with_their_graph(kind: str, tmp_path: Path) -> None:
    decoder = nn.Sequential(KEEPING[kind](nn.Linear(2, 8)), nn.ELU(), nn.Linear(8, 6))
    model, x = Autoencoder(nn.Linear(6, 2), decoder, latents=2), torch.randn(40, 6)
    run = fit(model, x, objectives.GRAE(0.2), steps=3, **SETTINGS)
    model(x).sum().backward()
    with pytest.raises(RuntimeError, match="deepcopy"):
        copy.deepcopy(model)
    found = run.model()
    assert torch.equal(found.reconstruct(x), model.reconstruct(x))
    assert all(a is not b for a, b in zip(found.parameters(), model.parameters(), strict=True))
    about = About("GRAE", 40, run.metrics, {})
    assert write(model, objectives.GRAE(0.2), Told(x, None), about, tmp_path / "page.html").exists()
