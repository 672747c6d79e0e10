"""Matrices against torch.func, statistics against NumPy, the ordinary autoencoder against its definition."""

import re
from types import MappingProxyType

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import jacrev, vmap

from curvae import Autoencoder
from curvae.errors import InputError
from curvae.posteriors import BlockDiagonal
from curvae.reproduce import fig3
from curvae.reproduce.fig2.blocks import inside, share_inside
from curvae.reproduce.fig2.config import CONFIGS, FIGURE_2, FIGURE_7, HeatMaps, Setting
from curvae.reproduce.fig2.numbers import KINDS, HeatMapPanel, Matrices, alignment, matrices, runs, summarise
from curvae.reproduce.fig2.picture import along_training, heat_maps, shares
from curvae.reproduce.sweep.training import TrainingSettings, overridden
from curvae.runs import build_model, build_objective


@pytest.fixture
def model(float64: None) -> Autoencoder:
    decoder = nn.Sequential(nn.Linear(4, 7), nn.Tanh(), nn.Linear(7, 6))
    return Autoencoder(nn.Linear(6, 5), decoder, latents=4, structure=BlockDiagonal(2))


def test_matrices_are_the_definitions(model: Autoencoder) -> None:
    x = torch.randn(9, 6)
    found = matrices(model, x, batch_size=4)
    with torch.no_grad():
        q = model.posterior(x)
        jacobians = vmap(jacrev(model.decoder))(q.mean)
    np.testing.assert_allclose(found.gram, (jacobians.mT @ jacobians).numpy(), rtol=1e-10)
    assert found.precision is not None
    np.testing.assert_allclose(
        found.precision @ q.covariance().numpy(), np.broadcast_to(np.eye(4), (9, 4, 4)), atol=1e-9
    )


def test_alignment_equals_numpy() -> None:
    generator = np.random.default_rng()
    setting = Setting(0.3, 5, 2)
    config = HeatMaps(TrainingSettings(1, 1.0, (0,)), (setting,), points=8, resamples=5)
    models = []
    for _ in range(2):
        jacobian, root = generator.normal(size=(8, 9, 5)), generator.normal(size=(8, 5, 5))
        kept = inside(5, 2) | np.eye(5, dtype=bool)
        models.append(Matrices(jacobian.swapaxes(1, 2) @ jacobian, (root @ root.swapaxes(1, 2)) * kept))
    found = alignment(models, setting, config, generator)
    pairs = [(p, np.eye(5) + m / 0.3) for one in models for p, m in zip(one.precision, one.gram, strict=True)]
    distance = np.mean([np.linalg.norm(p - q) / np.linalg.norm(q) for p, q in pairs])
    assert found["distance"]["value"] == pytest.approx(distance, rel=1e-12)
    kept = inside(5, 2) | np.eye(5, dtype=bool)
    within = np.mean([np.linalg.norm(p - q * kept) / np.linalg.norm(q * kept) for p, q in pairs])
    assert found["distance_in_structure"]["value"] == pytest.approx(within, rel=1e-12)
    lower = np.tril_indices(5, -1)
    entries = [np.concatenate([side[lower] for side in sides]) for sides in zip(*pairs, strict=True)]
    assert found["correlation"]["value"] == pytest.approx(np.corrcoef(*entries)[0, 1], rel=1e-9)
    inner = [np.concatenate([side[inside(5, 2)] for side in sides]) for sides in zip(*pairs, strict=True)]
    assert found["correlation_in_blocks"]["value"] == pytest.approx(np.corrcoef(*inner)[0, 1], rel=1e-9)


def panel(cause: bool) -> tuple[HeatMapPanel, HeatMaps]:
    """Three kinds of decoders of 6 latents; only the first has blocks, or none has."""
    generator = np.random.default_rng(0)
    setting = Setting(0.2, 6, 2)
    found = {}
    for kind in KINDS:
        jacobians = generator.normal(size=(2, 40, 30, 6))
        gram = jacobians.swapaxes(2, 3) @ jacobians + (40 * inside(6, 2) if cause and kind == "blocks" else 0)
        kept = (inside(6, 2) & (kind != "diagonal")) | np.eye(6, dtype=bool)
        ends = [Matrices(g, np.eye(6) + g / 0.2 * kept) for g in gram]
        early = [Matrices(g, np.tile(np.eye(6), (len(g), 1, 1))) for g in generator.permuted(gram, axis=2)]
        found[kind] = [{50: a, 100: b} for a, b in zip(early, ends, strict=True)]
    config = HeatMaps(TrainingSettings(1, 1.0, (0, 1)), (setting,), points=40, permutations=199, resamples=100)
    return HeatMapPanel(setting, generator.random((3, 7, 5, 1)), MappingProxyType(found)), config


def test_blocks_that_only_one_decoder_has_are_found_and_attributed() -> None:
    one, config = panel(cause=True)
    summary = summarise(one, config, np.random.default_rng(0))
    for control in ("diagonal", "autoencoder"):
        assert summary["share_above"][control]["low"] > 0.1
        assert summary["share_of_cosines_above"][control]["low"] > 0.1
    assert all(found["p_value"] < 0.1 for found in summary["permuted"]["blocks"])
    assert summary["share"]["blocks"]["low"] > summary["share_by_chance"] + 0.1
    assert summary["alignment"]["distance_in_structure"]["value"] == pytest.approx(0, abs=1e-12)
    assert summary["alignment"]["correlation_in_blocks"]["value"] == pytest.approx(1)


def test_without_a_cause_nothing_is_found() -> None:
    one, config = panel(cause=False)
    summary = summarise(one, config, np.random.default_rng(0))
    for control in ("diagonal", "autoencoder"):
        assert abs(summary["share_above"][control]["value"]) < 0.05
    assert summary["share"]["blocks"]["value"] == pytest.approx(summary["share_by_chance"], abs=0.05)


def test_an_autoencoder_run_minimises_half_the_squared_error_and_nothing_else(toy: TrainingSettings) -> None:
    config = toy.autoencoder(0, 4)
    model, objective = build_model(config, (12,)), build_objective(config)
    x = torch.rand(6, 12)
    total = objective(model, x, torch.Generator()).total
    plain = 0.5 * (x - model.reconstruct(x)).square().sum(-1)
    torch.testing.assert_close(total, plain)
    ours = torch.autograd.grad(total.sum(), list(model.parameters()))
    torch.testing.assert_close(ours, torch.autograd.grad(plain.sum(), list(model.parameters())))


def test_the_settings_are_the_papers() -> None:
    assert set(FIGURE_2) < set(FIGURE_7)
    assert {(s.beta, s.latents, s.block) for s in FIGURE_7} == {
        (0.2, 8, 2), (0.4, 8, 2), (0.6, 8, 3), (0.8, 20, 3), (0.6, 12, 2), (1.0, 8, 2), (0.4, 12, 3),
    }  # fmt: skip
    paper = CONFIGS["fig7", "paper"].training
    assert (paper.steps, paper.width, paper.network) == (20_000, 1.0, "paper")


def test_figures_share_their_runs() -> None:
    two, seven = ({run for *_, run in runs(CONFIGS[name, "paper"])} for name in ("fig2", "fig7"))  # type: ignore[arg-type]
    assert two < seven


def test_settings_from_text() -> None:
    config = fig3.CONFIGS["fig3", "quick"]
    changed = overridden(config, {"betas": "0.1,0.3", "steps": "50", "data": "toy.npy"})
    assert (changed.betas, changed.training.steps, changed.training.data) == ((0.1, 0.3), 50, "toy.npy")
    assert overridden(config, {}) == config
    for name, text in (("steps", "many"), ("betas", "0.1;0.2"), ("nothing", "1"), ("points", "0"), ("training", "1")):
        with pytest.raises(InputError, match=f"--set {name}"):
            overridden(config, {name: text})


def test_panels_from_text() -> None:
    config = CONFIGS["fig7", "quick"]
    text = ",".join(map(str, config.settings))
    assert overridden(config, {"settings": text}) == config
    assert overridden(config, {"settings": "0.4:12:3"}).settings == (Setting(0.4, 12, 3),)
    for wrong in ("0.4", "0.4:12", "0.4:12:1", "0.4:12:12", "a:12:3", "0.4:12:3,", "0.4:12:3;0.2:8:2"):
        with pytest.raises(
            InputError,
            match=re.escape(f"--set settings is {wrong!r}; expected each as β:d:b with 1 < b < d, like {text}"),
        ):
            overridden(config, {"settings": wrong})
    with pytest.raises(InputError, match="expected each setting once"):
        overridden(config, {"settings": "0.4:12:3,0.4:12:3"})


def test_the_figures_have_every_matrix_and_every_kind() -> None:
    one, config = panel(cause=True)
    drawn = heat_maps([one, one], shown=3)
    images = [at.images[0] for at in drawn.subfigs[1].axes if at.images]
    assert len(images) == 3 * 3  # and a colour bar
    model = one.at(100, "blocks")[0]
    implied = np.eye(6) + model.gram / 0.2
    for place, row in enumerate(zip(one.images[..., 0], model.precision, implied, strict=False)):
        for image, expected in zip(images[3 * place : 3 * place + 3], row, strict=True):
            np.testing.assert_allclose(image.get_array(), expected)
    assert len({image.get_clim() for image in images[1::3] + images[2::3]}) == 1
    summary = summarise(one, config, np.random.default_rng(0))
    figure = shares([summary, summary])
    assert [len(at.containers) for at in figure.axes] == [6, 6]
    for container, kind in zip(figure.axes[0].containers, 2 * list(summary["share"]), strict=True):
        (ends,) = container.lines[2][0].get_segments()  # the interval itself, whether or not it holds its estimate
        np.testing.assert_allclose(ends[:, 0], [summary["share"][kind]["low"], summary["share"][kind]["high"]])


def test_along_training_are_the_statistics_of_each_step() -> None:
    one, config = panel(cause=True)
    found = summarise(one, config, np.random.default_rng(0))
    early, end = found["along_training"]
    assert (early["step"], end["step"]) == (50, 100)
    assert end["distance_in_structure"]["diagonal"]["value"] == pytest.approx(0, abs=1e-12)
    assert end["share"]["blocks"]["value"] == found["share"]["blocks"]["value"]
    shares_before = np.mean([share_inside(m.gram, 2).mean() for m in one.at(50, "diagonal")])
    assert early["share"]["diagonal"]["value"] == pytest.approx(shares_before)
    kept = inside(6, 2) | np.eye(6, dtype=bool)
    implied = [(np.eye(6) + m.gram / 0.2) * kept for m in one.at(50, "blocks")]
    distance = np.mean([np.linalg.norm(q - np.eye(6), axis=(1, 2)) / np.linalg.norm(q, axis=(1, 2)) for q in implied])
    assert early["distance_in_structure"]["blocks"]["value"] == pytest.approx(distance)
    lines = along_training([found, found]).axes[3].get_lines()
    np.testing.assert_allclose(lines[0].get_ydata()[0], distance)
