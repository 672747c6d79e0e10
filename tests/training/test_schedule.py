"""Learning rates along training."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from curvae.errors import InputError
from curvae.runs import RunConfig
from curvae.training import train
from curvae.training.checkpoint import Checkpoint
from curvae.training.schedule import learning_rate


@pytest.mark.parametrize("warmup", [0, 7])
def test_rates_are_those_of_pytorchs_schedulers(warmup: int) -> None:
    config = RunConfig(data="mnist", schedule="cosine", lr=0.02, steps=30, warmup=warmup)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=config.lr)
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=config.steps - warmup)
    scheduler: torch.optim.lr_scheduler.LRScheduler = falling
    if warmup:
        rising = torch.optim.lr_scheduler.LinearLR(optimizer, 1 / warmup, 1.0, total_iters=warmup - 1)
        scheduler = torch.optim.lr_scheduler.SequentialLR(optimizer, [rising, falling], milestones=[warmup])
    for step in range(config.steps):
        assert learning_rate(config, step) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9)
        optimizer.step()
        scheduler.step()
    assert 0 < learning_rate(config, config.steps - 1) < 0.01 * config.lr


def test_a_run_follows_its_schedule(configure: Callable[..., RunConfig], tmp_path: Path) -> None:
    """The last update has the last rate, a run with the constant one other weights, and a resumed one the same bits."""
    config = configure(schedule="cosine", warmup=3, steps=20, checkpoint_every=10)
    run = train(config, tmp_path / "run").run
    state = Checkpoint.load(run.checkpoint).optimizer
    assert state["param_groups"][0]["lr"] == learning_rate(config, 19)
    constant = train(configure(steps=20, checkpoint_every=10), tmp_path / "constant").run.model().state_dict()
    weights = run.model().state_dict()
    assert any(not torch.equal(weights[name], constant[name]) for name in weights)


def test_a_warm_up_as_long_as_training_is_refused() -> None:
    with pytest.raises(InputError, match="warmup is 20 but steps is 20; expected a warm-up of fewer steps"):
        RunConfig(data="mnist", steps=20, warmup=20)
