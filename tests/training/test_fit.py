"""``curvae.fit``: anyone's model, through the loop that the command uses."""

from __future__ import annotations

import copy
import dataclasses
import functools
import gc
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset, WeightedRandomSampler

import curvae
from curvae import Autoencoder, fit, likelihoods, objectives, posteriors
from curvae.curvature import Columns
from curvae.data import Batches, as_dataset
from curvae.errors import InputError
from curvae.objectives import Terms
from curvae.posteriors.factor import DiagonalFactor
from curvae.runs import Run, load_model
from curvae.training.checkpoint import Checkpoint
from curvae.training.errors import TrainingError
from curvae.training.noise import step_generator

CPU = {"device": "cpu", "progress": False}


def net(structure: posteriors.Structure | None = None, dropout: float = 0.0, seed: int = 0) -> Autoencoder:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        encoder = nn.Sequential(nn.Linear(6, 8), nn.ELU(), nn.Dropout(dropout))
        decoder = nn.Sequential(nn.Linear(2, 8), nn.ELU(), nn.Linear(8, 6))
        return Autoencoder(encoder, decoder, latents=2, structure=structure, features=8)


@pytest.fixture
def x() -> np.ndarray:
    return np.random.default_rng(0).random((80, 6), dtype=np.float32)


def by_hand(
    model: Autoencoder,
    data: torch.Tensor,
    objective: Callable[[int], Any],
    steps: int,
    pieces: int = 1,
    clip: float | None = None,
    decay: float = 0.0,
) -> tuple[Autoencoder, list[torch.Tensor]]:
    """The same training as a bare loop, and the averaged weights."""
    adam = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    average = [parameter.detach().clone() for parameter in model.parameters()]
    for step, batch in enumerate(Batches(data, 8 * pieces, seed=0, steps=steps)):
        generator = step_generator(0, step, torch.device("cpu"))
        adam.zero_grad()
        for piece in batch.chunk(pieces):
            (objective(step)(model, piece, generator).mean() / pieces).backward()
        if clip is not None:
            norm = torch.cat([parameter.grad.flatten() for parameter in model.parameters()]).norm()
            for parameter in model.parameters():
                parameter.grad *= min(1.0, clip / (float(norm) + 1e-6))
        adam.step()
        a = min(decay, (2 + step) / (11 + step))
        average = [a * old + (1 - a) * new.detach() for old, new in zip(average, model.parameters(), strict=True)]
    return model, average


@pytest.mark.cases(1)
@pytest.mark.parametrize("kind", ["grae", "beta-vae", "taylor"])
def test_is_the_bare_loop_with_every_option(kind: str, x: np.ndarray) -> None:
    """Accumulation, clipping, a rising β and averaged weights, each beside a telling of its own."""

    def at(step: int) -> Any:
        beta = 0.2 * min(1.0, (step + 1) / 4)
        return {
            "grae": lambda: objectives.GRAE(beta, structure=posteriors.Diagonal(), estimator=Columns(1)),
            "beta-vae": lambda: objectives.BetaVAE(beta),
            "taylor": lambda: objectives.Taylor(beta),
        }[kind]()

    model = net(None if kind == "grae" else posteriors.Diagonal())
    data = as_dataset(x)
    expected, average = by_hand(copy.deepcopy(model), data.train, at, 7, pieces=2, clip=0.5, decay=0.9)
    settings = {"batch_size": 8, "accumulate": 2, "clip": 0.5, "ema": 0.9, "beta_warmup": 4}
    run = fit(model, x, at(99), steps=7, **settings, **CPU)
    for name, parameter in run.model().named_parameters():
        place = [key for key, _ in expected.named_parameters()].index(name)
        torch.testing.assert_close(parameter.detach(), average[place], rtol=1e-5, atol=1e-6)
    state = Checkpoint.load(run.checkpoint).model
    torch.testing.assert_close(state, dict(expected.state_dict()), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(model.state_dict(), run.model().state_dict(), rtol=0, atol=0)


class Crash(BaseException):
    pass


class CrashAt(Callback):
    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if pl_module.step == self.step:
            raise Crash


EVERYTHING = {
    "accumulate": 2,
    "clip": 0.5,
    "ema": 0.9,
    "beta_warmup": 9,
    "early_stop": 3,
    "schedule": "cosine",
    "warmup": 3,
    "logger": "csv",
}


@pytest.mark.cases(1)
@pytest.mark.parametrize("crashed", [5, 11])
def test_crashed_and_resumed_is_the_unbroken_run(crashed: int, x: np.ndarray, tmp_path: Path) -> None:
    """With dropout, which draws from PyTorch's global generator, and with all that a checkpoint has to hold."""
    settings = {"batch_size": 8, "steps": 14, "checkpoint_every": 3, "log_every": 2, **EVERYTHING, **CPU}
    objective = objectives.BetaVAE(0.2)
    whole = fit(net(posteriors.Diagonal(), 0.5), x, objective, out=tmp_path / "whole", **settings)
    with pytest.raises(Crash):
        fit(
            net(posteriors.Diagonal(), 0.5),
            x,
            objective,
            out=tmp_path / "crashed",
            callbacks=[CrashAt(crashed)],
            **settings,
        )
    torch.rand(3)  # as in another process
    other = net(posteriors.Diagonal(), 0.5, seed=7)
    again = fit(other, x, objective, out=tmp_path / "crashed", resume=True, **settings)
    states = [Checkpoint.load(run.checkpoint) for run in (whole, again)]
    for name in ("model", "optimizer", "average", "best"):
        assert getattr(states[0], name)
        torch.testing.assert_close(getattr(states[0], name), getattr(states[1], name), rtol=0, atol=0)
    torch.testing.assert_close(whole.model().state_dict(), again.model().state_dict(), rtol=0, atol=0)
    logs = [[{k: v for k, v in line.items() if k != "seconds"} for line in run.metrics] for run in (whole, again)]
    assert logs[0] == logs[1]
    csv = [(run.path / "logs" / "csv" / "metrics.csv").read_text() for run in (whole, again)]
    assert csv[0] == csv[1]
    assert csv[0].count("\n") == 1 + len(logs[0])


def test_a_finished_run_is_lengthened_with_the_same_arguments(x: np.ndarray, tmp_path: Path) -> None:
    settings = {"out": tmp_path / "run", **CPU, "device": torch.device("cpu")}
    fit(net(), x, objectives.GRAE(0.2), steps=20, **settings)
    for length in ({"steps": 40}, {"epochs": 50}):
        run = fit(net(), x, objectives.GRAE(0.2), resume=True, **length, **settings)
    assert [line["step"] for line in run.metrics if "held_out" in line] == list(range(2, 51, 2))
    assert [entry["to"] for entry in run.history] == [{"steps": 40}, {"steps": 50}]


def test_early_stop_keeps_the_best_model(x: np.ndarray, tmp_path: Path) -> None:
    """A learning rate at which the held-out objective soon gets worse."""
    settings = {"batch_size": 8, "checkpoint_every": 1, "log_every": 1, "lr": 0.5, "out": tmp_path / "run", **CPU}
    run = fit(net(), x, objectives.GRAE(0.2), steps=200, early_stop=3, **settings)
    values = [line["held_out"]["total"] for line in run.metrics]
    best = int(np.argmin(values))
    assert len(values) == best + 4 < 200
    with torch.no_grad():
        total = objectives.GRAE(0.2)(run.model(), torch.from_numpy(x)[run.data["split"]["test_indices"]]).mean()
    assert float(total) == pytest.approx(values[best], rel=1e-5)
    assert run.metrics[-1]["held_out"]["total"] > values[best]
    # more patience goes on, and the finished model before is kept as that of its step
    longer = fit(net(), x, objectives.GRAE(0.2), steps=200, early_stop=5, resume=True, **settings)
    assert len(longer.metrics) >= len(values) + 2
    assert (run.path / "snapshots" / str(len(values)) / "model.safetensors").exists()


def test_held_out_values_are_what_evaluate_reports(x: np.ndarray) -> None:
    """On as many samples, also with averaged weights."""
    objective = objectives.GRAE(0.2, structure=posteriors.Diagonal())
    run = fit(net(), x, objective, steps=9, ema=0.9, validation=0.5, **CPU)
    last = run.metrics[-1]["held_out"]
    found = run.evaluate(limit=last["samples"])
    assert (found.data, last["samples"]) == (40, 40)
    assert found.grae.mean == pytest.approx(last["total"], rel=1e-5)
    assert found.reconstruction.mean == pytest.approx(last["parts"]["nll"], rel=1e-5)
    assert run.evaluation == found


def test_the_whole_way_from_a_model_to_a_report(x: np.ndarray, tmp_path: Path) -> None:
    run = fit(net(posteriors.Full()), x, objectives.BetaVAE(0.2), epochs=3, batch_size=16, out=tmp_path / "run", **CPU)
    assert (run.config.steps, run.config.epochs, run.config.structure) == (3 * (72 // 16), None, "full")
    run.evaluate()
    page = run.report(tmp_path / "page.html").read_text(encoding="utf-8")
    assert "β-VAE (2)" in page
    again = Run.open(tmp_path / "run", model=lambda: net(posteriors.Full()), data=x)
    torch.testing.assert_close(again.model().state_dict(), run.model().state_dict(), rtol=0, atol=0)
    assert again.dataset().digest == run.dataset().digest
    loaded = curvae.load(tmp_path / "run", model=lambda: net(posteriors.Full()))
    torch.testing.assert_close(loaded.state_dict(), run.model().state_dict(), rtol=0, atol=0)
    with pytest.raises(InputError, match="is different data"):
        Run.open(tmp_path / "run", data=x + 1).dataset()


def test_a_run_without_a_folder_goes_with_its_object(x: np.ndarray) -> None:
    run = fit(net(), x, objectives.GRAE(0.2), steps=2, **CPU)
    path = run.path
    other = dataclasses.replace(run)
    del run
    gc.collect()
    assert path.is_dir()
    del other
    gc.collect()
    assert not path.exists()


def test_the_global_generator_is_given_back(x: np.ndarray) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    fit(net(dropout=0.5), x, objectives.GRAE(0.2), steps=2, **CPU)
    assert torch.equal(torch.get_rng_state(), before)


class Pairs(Dataset[dict[str, Any]]):
    """Samples with labels, and noise that is drawn from every global generator."""

    def __init__(self, x: np.ndarray, noise: float = 0.0) -> None:
        self.x, self.noise = x, noise

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> dict[str, Any]:
        drawn = torch.rand(1).item() + np.random.rand() if self.noise else 0.0  # noqa: NPY002
        return {"x": self.x[index].astype(np.float64) + self.noise * drawn, "label": index}


def first_column(batch: dict[str, torch.Tensor]) -> torch.Tensor:
    return batch["x"]


@pytest.mark.slow
def test_every_kind_of_data_trains_the_same_model(x: np.ndarray) -> None:
    def trained(data: Any, **options: Any) -> dict[str, torch.Tensor]:
        return fit(net(), data, objectives.GRAE(0.2), steps=4, batch_size=8, **options, **CPU).model().state_dict()

    expected = trained(x)
    tensor = torch.from_numpy(x)
    kinds: list[tuple[Any, dict[str, Any]]] = [
        (tensor, {}),
        (x.astype(np.float64), {}),
        (x.tolist(), {}),
        (as_dataset(x), {}),
        (TensorDataset(tensor, torch.arange(80)), {}),
        (DataLoader(TensorDataset(tensor, torch.arange(80)), batch_size=5, shuffle=True), {}),
        (Pairs(x), {"take": first_column}),
        (DataLoader(Pairs(x), batch_size=5), {"take": first_column}),
        ({"x": x, "label": 3}, {"take": first_column}),
    ]
    for data, options in kinds:
        torch.testing.assert_close(trained(data, **options), expected, rtol=0, atol=0)
    pixels = (255 * x).astype(np.uint8)
    torch.testing.assert_close(trained(pixels), trained(pixels / np.float32(255)), rtol=0, atol=0)


@pytest.mark.slow
def test_augmentations_are_functions_of_the_batch(x: np.ndarray) -> None:
    run, again = (
        fit(net(), DataLoader(Pairs(x, 0.1), 8), objectives.GRAE(0.2), epochs=2, take=first_column, **CPU)
        for _ in range(2)
    )
    assert run.metrics[-1]["total"] == again.metrics[-1]["total"]
    data = run.dataset().train
    assert not torch.equal(data[torch.tensor([0, 1])][:1], data[torch.tensor([0, 2])][:1])


@pytest.mark.slow
def test_workers_give_the_same_batches(x: np.ndarray) -> None:
    loaders = [DataLoader(Pairs(x, 0.1), 8, num_workers=count) for count in (0, 2)]
    runs = [fit(net(), loader, objectives.GRAE(0.2), epochs=2, take=first_column, **CPU) for loader in loaders]
    assert runs[0].metrics[-1]["total"] == runs[1].metrics[-1]["total"]


def test_a_learned_observation_model_is_trained_and_kept(x: np.ndarray, tmp_path: Path) -> None:
    likelihood = likelihoods.LearnedGaussian()
    run = fit(net(), x, objectives.GRAE(0.2, likelihood), steps=5, out=tmp_path / "run", **CPU)
    assert run.config.likelihood == "gaussian:learned"
    assert likelihood.sigma.item() != 1.0
    loaded = load_model(tmp_path / "run", model=lambda: net())
    assert loaded.likelihood.sigma.item() == likelihood.sigma.item()


def test_a_floor_under_the_noise_is_never_lost(x: np.ndarray, tmp_path: Path) -> None:
    """It is the constructor's and not among the weights, so that the name of the observation model would lose it."""
    likelihood = likelihoods.LearnedGaussian(0.5, floor=0.9)
    objective = objectives.GRAE(0.2, likelihood)
    run = fit(net(), x, objective, steps=2, out=tmp_path / "run", **CPU)
    with pytest.raises(InputError, match="let the function that makes the model set model.likelihood"):
        Run.open(tmp_path / "run", model=net(), objective=objective).encode(x)
    model = net()
    model.likelihood = likelihoods.LearnedGaussian(0.5, floor=0.9)
    again = Run.open(tmp_path / "run", model=model)
    np.testing.assert_array_equal(again.encode(x).std, run.encode(x).std)


def test_a_finished_run_that_is_resumed_gives_the_model_its_weights(x: np.ndarray, tmp_path: Path) -> None:
    settings = {"steps": 3, "out": tmp_path / "run", **CPU}
    first, second = net(seed=1), net(seed=2)
    fit(first, x, objectives.GRAE(0.2), **settings)
    fit(second, x, objectives.GRAE(0.2), resume=True, **settings)
    torch.testing.assert_close(second.state_dict(), first.state_dict(), rtol=0, atol=0)
    assert not second.training
    other = Autoencoder(nn.Linear(6, 2), nn.Linear(2, 6), 2)
    with pytest.raises(InputError, match="does not fit the model that was named or handed over: "):
        fit(other, x, objectives.GRAE(0.2), resume=True, **settings)


def test_a_run_that_was_lengthened_since_says_so(x: np.ndarray, tmp_path: Path) -> None:
    """The folder is whole: nothing is to be restored."""
    run = fit(net(), x, objectives.GRAE(0.2), steps=2, out=tmp_path / "run", **CPU)
    later = fit(net(), x, objectives.GRAE(0.2), steps=3, out=tmp_path / "run", resume=True, **CPU)
    with pytest.raises(InputError, match=r"trained on after it was opened here \(it differs in steps\); open it again"):
        run.encode(x)
    assert len(later.encode(x).mean) == len(x)


def test_data_that_are_missing_are_asked_for_by_name(x: np.ndarray, tmp_path: Path) -> None:
    fit(net(), x, objectives.GRAE(0.2), steps=2, out=tmp_path / "run", **CPU)
    with pytest.raises(InputError, match=r"hand them over again, in Python: Run\.open\(…, data=…\)"):
        Run.open(tmp_path / "run", model=net()).evaluate()


class Halved(posteriors.Diagonal):
    """A structure of one's own: half the variance of the best diagonal one."""

    def optimal(self, curvature: torch.Tensor, beta: float) -> DiagonalFactor:
        return DiagonalFactor(super().optimal(curvature, beta).scale * 0.5**0.5)


def test_a_structure_of_ones_own_is_never_taken_for_another(x: np.ndarray, tmp_path: Path) -> None:
    objective = objectives.GRAE(0.2, structure=Halved())
    run = fit(net(), x, objective, steps=2, out=tmp_path / "run", **CPU)
    assert run.config.structure == "python"
    variance = run.encode(x).std ** 2
    diagonal = run.encode(x, structure=posteriors.Diagonal()).std ** 2
    np.testing.assert_allclose(variance, diagonal / 2, rtol=1e-5)
    again = Run.open(tmp_path / "run", model=net(), objective=objective)
    np.testing.assert_array_equal(again.encode(x).std ** 2, variance)
    alone = Run.open(tmp_path / "run", model=net())
    for use in (alone.evaluate, lambda: alone.encode(x)):
        with pytest.raises(InputError, match="covariance structure was handed to curvae.fit with its objective"):
            use()
    # what needs no structure, or is given one, asks for nothing
    np.testing.assert_array_equal(alone.encode(x, structure=posteriors.Diagonal()).std ** 2, diagonal)
    np.testing.assert_array_equal(alone.reconstruct(x), run.reconstruct(x))


def test_a_posterior_of_ones_own_is_trained_and_named_again(x: np.ndarray, tmp_path: Path) -> None:
    settings = {"out": tmp_path / "run", **CPU}
    run = fit(net(Halved()), x, objectives.BetaVAE(0.2), steps=2, **settings)
    assert (run.config.objective, run.config.structure) == ("beta-vae", "python")
    run = fit(net(Halved()), x, objectives.BetaVAE(0.2), steps=4, resume=True, **settings)
    again = Run.open(tmp_path / "run", model=lambda: net(Halved()))
    np.testing.assert_array_equal(again.encode(x).std, run.encode(x).std)
    assert type(again.noise(again.model())[1]) is Halved
    assert run.evaluate().own_posterior
    halved = Halved()
    default = Run.open(tmp_path / "run", model=lambda shape, structure=halved: net(structure))
    np.testing.assert_array_equal(default.encode(x).std, run.encode(x).std)
    for other, message in (
        (posteriors.Diagonal(), "structure is python but the model of .* has diagonal"),
        (None, "needs a posterior, but the model of .* has none"),
    ):
        with pytest.raises(InputError, match=message):
            Run.open(tmp_path / "run", model=net(other)).encode(x)
    with pytest.raises(InputError, match=r"another posterior: Other\(\) \(was Halved\(\)\); hand over the one"):
        fit(net(type("Other", (Halved,), {})()), x, objectives.BetaVAE(0.2), steps=5, resume=True, **settings)
    fit(net(posteriors.Diagonal()), x, objectives.BetaVAE(0.2), steps=2, out=tmp_path / "named", **CPU)
    with pytest.raises(InputError, match="structure is diagonal but the model of .* has a Halved"):
        Run.open(tmp_path / "named", model=lambda: net(Halved())).encode(x)


class Absolute:
    """An objective of one's own."""

    def __init__(self, weight: float) -> None:
        self.weight = weight

    def __call__(self, model: Autoencoder, x: torch.Tensor, generator: torch.Generator | None = None) -> Terms:
        return Terms({"nll": self.weight * (model.reconstruct(x) - x).abs().sum(1)})


class Counting(Absolute):
    """One that counts its calls."""

    def __init__(self, weight: float) -> None:
        super().__init__(weight)
        self.calls, self.itself = 0, self

    def __call__(self, model: Autoencoder, x: torch.Tensor, generator: torch.Generator | None = None) -> Terms:
        self.calls += 1
        return super().__call__(model, x, generator)


def test_what_an_objective_counts_is_no_setting_of_it(x: np.ndarray, tmp_path: Path) -> None:
    first, settings = Counting(np.float64(0.5)), {"out": tmp_path / "run", **CPU}
    fit(net(), x, first, steps=2, **settings)
    for steps, objective in ((3, Counting(0.5)), (4, first)):
        assert fit(net(), x, objective, steps=steps, resume=True, **settings).finished
    with pytest.raises(InputError, match=r"another objective: Counting\(weight=0.25\) \(was Counting\(weight=0.5\)\)"):
        fit(net(), x, Counting(0.25), steps=5, resume=True, **settings)


def test_a_posterior_whose_parts_hold_each_other_is_recorded(x: np.ndarray) -> None:
    class Held(Halved):
        def __init__(self, owner: Any = None) -> None:
            super().__init__()
            self.owner = self if owner is None else owner

    run = fit(net(Held()), x, objectives.BetaVAE(0.2), steps=2, **CPU)
    assert "Held" in run.environment["posterior"]
    partial = fit(net(), x, functools.partial(Absolute(1.0)), steps=2, **CPU)
    assert partial.environment["objective"].startswith("partial")


def _columns(count: int) -> Any:
    return objectives.GRAE(0.2, structure=Halved(), estimator=Columns(count))


@pytest.mark.parametrize(
    ("first", "other"),
    [
        (lambda: Absolute(1.0), lambda: Absolute(2.0)),
        (lambda: Absolute(1.0), lambda: Absolute(1.0).__call__),
        (lambda: _columns(1), lambda: _columns(2)),
        (lambda: _columns(1), lambda: objectives.GRAE(0.2, structure=type("Other", (Halved,), {})())),
        (lambda: objectives.GRAE(0.2, expansion=0.1), lambda: objectives.GRAE(0.2, expansion=0.2)),
        (
            lambda: objectives.BetaVAE(0.2, likelihoods.Masked(likelihoods.Gaussian())),
            lambda: objectives.BetaVAE(0.2, likelihoods.Masked(likelihoods.Laplace())),
        ),
    ],
)
def test_a_run_of_python_goes_on_with_its_own_objective_alone(
    first: Callable[[], Any], other: Callable[[], Any], x: np.ndarray, tmp_path: Path
) -> None:
    structure = posteriors.Diagonal() if isinstance(first(), objectives.BetaVAE) else None
    settings = {"out": tmp_path / "run", **CPU}
    fit(net(structure), x, first(), steps=2, **settings)
    kept = (tmp_path / "run" / "config.json").read_bytes()
    for steps in (2, 3):
        with pytest.raises(
            InputError, match="cannot be resumed with another objective: .* hand over the one"
        ) as caught:
            fit(net(structure), x, other(), steps=steps, resume=True, **settings)
        assert "\n" not in str(caught.value)
    assert (tmp_path / "run" / "config.json").read_bytes() == kept
    assert fit(net(structure), x, first(), steps=3, resume=True, **settings).finished


def test_an_objective_of_ones_own(x: np.ndarray, tmp_path: Path) -> None:
    def absolute(model: Autoencoder, x: torch.Tensor, generator: torch.Generator | None = None) -> Terms:
        return Terms({"nll": (model.reconstruct(x) - x).abs().sum(1)})

    run = fit(net(), x, absolute, steps=20, out=tmp_path / "run", **CPU)
    assert run.config.objective == "python"
    assert run.metrics[-1]["total"] < 0.9 * run.metrics[0]["held_out"]["total"]
    with pytest.raises(InputError, match="has no observation model that is known here"):
        run.evaluate()
    absolute.likelihood = likelihoods.Laplace()
    assert run.evaluate().data == 8
    run.report(tmp_path / "page.html")


def test_a_path_takes_a_share_to_hold_out(x: np.ndarray, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", x)
    run, other = (
        fit(net(), tmp_path / "x.npy", objectives.GRAE(0.2), steps=1, validation=share, **CPU) for share in (None, 0.5)
    )
    assert (run.data["test"], other.data["test"]) == (8, 40)
    assert run.config.data == str(tmp_path / "x.npy")


class Stream(IterableDataset[torch.Tensor]):
    def __iter__(self) -> Any:
        yield torch.zeros(6)


def masked_net() -> Autoencoder:
    model = net()
    model.decoder.register_buffer("mask", torch.tensor([0.0, -torch.inf]))
    return model


def bad_models() -> dict[str, tuple[Callable[[], Any], str]]:
    return {
        "a network": (lambda: nn.Linear(6, 2), "the model is a Linear; expected curvae.Autoencoder"),
        "none": (lambda: None, "the model is a NoneType"),
        "half": (lambda: net().half(), "the model's weights are torch.float16"),
        "frozen": (lambda: net().requires_grad_(False), "without weights to train"),
        "posterior": (lambda: net(posteriors.Diagonal()), "trains the mean alone"),
        "mask": (masked_net, "decoder.mask of the model has values that are not finite before any training"),
        "outputs": (lambda: Autoencoder(nn.Linear(6, 2), nn.Linear(2, 5), 2), r"decodes to \(5,\)"),
    }


@pytest.mark.parametrize("name", bad_models())
@pytest.mark.usefixtures("as_shipped")
def test_models_that_cannot_be_trained(name: str, x: np.ndarray, tmp_path: Path) -> None:
    make, message = bad_models()[name]
    with pytest.raises(InputError, match=message) as caught:
        fit(make(), x, objectives.GRAE(0.2), steps=2, out=tmp_path / "run", **CPU)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "objective",
    [objectives.GRAE(0.2, expansion=0.1), objectives.RAE(0.2, likelihood=likelihoods.Masked(likelihoods.Gaussian()))],
    ids=repr,
)
def test_a_posterior_that_nothing_trains_is_refused_with_every_part(objective: Any, x: np.ndarray) -> None:
    """Also where a configuration has no word for the objective: ``encode`` would answer with it."""
    with pytest.raises(InputError, match="trains the mean alone"):
        fit(net(posteriors.Diagonal()), x, objective, steps=2, **CPU)


def test_layers_that_take_their_shape_from_the_data(x: np.ndarray) -> None:
    model = Autoencoder(nn.LazyLinear(2), nn.Linear(2, 6), 2, features=2)
    assert fit(model, x, objectives.GRAE(0.2), steps=2, **CPU).encode(x).mean.shape == (80, 2)


@pytest.mark.parametrize(("inputs", "latents"), [(5, 2), (6, 3)])
def test_networks_of_another_shape(
    inputs: int, latents: int, x: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # layers of PyTorch's alone: none of a person's own code is under way (these tests' shape checks would pass for it)
    monkeypatch.setattr("curvae.runs.builder._place", lambda error, source: None)
    model = Autoencoder(nn.Linear(inputs, 2), nn.Linear(latents, 6), 2)
    for likelihood in (likelihoods.Gaussian(), likelihoods.Masked(likelihoods.Gaussian())):
        message = r"cannot encode and decode samples of shape \(6,\) \(RuntimeError: mat1 and mat2"
        with pytest.raises(InputError, match=message):
            fit(model, x, objectives.GRAE(0.2, likelihood), steps=2, out=tmp_path / "run", **CPU)
    assert not (tmp_path / "run").exists()


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "neither steps nor epochs": ({"steps": None}, "steps is None and epochs is None; expected one of the two"),
    "both": ({"epochs": 2}, "steps is 2 and epochs is 2"),
    "no steps": ({"steps": 0}, "steps is 0; expected a whole number"),
    "no epochs": ({"steps": None, "epochs": 0}, "epochs is 0; expected a whole number"),
    "half a step": ({"steps": 2.5}, "steps is 2.5"),
    "batch": ({"batch_size": 0}, "batch_size is 0"),
    "large batch": ({"batch_size": 60, "accumulate": 2}, "batch_size is 60 and accumulate 2 but data has only 72"),
    "accumulate": ({"accumulate": 0}, "accumulate is 0"),
    "learning rate": ({"lr": float("nan")}, "lr is nan"),
    "schedule": ({"schedule": "linear"}, "schedule is 'linear'; expected one of constant, cosine"),
    "warm-up": ({"warmup": 2}, "warmup is 2 but steps is 2"),
    "beta warm-up": ({"beta_warmup": 5}, "beta_warmup is 5 but steps is 2"),
    "clip": ({"clip": 0.0}, "clip is 0.0; expected a finite number > 0"),
    "ema": ({"ema": 1.0}, r"ema is 1.0; expected a number in \[0, 1\)"),
    "early stop": ({"early_stop": -1}, "early_stop is -1"),
    "precision": ({"precision": "16"}, "precision is '16'"),
    "device": ({"device": "tpu"}, "device is 'tpu'"),
    "device of PyTorch": ({"device": torch.device("meta")}, "device is 'meta'; expected one of auto, cpu, cuda"),
    "seed": ({"seed": -1}, "^seed is -1"),
    "no seed": ({"seed": None}, "^seed is None; expected a whole number"),
    "precision as a number": ({"precision": 64}, "precision is 64; expected one of 32, bf16, 64"),
    "callbacks": ({"callbacks": ["best"]}, "callbacks has 'best'; expected callbacks of lightning"),
    "gaps": (
        {
            "data": np.where(np.arange(480).reshape(80, 6) == 300, np.nan, 0.5),
            "objective": objectives.GRAE(0.2, likelihoods.Masked(likelihoods.Gaussian())),
        },
        r"encoder makes NaN of them; build it as curvae.nn.Observed",
    ),
    "logger": ({"logger": "wandb"}, "logger is 'wandb'; expected one of tensorboard, csv"),
    "loggers": ({"logger": [3]}, "logger is 3; expected tensorboard, csv, or loggers"),
    "validation": ({"validation": 1.5}, "validation is 1.5; expected a share between 0 and 1"),
    "empty validation": ({"validation": np.zeros((0, 6))}, "validation has shape"),
    "other validation": ({"validation": np.zeros((5, 7))}, "expected the same"),
    "resume": ({"resume": True}, "resume is True without out"),
    "objective": ({"objective": 3}, "the objective is 3; expected one of curvae.objectives"),
    "no terms": ({"objective": lambda model, x, generator: x.sum()}, "the objective returned a Tensor; expected"),
    "no generator": (
        {"objective": lambda model, x: None},
        r"the objective takes \(model, x\); expected objective\(model, x, generator\), as it is called",
    ),
    "NaN": ({"data": np.full((9, 6), np.nan)}, "data: sample 0 holds NaN"),
    "objects": ({"data": np.array([["a"] * 6] * 9, dtype=object)}, "data holds object values"),
    "masks": ({"data": np.eye(6, dtype=np.uint8)}, "data holds bytes of 0 and 1 alone"),
    "one sample": ({"data": np.zeros((1, 6))}, r"data holds 1 sample\(s\)"),
    "text": ({"data": "nowhere.npy"}, "'nowhere.npy' does not exist"),
    "stream": ({"data": Stream()}, r"data is a stream \(Stream\)"),
    "generator": ({"data": (row for row in np.zeros((9, 6)))}, r"data is a stream \(generator\)"),
    "stream in a loader": ({"data": DataLoader(Stream(), 2)}, "data is a "),
    "sampler": (
        {"data": DataLoader(TensorDataset(torch.zeros(9, 6)), 2, sampler=WeightedRandomSampler([1.0] * 9, 9))},
        r"an order of its own \(WeightedRandomSampler\)",
    ),
    "mapping": (
        {"data": Pairs(np.zeros((9, 6)))},
        "a batch is a dict with 'x', 'label'; say which is x with take='x'",
    ),
    "take": (
        {"data": Pairs(np.zeros((9, 6))), "take": lambda batch: batch["y"]},
        "take failed on a batch, a dict with 'x', 'label': KeyError: 'y'",
    ),
    "no parts": ({"data": np.zeros((9, 6)), "take": 0}, "take is 0 but a batch is a ndarray, which has no parts"),
    "two halves": ({"data": as_dataset(np.zeros((9, 6))), "validation": 0.5}, "has a held-out half of its own"),
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.usefixtures("as_shipped")
def test_bad_arguments_are_one_line_and_nothing_is_written(name: str, x: np.ndarray, tmp_path: Path) -> None:
    changed, message = BAD[name]
    out = {} if changed.get("resume") else {"out": tmp_path / "run"}
    given = {"data": x, "objective": objectives.GRAE(0.2), "steps": 2, **out, **CPU, **changed}
    with pytest.raises(InputError, match=message) as caught:
        fit(net(), **given)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_errors_name_arguments_and_not_options(x: np.ndarray, tmp_path: Path) -> None:
    settings = {"steps": 2, "out": tmp_path / "run", **CPU}
    fit(net(), x, objectives.GRAE(0.2), **settings)
    with pytest.raises(InputError, match="use resume to continue it, or another out$"):
        fit(net(), x, objectives.GRAE(0.2), **settings)
    with pytest.raises(TrainingError, match="; lower lr or raise beta; no checkpoint"):
        fit(net(), x, objectives.GRAE(0.2), steps=9, lr=1e30, **CPU)


@pytest.mark.parametrize("progress", [False, True])
def test_notes_name_arguments_and_not_options(
    x: np.ndarray, progress: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of data with less variance than β σ²."""
    with nullcontext() if progress else pytest.warns(RuntimeWarning) as caught:
        fit(net(), 1e-3 * x, objectives.GRAE(0.2), steps=1, device="cpu", progress=progress)
    told = " ".join(capsys.readouterr().err.split()) if progress else str([each.message for each in caught])
    assert "or take a smaller gaussian:SIGMA or beta" in told
    assert "--" not in told


def test_a_folder_is_a_path(x: np.ndarray) -> None:
    with pytest.raises(InputError, match="out is 3; expected the path of a folder"):
        fit(net(), x, objectives.GRAE(0.2), steps=2, out=3, **CPU)  # type: ignore[arg-type]


def test_numbers_of_numpy_are_numbers(x: np.ndarray) -> None:
    given = {"steps": np.int64(2), "batch_size": np.int32(8), "seed": np.int64(3), "lr": np.float32(0.5)}
    config = fit(net(), x, objectives.GRAE(0.2), **given, **CPU).config  # type: ignore[arg-type]
    assert [type(value) for value in (config.steps, config.batch_size, config.seed, config.lr)] == [
        int,
        int,
        int,
        float,
    ]
    assert (config.steps, config.batch_size, config.seed, config.lr) == (2, 8, 3, 0.5)


def test_an_objective_without_beta_cannot_warm_up(x: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"beta_warmup is 1 but the objective, RAE.*, has no with_beta"):
        fit(net(), x, objectives.RAE(0.2), steps=2, beta_warmup=1, out=tmp_path / "run", **CPU)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("own", "rising"), [(0.0, {0.0}), (0.4, {0.1, 0.2, 0.3, 0.4})])
def test_beta_rises_to_the_objectives_own(own: float, rising: set[float], x: np.ndarray) -> None:
    """Also where a configuration cannot say it."""

    class Noted(objectives.BetaVAE):
        def __call__(self, *given: Any) -> Any:
            betas.append(self.beta)
            return super().__call__(*given)

    betas: list[float] = []
    fit(net(posteriors.Diagonal()), x, Noted(own), steps=6, beta_warmup=4, **CPU)
    assert {round(beta, 9) for beta in betas} == rising


@pytest.mark.parametrize(
    ("objective", "warmup", "logged"),
    [(objectives.BetaVAE(3.0), 3, [1.0, 2.0, 3.0, 3.0]), (objectives.BetaVAE(3.0), 0, [3.0] * 4)],
)
def test_loggers_are_told_the_objectives_beta(
    objective: objectives.BetaVAE, warmup: int, logged: list[float], x: np.ndarray
) -> None:
    settings = {"steps": 4, "log_every": 1, "beta_warmup": warmup, "logger": "csv"}
    run = fit(net(posteriors.Diagonal()), x, objective, **settings, **CPU)
    told = np.genfromtxt(run.path / "logs" / "csv" / "metrics.csv", delimiter=",", names=True)
    np.testing.assert_allclose(told["beta"], logged)


def test_loggers_are_told_no_beta_where_there_is_none(x: np.ndarray) -> None:
    run = fit(net(), x, objectives.RAE(0.2), steps=2, logger="csv", **CPU)
    assert "beta" not in (run.path / "logs" / "csv" / "metrics.csv").read_text().split("\n")[0]


def test_an_objective_that_hides_its_beta_cannot_warm_up(x: np.ndarray, tmp_path: Path) -> None:
    class Hidden:
        def __init__(self, weight: float) -> None:
            self.weight = weight

        def __call__(self, model: Any, x: torch.Tensor, generator: torch.Generator | None = None) -> Any:
            return objectives.GRAE(self.weight)(model, x, generator)

        def with_beta(self, beta: float) -> Any:
            return Hidden(beta)

    with pytest.raises(InputError, match="beta_warmup is 1 but the objective's beta is None; give it the number"):
        fit(net(), x, Hidden(5.0), steps=2, beta_warmup=1, out=tmp_path / "run", **CPU)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("own", "said"),
    [
        ({"beta": 0.0}, ", beta 0, and the data"),
        ({"beta": None}, "is python, and the data"),
        (
            {"likelihood": type("Own", (likelihoods.Laplace,), {})(2.0)},
            r"likelihood is Laplace\(scale=2\), and the data",
        ),
    ],
)
def test_what_cannot_be_computed_is_told_with_the_objectives_own_parts(
    own: dict[str, Any], said: str, x: np.ndarray
) -> None:
    class Broken:
        def __call__(self, model: Any, x: torch.Tensor, generator: torch.Generator | None = None) -> Any:
            return objectives.GRAE(0.2)(model, x * torch.inf, generator)

    broken = Broken()
    vars(broken).update(own)
    with pytest.raises(InputError, match=f"before the first step: .*{said}"):
        fit(net(), x, broken, steps=2, **CPU)


def test_a_hostile_folder_runs_nothing(x: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever its files name, code is only run when the caller names it."""
    run = fit(net(), x, objectives.GRAE(0.2), steps=2, out=tmp_path / "run", **CPU)
    (run.path / "trap.py").write_text("from pathlib import Path\nPath('sprung').touch()\ndef build(): ...\n")
    for name in ("config.json", "model.json"):
        text = (run.path / name).read_text().replace('"model": "python"', f'"model": "{run.path}/trap.py:build"')
        (run.path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    for attempt in (lambda: curvae.load(run.path), lambda: Run.open(run.path).model()):
        with pytest.raises(InputError, match="no code is run because a file names it"):
            attempt()
    curvae.load(run.path, model=lambda: net())
    assert not (tmp_path / "sprung").exists()


def test_tied_weights_are_kept(x: np.ndarray, tmp_path: Path) -> None:
    class Tied(nn.Module):
        def __init__(self, other: nn.Linear) -> None:
            super().__init__()
            self.weight = other.weight

        def forward(self, z: torch.Tensor) -> torch.Tensor:
            return z @ self.weight

    def build() -> Autoencoder:
        encoder = nn.Linear(6, 2)
        return Autoencoder(encoder, Tied(encoder), latents=2)

    run = fit(build(), x, objectives.GRAE(0.2), steps=3, ema=0.5, out=tmp_path / "run", **CPU)
    loaded = curvae.load(run.path, model=build)
    assert loaded.decoder.weight is loaded.encoder.weight
    torch.testing.assert_close(loaded.state_dict(), run.model().state_dict(), rtol=0, atol=0)


def test_double_precision_follows_the_model(x: np.ndarray) -> None:
    run = fit(net().double(), x, objectives.GRAE(0.2), steps=2, **CPU)
    assert run.config.precision == "64"
    assert all(parameter.dtype == torch.float64 for parameter in run.model().parameters())


def test_a_function_with_settings_alone_is_not_given_the_shape(x: np.ndarray, tmp_path: Path) -> None:
    run = fit(net(), x, objectives.GRAE(0.2), steps=2, out=tmp_path / "run", **CPU)
    for build in (net, lambda latents: net(), lambda size: net(dropout=0.0 * size[0])):  # the last has to be told
        again = curvae.load(tmp_path / "run", model=build)
        torch.testing.assert_close(again.encode(torch.from_numpy(x)), run.model().encode(torch.from_numpy(x)))


def test_a_model_without_a_latent_in_use_says_so(x: np.ndarray) -> None:
    model, labels = net(posteriors.Diagonal()), np.eye(3, dtype="float32")[np.arange(len(x)) % 3]
    with pytest.warns(RuntimeWarning, match="note: no latent is in use: .* take a smaller beta, or scale the data up"):
        fit(model, x, objectives.BetaVAE(1e4), steps=150, lr=0.02, **CPU)
    beside = (curvae.nn.Beside(nn.Linear(6 + 3, 8)), curvae.nn.Beside(nn.Linear(2 + 3, 6)))
    conditional = Autoencoder(*beside, 2, posteriors.Diagonal(), features=8, condition="both")
    with pytest.warns(RuntimeWarning, match="no latent is in use"):
        fit(conditional, x, objectives.BetaVAE(1e4), steps=150, lr=0.02, condition=labels, **CPU)
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        fit(model, x, objectives.BetaVAE(1e4), steps=20, **CPU)  # too early to tell
        fit(net(posteriors.Diagonal()), x, objectives.BetaVAE(1e-3), steps=150, lr=0.02, **CPU)
        fit(net(), x, objectives.RAE(1e4), steps=150, lr=0.02, **CPU)  # no scale to tell by
        alike = np.repeat(x[:1], 3, 0)  # nor samples
        fit(net(posteriors.Diagonal()), x, objectives.BetaVAE(1e-3), validation=alike, steps=150, lr=0.02, **CPU)
    assert not [each for each in heard if "latent is in use" in str(each.message)]


@pytest.mark.parametrize("kind", ["counts", "bytes", "learned"])
def test_what_has_no_scale_to_choose_is_not_to_be_scaled_up(kind: str) -> None:
    counts = np.random.default_rng(0).poisson(2, size=(100, 6)).astype("uint8" if kind == "bytes" else "float32")
    likelihood = {"counts": likelihoods.Poisson(), "learned": likelihoods.LearnedGaussian()}.get(kind)
    objective = objectives.BetaVAE(1e4, likelihood=likelihood or likelihoods.Gaussian())
    with pytest.warns(RuntimeWarning, match=r"no latent is in use: .* or take a smaller beta$"):
        fit(net(posteriors.Diagonal()), counts, objective, steps=150, lr=0.02, **CPU)


class Filled(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.nan_to_num(0)


def test_a_table_with_gaps_may_be_named_by_its_path(x: np.ndarray, tmp_path: Path) -> None:
    frame = pytest.importorskip("pandas").DataFrame(x, columns=list("abcdef"))
    frame.iloc[3, 1] = np.nan
    frame.to_csv(tmp_path / "x.csv", index=False)
    objective = objectives.GRAE(0.2, likelihoods.Masked(likelihoods.Gaussian()))
    for number, validation in enumerate((None, 0.2, frame[:9])):
        model = net()
        model.encoder = nn.Sequential(Filled(), model.encoder)
        options: dict[str, Any] = {"validation": validation, "steps": 2, "batch_size": 16, **CPU}
        run = fit(model, str(tmp_path / "x.csv"), objective, out=tmp_path / str(number), **options)
        seen = run.dataset()
        assert [len(seen.train), len(seen.test)] == [[72, 8], [64, 16], [80, 9]][number]
        assert run.evaluate(device="cpu").data == len(seen.test)


def test_a_frame_keeps_the_names_of_its_columns(x: np.ndarray, tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(x, columns=list("abcdef"))
    turned, options = frame[list("fbcdea")], {"steps": 2, "batch_size": 16, **CPU}
    run = fit(net(), frame, objectives.GRAE(0.2), out=tmp_path / "named", **options)
    assert run.data["columns"] == list("abcdef")
    np.testing.assert_array_equal(run.encode(frame).mean, run.encode(x).mean)
    says = "(x|a|validation) has the column 'f' where the model was trained on 'a'; put the columns in that order: a, b"
    for call in (run.encode, run.reconstruct, run.traverse, lambda one: run.interpolate(one, frame)):
        with pytest.raises(InputError, match=says):
            call(turned)
    with pytest.raises(InputError, match="x has no column 'a'"):
        run.encode(frame.rename(columns={"a": "z"}))
    with pytest.raises(InputError, match="x has a column 'z', which the model was not trained on"):
        run.encode(frame.assign(z=1.0))
    with pytest.raises(InputError, match="x has 2 columns called 'a' where the model was trained on 1"):
        run.encode(pandas.concat([frame, frame[["a"]]], axis=1))
    twice = fit(net(), frame.set_axis(list("abcdff"), axis=1), objectives.GRAE(0.2), out=tmp_path / "twice", **options)
    with pytest.raises(InputError, match="x has 1 column called 'f' where the model was trained on 2"):
        twice.encode(frame.iloc[:, :5].set_axis(list("abcdf"), axis=1))
    with pytest.raises(InputError, match=says):
        fit(net(), frame, objectives.GRAE(0.2), validation=turned, **options)
    with pytest.raises(InputError, match=says):
        fit(net(), run.dataset(), objectives.GRAE(0.2), validation=turned, **options)
    # numbers are no names
    unnamed = fit(net(), pandas.DataFrame(x), objectives.GRAE(0.2), out=tmp_path / "unnamed", **options)
    np.testing.assert_array_equal(unnamed.encode(turned).mean, unnamed.encode(turned.to_numpy()).mean)


@pytest.mark.parametrize("kind", ["frame", "list"])
def test_bytes_are_bytes_whatever_holds_them(kind: str, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (80, 6), np.uint8)
    masks = pixels % 2
    held: Callable[[np.ndarray], Any] = list if kind == "list" else pytest.importorskip("pandas").DataFrame
    options: dict[str, Any] = {"steps": 2, "batch_size": 16, **CPU}
    run = fit(net(), held(pixels), objectives.GRAE(0.2), out=tmp_path / "pixels", **options)
    assert run.data["white"] == 255
    for same in (pixels, held(pixels), pixels / 255):
        np.testing.assert_allclose(run.encode(same).mean, run.encode(pixels / 255).mean, rtol=1e-5, atol=1e-6)
    with pytest.raises(InputError, match="data holds bytes of 0 and 1 alone"):
        fit(net(), held(masks), objectives.GRAE(0.2, likelihoods.BernoulliLogits()), **options)
    unseen = fit(net(), pixels / 255, objectives.GRAE(0.2), out=tmp_path / "numbers", **options)
    with pytest.raises(InputError, match="x holds bytes of 0 and 1 alone"):
        unseen.encode(held(masks))
    # one line says why counts are refused
    counts = fit(net(), pixels.astype(int), objectives.GRAE(0.2, likelihoods.Poisson()), out=tmp_path / "n", **options)
    with pytest.raises(InputError, match="x holds bytes, which are pixels and divided by 255"):
        counts.encode(held(pixels))
