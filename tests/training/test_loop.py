"""What a training run does besides being resumable."""

import math
import threading
from collections.abc import Callable
from itertools import pairwise, product
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock

from curvae.data import Batches, load
from curvae.errors import InputError
from curvae.runs import RunConfig, build_model, build_objective
from curvae.training import TrainingError, train
from curvae.training.checkpoint import Checkpoint
from curvae.training.noise import step_generator

Configure = Callable[..., RunConfig]


def by_hand(config: RunConfig) -> torch.nn.Module:
    """The same run as a bare loop."""
    dataset = load(config.data)
    model, objective = build_model(config, dataset.shape), build_objective(config)
    optimizer = torch.optim.Adam(model.parameters(), lr=config.lr, fused=True)
    for step, x in enumerate(Batches(dataset.train, config.batch_size, config.seed, steps=config.steps)):
        optimizer.zero_grad()
        objective(model, x, step_generator(config.seed, step, torch.device("cpu"))).mean().backward()
        optimizer.step()
    with torch.no_grad():
        update_batch_norm(config, dataset.train, model, objective)
    return model.eval()


def update_batch_norm(config: RunConfig, data: torch.Tensor, model: torch.nn.Module, objective: Callable) -> None:
    """The statistics of all batch normalisations, as means over the next batches with the weights as they are."""
    for layer in (found for found in model.modules() if isinstance(found, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d)):
        layer.reset_running_stats()
        layer.momentum = None
    generator = step_generator(config.seed, 0, torch.device("cpu"))
    for x in Batches(data, config.batch_size, config.seed, steps=len(data) // config.batch_size):
        objective(model, x, generator)


@pytest.mark.cases(2)
@pytest.mark.parametrize(
    ("objective", "network"),
    [
        *product(("beta-vae", "taylor", "grae"), ("mlp", "linear")),
        ("beta-vae", "paper"),
        pytest.param("taylor", "paper", marks=pytest.mark.slow),
        pytest.param("grae", "paper", marks=pytest.mark.slow),
    ],
)
def test_is_adam_on_the_objective_and_nothing_else(
    objective: str, network: str, configure: Configure, tmp_path: Path
) -> None:
    config = configure(objective=objective, network=network, width=1.0 if network == "linear" else 0.02, steps=5)
    trained = train(config, tmp_path / "run").run.model()
    torch.testing.assert_close(trained.state_dict(), by_hand(config).state_dict(), rtol=0, atol=0)


def test_log_lines_hold_the_terms(configure: Configure, tmp_path: Path) -> None:
    lines = train(configure(objective="grae"), tmp_path / "run").run.metrics
    assert [line["step"] for line in lines] == [5, 10, 15, 20, 25, 30]
    assert [line["step"] for line in lines if "held_out" in line] == [10, 20, 30]
    assert all(earlier["seconds"] <= later["seconds"] for earlier, later in pairwise(lines))
    for values in (*lines, *(line["held_out"] for line in lines if "held_out" in line)):
        assert set(values["parts"]) == {"nll", "prior", "penalty"}
        assert math.isclose(sum(values["parts"].values()), values["total"], rel_tol=1e-5)


def test_held_out_value_is_the_objective_of_the_deployed_model(configure: Configure, tmp_path: Path) -> None:
    config = configure(network="paper", objective="grae", structure="full", steps=6)
    run = train(config, tmp_path / "run").run
    with torch.no_grad():
        terms = build_objective(config)(run.model(), run.dataset().test)
    assert math.isclose(run.metrics[-1]["held_out"]["total"], float(terms.mean()), rel_tol=1e-5)


@pytest.mark.slow
def test_looking_changes_nothing(configure: Configure, tmp_path: Path) -> None:
    often, seldom = (
        train(
            configure(network="paper", steps=8, checkpoint_every=every, log_every=every), tmp_path / str(every)
        ).run.model()
        for every in (2, 1000)
    )
    torch.testing.assert_close(often.state_dict(), seldom.state_dict(), rtol=0, atol=0)


def test_global_randomness_is_left_alone(configure: Configure, tmp_path: Path) -> None:
    torch.manual_seed(123)
    before = torch.get_rng_state()
    one = train(configure(), tmp_path / "one").run.model()
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(456)
    two = train(configure(), tmp_path / "two").run.model()
    torch.testing.assert_close(one.state_dict(), two.state_dict(), rtol=0, atol=0)


@pytest.mark.slow
def test_seed_changes_the_run(configure: Configure, tmp_path: Path) -> None:
    one, two = (train(configure(seed=seed), tmp_path / str(seed)).run.model() for seed in (0, 1))
    assert not torch.equal(one.mean_head.weight, two.mean_head.weight)


@pytest.mark.cases(1)
def test_double_precision_is_double_throughout(configure: Configure, tmp_path: Path) -> None:
    model = train(configure(precision="64", network="paper", steps=3), tmp_path / "run").run.model()
    assert all(parameter.dtype == torch.float64 for parameter in model.parameters())


@pytest.mark.slow
@pytest.mark.parametrize(
    "objective",
    ["grae", pytest.param("beta-vae", marks=pytest.mark.slow), pytest.param("taylor", marks=pytest.mark.slow)],
)
def test_bf16_stays_near_float32(objective: str, configure: Configure, tmp_path: Path) -> None:
    """The networks round to 8 bits; the terms, computed in full precision from them, agree to about that."""
    changes = {"network": "paper", "objective": objective, "log_every": 1, "steps": 2}
    first, second = (
        train(configure(precision=precision, **changes), tmp_path / precision).run.metrics[0]
        for precision in ("32", "bf16")
    )
    for name, value in first["parts"].items():
        assert math.isclose(second["parts"][name], value, rel_tol=0.02), name
    assert first["total"] != second["total"]


def test_divergence_stops_with_a_clear_line_and_keeps_the_checkpoint(configure: Configure, tmp_path: Path) -> None:
    """One sample so large that its squared error overflows."""
    config = configure(checkpoint_every=1)
    fifth = list(Batches(load(config.data).train, config.batch_size, config.seed, steps=5))[4]
    values = np.load(config.data)
    values[values[:, 0] == float(fifth[0, 0])] = 1e30
    np.save(config.data, values)
    with pytest.raises(TrainingError, match=r"the loss is inf at step 5; .*last\.ckpt keeps step 4"):
        train(config, tmp_path / "run")
    kept = Checkpoint.load(tmp_path / "run" / "checkpoints" / "last.ckpt")
    assert kept.step == 4
    assert all(tensor.isfinite().all() for tensor in kept.model.values())
    assert not (tmp_path / "run" / "model.json").exists()


def test_weights_that_blow_up_in_a_structured_penalty(configure: Configure, tmp_path: Path) -> None:
    config = configure(structure="full", network="linear", width=1.0, lr=1e30)
    # which of the two is noticed first depends on the linear algebra library
    expected = r"(the loss is (inf|nan)|the penalty cannot be computed) at step 2[:;].*no checkpoint was made"
    with pytest.raises(TrainingError, match=expected):
        train(config, tmp_path / "run")


def test_two_processes_cannot_train_one_run(configure: Configure, tmp_path: Path) -> None:
    run = train(configure(), tmp_path / "run").run
    (run.path / "model.json").unlink()
    with FileLock(run.path / ".lock"), pytest.raises(InputError, match="being trained by another process"):
        train(configure(), run.path, resume=True)


def test_trains_outside_the_main_thread(configure: Configure, tmp_path: Path) -> None:
    """Where no signal handler can be installed."""
    outcomes = []
    thread = threading.Thread(target=lambda: outcomes.append(train(configure(), tmp_path / "run")))
    thread.start()
    thread.join()
    assert outcomes[0].finished


def test_nothing_is_left_beside_the_run(configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    train(configure(), tmp_path / "run")
    assert list(elsewhere.iterdir()) == []
    found = {str(path.relative_to(tmp_path / "run")) for path in (tmp_path / "run").rglob("*") if path.is_file()}
    assert found == {
        ".lock",
        "checkpoints/last.ckpt",
        "config.json",
        "metrics.jsonl",
        "model.json",
        "model.safetensors",
    }


def test_relative_data_path_survives_a_change_of_folder(
    configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure()
    monkeypatch.chdir(tmp_path)
    run = train(configure(data="vectors.npy"), Path("run")).run
    monkeypatch.chdir("/")
    assert run.dataset().shape == (6,)
