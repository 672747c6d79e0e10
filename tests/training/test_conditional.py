"""Training and using conditional models: as the bare loop, from their folders, and in the order of the data."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from curvae import Autoencoder, fit, likelihoods, objectives, posteriors
from curvae.curvature import Columns
from curvae.data import Batches, as_dataset
from curvae.errors import InputError
from curvae.nn import Beside, Observed
from curvae.runs import Run, RunConfig
from curvae.runs.conditions import conditions_of
from curvae.training import train
from curvae.training.noise import step_generator

CPU: dict[str, Any] = {"device": "cpu", "progress": False}
X = np.random.default_rng(0).random((60, 6), dtype=np.float32)
Y = np.arange(60) % 3
C = np.eye(3, dtype=np.float32)[Y]


def net(structure: posteriors.Structure | None = None, condition: str | None = "both") -> Autoencoder:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        more = 3 if condition else 0
        encoder = nn.Sequential(nn.Linear(6 + more, 8), nn.BatchNorm1d(8), nn.ELU())
        decoder = nn.Sequential(nn.Linear(2 + more, 8), nn.BatchNorm1d(8), nn.ELU(), nn.Linear(8, 6))
        networks = (Beside(encoder), Beside(decoder)) if condition else (encoder, decoder)
        return Autoencoder(*networks, latents=2, structure=structure, features=8, condition=condition)


class ByNumber(nn.Module):
    """A decoder whose condition is one number without an axis of its own."""

    def forward(self, z: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        return c[:, None] * z.repeat(1, 3)


@pytest.mark.parametrize("kind", ["grae", "beta-vae"])
def test_is_the_bare_loop(kind: str) -> None:
    objective: Any = objectives.GRAE(0.2, structure=posteriors.Diagonal(), estimator=Columns(1))
    model = net(None if kind == "grae" else posteriors.Diagonal())
    objective = objective if kind == "grae" else objectives.BetaVAE(0.2)
    data, by_hand = as_dataset(X, condition=C), copy.deepcopy(model)
    adam = torch.optim.Adam(by_hand.parameters(), lr=1e-3, fused=True)
    for step, batch in enumerate(Batches(data.half(), 16, seed=0, steps=5)):
        generator = step_generator(0, step, torch.device("cpu"))
        adam.zero_grad()
        for x, c in zip(batch.x.chunk(2), batch.c.chunk(2), strict=True):
            (objective(by_hand.given(c), x, generator).mean() / 2).backward()
        adam.step()
    run = fit(model, X, objective, condition=C, steps=5, batch_size=8, accumulate=2, **CPU)
    for one, other in zip(run.model().parameters(), by_hand.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)
    held_out = data.half(test=True)[:]
    with torch.no_grad():
        own = run.model()
        value = objective(own.given(held_out.c), held_out.x, step_generator(0, 2**63, torch.device("cpu"))).mean()
    assert run.metrics[-1]["held_out"]["total"] == pytest.approx(value.item(), rel=1e-4)
    grae = objectives.GRAE(0.2, structure=posteriors.Diagonal())(own.given(held_out.c), held_out.x).total.mean()
    assert run.evaluate().grae.mean == pytest.approx(grae.item(), rel=1e-4)


def test_a_loader_of_one_s_own_is_the_same_run() -> None:
    loader = DataLoader(list(zip(X, C, strict=True)), 16, collate_fn=_stacked)  # type: ignore[arg-type]
    parts: dict[str, Any] = {"condition": lambda batch: batch["c"], "take": lambda batch: batch["x"]}
    run = fit(net(), loader, objectives.GRAE(0.2), steps=3, **parts, **CPU)
    expected = fit(
        net(),
        TensorDataset(torch.tensor(X), torch.tensor(C)),
        objectives.GRAE(0.2),
        condition=1,
        steps=3,
        batch_size=16,
        **CPU,
    )
    torch.testing.assert_close(run.model().state_dict(), expected.model().state_dict(), rtol=0, atol=0)


def _stacked(rows: list[Any]) -> dict[str, torch.Tensor]:
    return {"x": torch.tensor(np.stack([x for x, _ in rows])), "c": torch.tensor(np.stack([c for _, c in rows]))}


class Embedded(nn.Module):
    """A decoder that takes whole numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.last = nn.Embedding(3, 4), nn.Linear(6, 6)

    def forward(self, z: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
        return self.last(torch.cat([z, self.table(c)], 1))


def test_whole_numbers_reach_the_network_as_they_are(tmp_path: Path) -> None:
    def build() -> Autoencoder:
        return Autoencoder(nn.Linear(6, 2), Embedded(), latents=2, condition="decoder")

    run = fit(build(), X, objectives.GRAE(0.2), condition=Y, steps=4, batch_size=16, out=tmp_path / "run", **CPU)
    model = run.model()
    expected = model.decode(model.encode(torch.tensor(X)), torch.tensor(Y)).detach().numpy()
    np.testing.assert_allclose(run.reconstruct(X, condition=Y), expected, rtol=1e-5, atol=1e-6)
    again = Run.open(tmp_path / "run", model=build, data=as_dataset(X, condition=Y))
    np.testing.assert_array_equal(again.reconstruct(X, condition=Y), run.reconstruct(X, condition=Y))
    assert again.evaluate().data == 6
    np.testing.assert_array_equal(run.sample(6, condition=1), run.sample(6, condition=[1]))
    handed = Run.open(tmp_path / "run", model=build, data=X, condition=Y)
    assert handed.dataset().digest == again.dataset().digest
    path = run.interpolate(X[:2], X[3:5], 5, condition=Y[:2])
    np.testing.assert_allclose(path[:, 0], expected[:2], rtol=1e-4, atol=1e-5)
    with pytest.raises(InputError, match="the ends have different conditions, whole numbers with nothing between"):
        run.interpolate(X[:2], X[1:3], 5, condition=(Y[:2], Y[1:3]))
    with pytest.raises(InputError, match="the data at hand has changed since"):
        Run.open(tmp_path / "run", model=build, data=as_dataset(X, condition=Y[::-1].copy())).dataset()


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of a named network, whose data lie in a file."""
    folder = tmp_path_factory.mktemp("labelled")
    np.savez(folder / "toy.npz", x=X, labels=Y)
    config = RunConfig(
        data=f"{folder / 'toy.npz'}:x", condition="labels", network="mlp", width=0.02, latents=2, steps=6,
        batch_size=8, checkpoint_every=3, log_every=3, device="cpu",
    )  # fmt: skip
    return train(config, folder / "run").run


def test_a_run_tells_classes_by_their_names(labelled: Run) -> None:
    run, model = Run.open(labelled.path), labelled.model()
    assert (run.config.condition_size, run.coding.names) == (3, ("labels",))
    x, c = torch.tensor(X), torch.tensor(C)
    with torch.no_grad():
        z = model.encode(x, c)
        expected = model.decode(z, c).numpy()
        for labels in (Y, Y.astype(str), Y.astype(np.uint8), [int(y) for y in Y], {"labels": Y}, c):
            np.testing.assert_allclose(run.encode(X, condition=labels).mean, z, rtol=1e-5, atol=1e-6)
            np.testing.assert_allclose(run.reconstruct(X, condition=labels), expected, rtol=1e-5, atol=1e-6)
        ones = torch.eye(3)[[1]].expand(60, -1)
        np.testing.assert_allclose(
            run.reconstruct(X, condition=1), model.decode(model.encode(x, ones), ones), rtol=1e-5
        )
        draws = torch.randn(7, 2, generator=torch.Generator().manual_seed(4))
        cycled = model.decode(draws, torch.eye(3)[[0, 1, 2, 0, 1, 2, 0]])
        np.testing.assert_allclose(run.sample(7, seed=4), cycled, rtol=1e-5)
        np.testing.assert_allclose(
            run.sample(7, seed=4, condition="2")[0], model.decode(draws, torch.eye(3)[[2] * 7])[0]
        )
        moved = run.traverse(latents=[1], values=[-1.0, 2.0], condition=[2, 0])
        for row, label in enumerate([2, 0]):
            codes = torch.tensor([[0, -1.0], [0, 2.0]])
            at = model.decode(codes, torch.eye(3)[[label, label]])
            np.testing.assert_allclose(moved[row, 0], at, rtol=1e-5, atol=1e-6)
        from_data = run.traverse(X[:2], latents=[0], values=[0.5], condition=Y[:2])
        codes = torch.stack([torch.full((2,), 0.5), z[:2, 1]], 1)
        np.testing.assert_allclose(from_data[:, 0, 0], model.decode(codes, c[:2]), rtol=1e-5, atol=1e-6)
        way = run.interpolate(X[:2], X[2:4], 3, condition=(Y[:2], Y[2:4]))
        middle = model.decode((z[:2] + z[2:4]) / 2, (c[:2] + c[2:4]) / 2)
        np.testing.assert_allclose(way[:, 1], middle, rtol=1e-5, atol=1e-6)
        same = run.interpolate(X[:2], X[3:5], 4, condition=Y[:2], geodesic=True)
        np.testing.assert_allclose(same[:, -1], model.decode(z[3:5], c[3:5]), rtol=1e-5, atol=1e-6)
    own, implied = run.trained().precisions(X[:3], condition=Y[:3])
    np.testing.assert_allclose(np.diagonal(own, axis1=1, axis2=2), np.diagonal(implied, axis1=1, axis2=2), rtol=1e-6)


def test_a_resumed_run_is_the_same_and_other_labels_are_refused(labelled: Run, tmp_path: Path) -> None:
    np.savez(tmp_path / "toy.npz", x=X, labels=Y)
    stored = RunConfig.from_json(labelled.config.to_json() | {"data": f"{tmp_path / 'toy.npz'}:x", "steps": 3})
    first = train(stored, tmp_path / "run").run
    longer = RunConfig.from_json(first.config.to_json() | {"steps": 6})
    again = train(longer, tmp_path / "run", resume=True).run
    torch.testing.assert_close(again.model().state_dict(), labelled.model().state_dict(), rtol=0, atol=0)
    np.savez(tmp_path / "toy.npz", x=X, labels=(Y + 1) % 3)
    with pytest.raises(InputError, match="has changed since"):
        Run.open(tmp_path / "run").dataset()


@pytest.mark.parametrize("network", ["mlp", "linear", "paper", "paper-no-norm"])
def test_every_named_network_takes_a_condition(network: str) -> None:
    from curvae.runs.build import build_model

    shape = (1, 28, 28) if network.startswith("paper") else (5,)
    config = RunConfig(data="toy", network=network, width=0.02, latents=3, condition="labels", condition_size=4)
    model, x = build_model(config, shape).eval(), torch.rand(2, *shape)
    one, other = torch.eye(4)[[0, 1]], torch.eye(4)[[2, 1]]
    assert model.reconstruct(x, one).shape == x.shape
    changed = (model.encode(x, one) - model.encode(x, other)).abs().sum(1)
    assert changed[0] > 0
    assert changed[1] == 0
    z = torch.zeros(2, 3)
    assert not torch.equal(model.decode(z, one)[0], model.decode(z, other)[0])


def _handed() -> Run:
    """A run whose conditions have no coding."""
    return fit(net(), X, objectives.GRAE(0.2), condition=C, steps=1, **CPU)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda run: fit(net(), X, objectives.GRAE(0.2), steps=2, **CPU),
            "the model takes a condition .* but the data",
        ),
        (
            lambda run: fit(net(condition=None), X, objectives.GRAE(0.2), condition=C, steps=2, **CPU),
            "the data have conditions but the model takes none; build it with",
        ),
        (
            lambda run: fit(net(), run.config.data, objectives.GRAE(0.2), condition=C, steps=2, **CPU),
            "expected names, such as 'labels', for data named by text",
        ),
        (lambda run: run.encode(X), r"the model is conditional; give the condition \(labels \(3 classes: 0, 1, 2\)\)"),
        (lambda run: run.encode(X, condition=[0, 1]), "there are 2 conditions for 60 samples; expected one for each"),
        (lambda run: run.encode(X, condition=5), "labels is '5'; expected one of 0, 1, 2"),
        (lambda run: run.encode(X, condition=torch.zeros(60, 2)), r"has shape \(60, 2\); expected 3 numbers a sample"),
        (
            lambda run: run.interpolate(X[:2], X[1:3], 4, condition=(Y[:2], Y[1:3]), geodesic=True),
            "the ends of a geodesic have different conditions",
        ),
        (
            lambda run: fit(net(None, None), X, objectives.GRAE(0.2), steps=1, **CPU).encode(X, condition=1),
            "takes none",
        ),
        (
            lambda run: _handed().sample(4, condition=C[:4, :2]),
            r"the networks take no condition of shape \(2,\): ",
        ),
        (lambda run: _handed().encode(X[:4], condition=[1.0, 2, 3, 4]), "expected floating-point numbers"),
        (lambda run: _handed().encode(X[:4], condition="a"), "the condition holds <U1 values; expected numbers"),
    ],
)
def test_what_does_not_go_together(call: Any, message: str, labelled: Run) -> None:
    with pytest.raises(InputError, match=message):
        call(labelled)


def test_missing_values_with_an_observation_model_that_has_a_place_for_them() -> None:
    """A run on data with NaN, with conditions besides: what is missing takes no part in the objective."""
    holes = X.copy()
    holes[::3, 1], holes[5] = np.nan, np.nan
    network = nn.Sequential(nn.Linear(12 + 3, 8), nn.Tanh())
    model = Autoencoder(Observed(Beside(network)), Beside(nn.Linear(2 + 3, 6)), latents=2, features=8, condition="both")
    masked = objectives.GRAE(0.2, likelihoods.Masked(likelihoods.Gaussian()), posteriors.Diagonal())
    run = fit(model, holes, masked, condition=C, steps=3, batch_size=16, **CPU)
    x, c = torch.tensor(holes), torch.tensor(C)
    own = run.model()
    filled = torch.cat([x.nan_to_num(0), (~x.isnan()).float()], 1)
    h = own.mean_head(own.encoder.network(filled, c))
    eta = own.decode(h, c)
    nll = 0.5 * ((eta - x) ** 2).nansum(1)
    terms = masked(own.given(c), x)
    torch.testing.assert_close(terms["nll"], nll)
    assert terms["penalty"][5] == 0.0  # nothing of it was observed
    assert terms["penalty"][6] > 0
    np.testing.assert_allclose(run.reconstruct(holes, condition=C), eta.detach().numpy(), rtol=1e-5, atol=1e-6)
    test = run.dataset().half(test=True)[:]
    error = (own.reconstruct(test.x, test.c) - test.x).detach().square()
    assert run.evaluate().mse.mean == pytest.approx(error.nanmean(1).nan_to_num(0).mean().item(), rel=1e-5)
    with pytest.raises(InputError, match="NaN"):
        fit(model, holes, objectives.GRAE(0.2), condition=C, steps=2, **CPU)


def test_a_condition_is_tried_without_a_trace() -> None:
    """In training mode batch norm refuses one row, or makes it part of its running statistics."""
    model = net().train()
    before, state = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    assert conditions_of(model, None, C[:4], 4, (6,)).shape == (4, 3)  # type: ignore[union-attr]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    assert all(module.training for module in model.modules())


def test_a_tensor_of_no_axes_is_one_condition() -> None:
    model = Autoencoder(nn.Linear(6, 2), ByNumber(), latents=2, condition="decoder")
    c = conditions_of(model, None, torch.tensor(2.0, requires_grad=True), 3, (6,))
    torch.testing.assert_close(c, torch.full((3,), 2.0))
