"""Intervals and tests on data whose answer is known."""

import dataclasses
import math

import numpy as np
import pytest
import scipy.linalg
import scipy.stats
import torch

from curvae.errors import InputError
from curvae.identifiability.procrustes import orthogonal_procrustes, rotation_angle
from curvae.reproduce.intervals import bootstrap_trials
from curvae.reproduce.uniqueness.config import CONFIGS
from curvae.reproduce.uniqueness.engine import FIELDS
from curvae.reproduce.uniqueness.numbers import (
    best_against_worst,
    decoder_angles,
    fraction_within,
    relative_angles,
    spread,
    summarise,
    uniformity,
)
from curvae.reproduce.uniqueness.runner import Table, TrialTables


def test_clopper_pearson_by_its_definition() -> None:
    angle = np.r_[np.full(7, 1.0), np.full(13, 10.0)]
    found = fraction_within(angle, 2.0)
    assert found["value"] == 0.35
    assert scipy.stats.binom.sf(6, 20, found["low"]) == pytest.approx(0.025, abs=1e-9)
    assert scipy.stats.binom.cdf(7, 20, found["high"]) == pytest.approx(0.025, abs=1e-9)
    with pytest.raises(InputError, match="at least one"):
        fraction_within(np.array([]), 2.0)


def test_bootstrap_covers() -> None:
    rng = np.random.default_rng(0)
    covered = [
        found["low"] <= 22.5 <= found["high"]
        for found in (bootstrap_trials(spread, rng.uniform(-45, 45, 60), rng) for _ in range(40))
    ]
    assert 32 <= sum(covered) <= 40
    constant = bootstrap_trials(np.mean, np.ones(5), rng)
    assert (constant["low"], constant["value"], constant["high"]) == (1.0, 1.0, 1.0)
    assert bootstrap_trials(np.mean, np.array([3.0]), rng) == {"value": 3.0, "low": 3.0, "high": 3.0}
    assert bootstrap_trials(np.mean, np.array([1.0, 5.0]), rng) == {"value": 3.0, "low": 1.0, "high": 5.0}


def test_uniformity_tells_uniform_from_not() -> None:
    rng = np.random.default_rng(1)
    p_values = [uniformity(rng.uniform(-45, 45, 400))[1] for _ in range(100)]
    assert scipy.stats.kstest(p_values, "uniform").pvalue > 1e-3
    assert uniformity(rng.normal(0, 15, 400))[1] < 1e-6


def test_best_against_worst_sees_a_funnel_and_only_a_funnel() -> None:
    rng = np.random.default_rng(2)
    score = rng.uniform(size=400)
    funnel = best_against_worst(rng.uniform(-45, 45, 400) * (1 - score), score, rng)
    assert funnel["worst_minus_best"]["low"] > 10
    assert funnel["best_quarter"]["high"] < funnel["worst_quarter"]["low"]
    none = best_against_worst(rng.uniform(-45, 45, 400), score, rng)
    assert none["worst_minus_best"]["low"] < 0 < none["worst_minus_best"]["high"]
    with pytest.raises(InputError, match="at least 8"):
        best_against_worst(score[:7], score[:7], rng)


def test_relative_angles_are_procrustes_of_the_means() -> None:
    rng = np.random.default_rng(3)
    x = rng.normal(size=(5, 50, 2))
    one, two = rng.normal(size=(2, 5, 6))
    extended = np.concatenate([x, np.ones((5, 50, 1))], axis=2)
    found = relative_angles(one, two, extended.swapaxes(1, 2) @ extended)
    for i in range(5):
        means = [torch.from_numpy(x[i] @ e[i, :4].reshape(2, 2).T + e[i, 4:]) for e in (one, two)]
        assert found[i] == pytest.approx(rotation_angle(orthogonal_procrustes(means[1], means[0])), abs=1e-9)
    c, s = math.cos(math.pi / 4), math.sin(math.pi / 4)
    turned = np.array([[c, -s, s, c, 0, 0], [c, s, -s, c, 0, 0]])
    straight = np.array([[1.0, 0, 0, 1, 0, 0]] * 2)
    np.testing.assert_allclose(np.abs(relative_angles(turned, straight, np.stack([np.eye(3)] * 2))), 45.0, atol=1e-9)


def test_decoder_angles_are_those_of_the_nearest_rotation() -> None:
    rng = np.random.default_rng(4)
    decoders = rng.normal(size=(20, 2, 2))
    for decoder, angle in zip(decoders, decoder_angles(decoders.reshape(20, 4)), strict=True):
        polar, _ = scipy.linalg.polar(decoder)
        assert angle == pytest.approx(rotation_angle(torch.from_numpy(polar)), abs=1e-9)


def test_trials_that_diverged_are_counted_and_left_out() -> None:
    rng, config = np.random.default_rng(5), CONFIGS["fig5", "smoke"]
    panel, count = config.panels[0], config.trials

    def table() -> Table:
        widths = {"decoder": (4,), "offset": (2,), "encoder": (6,), "variances": (3,)}
        columns = {name: rng.uniform(0, 9, (count, *widths.get(name, ()))) for name in FIELDS}
        return columns | {"index": np.arange(count), "period": np.full(count, 100)}

    trained, optimum = table(), table()
    for name in FIELDS:
        if name not in ("index", "period"):
            trained[name][1] = np.nan
    result = TrialTables(
        dataclasses.replace(config, panels=(panel,)), {panel.name: trained}, {panel.model: optimum}, {}
    )
    found = summarise(result, rng)["panels"][panel.name]
    assert (found["trials"], found["diverged"]) == (count, 1)
    for name in ("to_true_latents", "decoder_to_output_axes", "to_elbo_optimum"):
        assert math.isfinite(found[name]["spread"]["value"])
