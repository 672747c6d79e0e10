"""What a trial is made of."""

import dataclasses

import numpy as np
import pytest

from curvae.errors import InputError
from curvae.reproduce.uniqueness.activations import Nonlinearity
from curvae.reproduce.uniqueness.trial import GenerativeModel, Guard, MixingColumns, draw_mixing, make_trial

MODEL = GenerativeModel(Nonlinearity.TANH, points=2048)


@pytest.mark.parametrize("columns", MixingColumns)
def test_mixing_has_the_norms(columns: MixingColumns) -> None:
    rng = np.random.default_rng(0)
    draws = np.stack([draw_mixing(GenerativeModel(Nonlinearity.TANH, columns, (2.0, 1.0)), rng) for _ in range(2000)])
    np.testing.assert_allclose(np.linalg.norm(draws, axis=1), np.broadcast_to([2.0, 1.0], (2000, 2)))
    cosine = (draws[:, :, 0] * draws[:, :, 1]).sum(1) / 2
    assert (np.abs(cosine).max() < 1e-12) == (columns is MixingColumns.ORTHOGONAL)
    # all directions alike, both orientations: the first column's angle is uniform, and so is the determinant's sign
    directions = draws[:, :, 0] / 2
    assert np.abs(directions.mean(0)).max() < 0.06
    assert np.abs((directions**2).mean(0) - 0.5).max() < 0.04
    assert abs((np.linalg.det(draws) > 0).mean() - 0.5) < 0.05


def test_trials_differ_and_repeat() -> None:
    one, again, other = (make_trial(MODEL, Guard.PAPER, 0, i) for i in (1, 1, 2))
    for name in (f.name for f in dataclasses.fields(one)):
        np.testing.assert_array_equal(getattr(one, name), getattr(again, name))
        assert not np.array_equal(getattr(one, name), getattr(other, name)), name
    assert not np.array_equal(make_trial(MODEL, Guard.PAPER, 1, 1).x, one.x)


def test_only_what_must_changes_with_the_panel() -> None:
    base, off, all_ = (make_trial(MODEL, guard, 0, 5) for guard in (Guard.PAPER, Guard.OFF, Guard.ALL))
    for other in (off, all_, make_trial(dataclasses.replace(MODEL, nu=Nonlinearity.ELU), Guard.PAPER, 0, 5)):
        np.testing.assert_array_equal(base.latents, other.latents)
        np.testing.assert_array_equal(base.start, other.start)
        np.testing.assert_array_equal(base.table, other.table)
    np.testing.assert_array_equal(off.rotations, np.tile([1.0, 0, 0, 1], (3, 1)))
    np.testing.assert_array_equal(base.rotations[2], [1.0, 0, 0, 1])
    np.testing.assert_array_equal(all_.rotations[:2], base.rotations[:2])
    assert abs(all_.rotations[2, 1]) > 0
    for rotation in all_.rotations.reshape(3, 2, 2):
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(2), atol=1e-12)


def test_one_w_and_data_set_for_all_trials_leaves_the_rest_of_a_trial_its_own() -> None:
    own = [make_trial(MODEL, Guard.PAPER, 0, index) for index in (1, 5)]
    shared = [make_trial(dataclasses.replace(MODEL, draw=5), Guard.PAPER, 0, index) for index in (1, 5)]
    for trial in shared:
        for name in ("mixing", "latents", "x"):
            np.testing.assert_array_equal(getattr(trial, name), getattr(own[1], name))
    for name in ("start", "start_local", "rotations", "table", "key"):
        np.testing.assert_array_equal(getattr(shared[0], name), getattr(own[0], name))


def test_data_follow_the_model() -> None:
    trial = make_trial(MODEL, Guard.PAPER, 0, 3)
    residual = trial.x - np.tanh(trial.latents @ trial.mixing.T)
    assert residual.std() == pytest.approx(0.05, rel=0.05)
    assert abs(residual.mean()) < 0.005
    np.testing.assert_allclose(np.cov(trial.latents.T), np.eye(2), atol=0.1)


def test_the_noise_table_is_standardised() -> None:
    table = make_trial(MODEL, Guard.PAPER, 0, 3).table
    np.testing.assert_allclose(table.mean(1), 0, atol=1e-12)
    np.testing.assert_allclose(table.var(1), 1, atol=1e-12)


@pytest.mark.parametrize("points", [0, 31, 100])
def test_bad_points(points: int) -> None:
    with pytest.raises(InputError, match="multiple of 32"):
        GenerativeModel(Nonlinearity.TANH, points=points)


def test_bad_sigma_seed_and_draw() -> None:
    with pytest.raises(InputError, match="draw is -1; expected None or"):
        GenerativeModel(Nonlinearity.TANH, draw=-1)
    with pytest.raises(InputError, match="sigma"):
        GenerativeModel(Nonlinearity.TANH, sigma=0.0)
    with pytest.raises(InputError, match="seed"):
        make_trial(MODEL, Guard.PAPER, -1, 0)
