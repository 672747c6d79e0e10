"""Means and variances that are each sample's own."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from curvae.reproduce.uniqueness import freed, write_freed
from curvae.reproduce.uniqueness.activations import Nonlinearity
from curvae.reproduce.uniqueness.evaluate import best_linear_elbo, elbo_terms
from curvae.reproduce.uniqueness.freed import FREEDOMS, climb, starts
from curvae.reproduce.uniqueness.optimum import maximise_elbo, truth
from curvae.reproduce.uniqueness.trial import GenerativeModel, Guard, make_trial

MODEL = GenerativeModel(Nonlinearity.TANH, points=32)


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow) for name in FREEDOMS])
def test_a_linear_model_gains_nothing(name: str) -> None:
    """Its exact posterior has an affine mean and one covariance, which is diagonal at the optimum."""
    model = dataclasses.replace(MODEL, nu=Nonlinearity.IDENTITY)
    trial = make_trial(model, Guard.OFF, 0, 3)
    for start in starts(trial).values():
        fit, elbo = climb(model, FREEDOMS[name], trial.x, start)
        assert elbo == pytest.approx(best_linear_elbo(model, trial.x), abs=1e-6)
        assert elbo_terms(model, trial.x, fit).mean() == pytest.approx(elbo, abs=1e-9)


@pytest.mark.slow
def test_with_nothing_freed_it_is_the_amortised_optimum() -> None:
    trial = make_trial(MODEL, Guard.OFF, 0, 1)
    start = truth(trial)
    _, optimum = maximise_elbo(MODEL, True, trial.x, start)
    fit, elbo = climb(MODEL, FREEDOMS["neither"], trial.x, start)
    assert elbo == pytest.approx(optimum, abs=1e-6)
    assert elbo_terms(MODEL, trial.x, fit).mean() == pytest.approx(elbo, abs=1e-5)


@pytest.mark.slow
def test_freedom_raises_the_elbo_of_a_nonlinear_model_and_its_value_is_the_fits() -> None:
    trial = make_trial(MODEL, Guard.OFF, 0, 1)
    elbos = {}
    for name, freedom in FREEDOMS.items():
        fit, elbos[name] = climb(MODEL, freedom, trial.x, truth(trial))
        assert elbo_terms(MODEL, trial.x, fit).mean() == pytest.approx(elbos[name], abs=1e-4)
    assert elbos["neither"] < min(elbos["means"], elbos["variances"])
    assert max(elbos["means"], elbos["variances"]) < elbos["both"]


def test_the_second_start_drives_one_output_with_each_latent() -> None:
    trial = make_trial(MODEL, Guard.OFF, 0, 2)
    fit = starts(trial)["axes"]
    np.testing.assert_allclose(fit.decoder, fit.decoder.T, atol=1e-12)
    np.testing.assert_allclose(fit.mean @ fit.decoder.T, trial.latents @ trial.mixing.T, atol=1e-12)


def test_data_sets_that_are_done_are_not_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def found(_: freed.Extent, nu: Nonlinearity, draw: int) -> dict[str, dict[str, float]]:
        if len(calls) == 1:
            calls.append(-1)
            raise KeyboardInterrupt
        calls.append(draw)
        return {"both": {"elbo": float(draw)}}

    monkeypatch.setattr(freed, "freed", found)
    extent = freed.Extent(draws=2)
    with pytest.raises(KeyboardInterrupt):
        write_freed(extent, "quick", tmp_path)
    for _ in range(2):
        write_freed(extent, "quick", tmp_path)
    assert calls == [0, -1, 1]
    written = json.loads((tmp_path / "freed.json").read_text())
    assert written["freed"] == {"W 0": {"both": {"elbo": 0.0}}, "W 1": {"both": {"elbo": 1.0}}}
    assert (written["scale"], written["config"]) == ("quick", dataclasses.asdict(extent))
    write_freed(freed.Extent(draws=1, points=64), "quick", tmp_path)
    assert calls == [0, -1, 1, 0]
