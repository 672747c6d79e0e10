"""Training that runs away is no success, and training that does not is left alone."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from curvae.errors import InputError
from curvae.objectives import Terms
from curvae.runs import RunConfig
from curvae.training import TrainingError, train
from curvae.training.checkpoint import Checkpoint
from curvae.training.divergence import Watch
from curvae.training.module import Training

Configure = Callable[..., RunConfig]


@pytest.mark.parametrize("log_every", [5, pytest.param(1000, marks=pytest.mark.slow)])
def test_a_run_that_ran_away_is_not_finished(log_every: int, configure: Configure, tmp_path: Path) -> None:
    config = configure(objective="rae", lr=10.0, steps=60, log_every=log_every, checkpoint_every=60)
    with pytest.raises(TrainingError, match=r"^training has diverged: .*; no checkpoint was made$"):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run" / "model.json").exists()


def test_the_last_good_checkpoint_is_kept(
    configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From step 12 on the objective is a million times what it was."""
    original = Training.evaluated

    def larger(self: Training, batch: torch.Tensor, generator: torch.Generator, step: int, *rest: Any) -> Terms:
        terms = original(self, batch, generator, step, *rest)
        factor = 1e6 if step >= 12 else 1.0
        return Terms({name: part * factor for name, part in terms.parts.items()})

    monkeypatch.setattr(Training, "evaluated", larger)
    config = configure(steps=200, log_every=5, checkpoint_every=5)
    with pytest.raises(TrainingError, match=r"at step 35 and was about .* at the first; .*last\.ckpt keeps step 10$"):
        train(config, tmp_path / "run")
    kept = Checkpoint.load(tmp_path / "run" / "checkpoints" / "last.ckpt")
    assert kept.step == 10
    # a resumed run still knows how it began
    with pytest.raises(TrainingError, match=r"keeps step 10$"):
        train(config, tmp_path / "run", resume=True)


def test_moments_that_are_not_finite_are_noticed(
    configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gradient whose square overflows freezes its weight for good, and the loss looks fine."""
    step = torch.optim.Adam.step

    def overflowing(self: torch.optim.Adam, closure: None = None) -> None:
        step(self, closure)
        next(iter(self.state.values()))["exp_avg_sq"].view(-1)[0] = float("inf")

    monkeypatch.setattr(torch.optim.Adam, "step", overflowing)
    with pytest.raises(TrainingError, match="record of its gradients, is not finite after step 10"):
        train(configure(), tmp_path / "run")


def test_a_spike_that_passes_is_no_divergence() -> None:
    watch = Watch(start=10.0)
    for step, total in enumerate([1e6, 1e6, 5.0, 1e6, 1e6, 1e6, 1e6, 5.0]):
        watch.look(total, step)
    watch.check(9e3, 9)
    with pytest.raises(TrainingError, match="the objective is 1.1e"):
        watch.check(1.1e4, 9)


def test_parts_that_cancel_are_not_a_small_start() -> None:
    watch = Watch()
    watch.begin(Terms({"nll": torch.tensor([-50.0]), "kl": torch.tensor([50.001])}))
    assert watch.start == pytest.approx(100.001)
    assert not watch.ran_away(5e4)


@pytest.mark.parametrize(
    "likelihood",
    [
        "gaussian:1e-200",
        "gaussian:1e-15",
        "gaussian:1e200",
        "gaussian:1e20",
        "laplace:1e-300",
        "laplace:1e300",
        "student-t:1e-300",
        "student-t:1e300",
        "student-t:4:1e-200",
        "student-t:4:1e200",
    ],
)
@pytest.mark.parametrize("objective", ["beta-vae", "grae"])
def test_scales_at_the_edge_of_floats_are_refused_before_anything_is_written(
    likelihood: str, objective: str, configure: Configure, tmp_path: Path
) -> None:
    config = configure(likelihood=likelihood, objective=objective)
    with pytest.raises(InputError, match=r"^the objective .* before the first step: .*; choose a scale"):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_double_precision_holds_more(configure: Configure, tmp_path: Path) -> None:
    assert train(configure(likelihood="gaussian:1e-15", precision="64", steps=2), tmp_path / "run").finished
