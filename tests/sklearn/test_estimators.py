"""scikit-learn's door: its own checks, PCA as an outside answer, tables with gaps and counts, and bad input."""

from __future__ import annotations

import pickle
import signal
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import torch
from lightning.pytorch import Callback
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

import curvae
from curvae.errors import InputError
from curvae.likelihoods import (
    BernoulliLogits,
    Gaussian,
    LearnedGaussian,
    LearnedNegativeBinomial,
    Likelihood,
    Masked,
    Mixed,
    Poisson,
)
from curvae.runs import Run
from curvae.sklearn import GRAE, BetaVAE
from curvae.sklearn.table import Features, Table, _at_one, likelihood_for

SMALL: dict[str, Any] = {"steps": 3, "hidden_layer_sizes": (8,), "importance_samples": 8, "random_state": 0}


def _blob(count: int = 60, columns: int = 4, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, columns))


@pytest.mark.slow
@pytest.mark.usefixtures("as_shipped")
@pytest.mark.parametrize("kind", [GRAE, pytest.param(BetaVAE, marks=pytest.mark.slow)])
def test_scikit_learns_own_checks(kind: type) -> None:
    check_estimator(kind(**SMALL), on_skip=None)


@pytest.mark.parametrize("kind", [GRAE, BetaVAE])
def test_a_subclass_has_parameters_of_its_own_beside_all_others(kind: Any) -> None:
    class Own(kind):  # type: ignore[misc]
        def __init__(self, n_components: int = 2, *, beta: float = 0.5, note: str = "") -> None:
            super().__init__(n_components, beta=beta)
            self.note = note

    own, plain = Own(3, note="a"), kind(3, beta=0.5)
    assert clone(own).get_params() == {"n_components": 3, "beta": 0.5, "note": "a"}
    assert {name: value for name, value in vars(own).items() if name != "note"} == vars(plain) == plain.get_params()


class Interrupted(Callback):
    def __init__(self, times: int = 1) -> None:
        self.times, self.calls = times, 0

    def on_train_batch_start(self, *_: object) -> None:
        self.calls += 1
        for _ in range(self.times):
            signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_ends_a_search_and_not_one_fit_of_it(monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    pressed = Interrupted(times)
    monkeypatch.setattr("curvae.training.interrupts._IMPATIENCE", -1.0)  # the second one need not wait
    monkeypatch.setattr("curvae.sklearn.training.fit", partial(curvae.fit, callbacks=[pressed]))
    with pytest.raises(KeyboardInterrupt):
        GridSearchCV(GRAE(**SMALL), {"beta": [0.1, 1.0]}, cv=2).fit(_blob())
    assert pressed.calls == 1


def test_a_fit_that_fails_leaves_the_estimator_as_it_was() -> None:
    x, model = _blob(), GRAE(**SMALL, beta=-1.0)
    with pytest.raises(InputError, match="beta is -1"):
        model.fit(x)
    with pytest.raises(NotFittedError):
        model.transform(x)
    codes = model.set_params(beta=1.0).fit(x).transform(x)
    with pytest.raises(InputError, match="beta is -1"):
        model.set_params(beta=-1.0).fit(x[:, :3])
    np.testing.assert_array_equal(model.transform(x), codes)


@pytest.mark.parametrize("kind", [GRAE, BetaVAE])
def test_a_fitted_model_keeps_what_it_was_trained_with(kind: type) -> None:
    x = _blob()
    model = kind(**SMALL, beta=1.0).fit(x)

    def found() -> list[np.ndarray]:
        return [model.posterior(x).covariance, model.score_samples(x), model.sample(3, 0)]

    before = found()
    with pytest.raises(InputError, match="beta is 0; expected a finite number > 0"):
        kind(**SMALL, beta=0).fit(x)
    model.set_params(beta=0.01)
    for now, then in zip(found(), before, strict=True):
        np.testing.assert_array_equal(now, then)
    model.partial_fit(x)  # trains on with what is said now
    assert abs(model.score(x) - before[1].mean()) > 1


def test_a_partial_fit_that_is_stopped_leaves_the_weights_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    x, model = _blob(), GRAE(**SMALL, batch_size=20).fit(_blob())
    codes = model.transform(x)
    monkeypatch.setattr("curvae.sklearn.training.fit", partial(curvae.fit, callbacks=[Interrupted()]))
    with pytest.raises(KeyboardInterrupt):
        model.partial_fit(x)
    np.testing.assert_array_equal(model.transform(x), codes)


def _linear() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(900, 2)) @ rng.normal(size=(2, 5)) + 0.3 * rng.normal(size=(900, 5)) + rng.normal(size=5)
    return x[:600], x[600:]


@pytest.mark.usefixtures("as_shipped")
def test_on_linear_data_it_is_probabilistic_pca() -> None:
    train, test = _linear()
    pca = PCA(2).fit(train)
    model = GRAE(
        2,
        likelihood="gaussian:learned",
        hidden_layer_sizes=(),
        steps=300,
        lr=0.05,
        batch_size=600,
        importance_samples=8,
        random_state=0,
    ).fit(train)
    np.testing.assert_allclose(model.score_samples(test), pca.score_samples(test), atol=0.02)
    # the posterior of probabilistic PCA, up to the rotation of the latents: its covariance's eigenvalues, its mean
    expected = pca.noise_variance_ / pca.explained_variance_
    found = model.posterior(test)
    values = np.linalg.eigvalsh(found.covariance)
    np.testing.assert_allclose(values, np.broadcast_to(np.sort(expected), values.shape), rtol=0.05)
    squares = ((test - pca.mean_) @ pca.components_.T) ** 2
    lengths = (squares * (pca.explained_variance_ - pca.noise_variance_) / pca.explained_variance_**2).sum(1)
    np.testing.assert_allclose((found.mean**2).sum(1), lengths, rtol=0.05, atol=0.02)
    np.testing.assert_allclose(
        model.inverse_transform(found.mean), pca.inverse_transform(pca.transform(test)), atol=0.2
    )


@pytest.mark.slow
@pytest.mark.usefixtures("as_shipped")
def test_on_curved_data_it_beats_pca() -> None:
    rng = np.random.default_rng(0)
    t = rng.normal(size=(500, 1))
    x = np.hstack([t, t**2, 2 * t]) + 0.1 * rng.normal(size=(500, 3))
    model = GRAE(1, hidden_layer_sizes=(32,), steps=150, lr=0.03, importance_samples=32, random_state=0).fit(x[:350])
    best = max(PCA(d).fit(x[:350]).score(x[350:]) for d in (1, 2))
    assert model.score(x[350:]) > best + 0.3


def test_a_score_depends_on_the_sample_alone_and_the_seed_decides() -> None:
    x = _blob()
    model = GRAE(**SMALL).fit(x)
    np.testing.assert_allclose(model.score_samples(x)[7:9], model.score_samples(x[7:9]), rtol=1e-12)
    again = GRAE(**SMALL).fit(x)
    np.testing.assert_array_equal(model.transform(x), again.transform(x))
    assert not np.array_equal(model.transform(x), GRAE(**{**SMALL, "random_state": 1}).fit(x).transform(x))
    np.testing.assert_array_equal(model.sample(5, random_state=3), again.sample(5, random_state=3))


@pytest.mark.cases(1)
@pytest.mark.parametrize("kind", [GRAE, BetaVAE])
def test_pipeline_search_clone_and_pickle(kind: type) -> None:
    x = _blob()
    pipeline = make_pipeline(StandardScaler(), kind(**SMALL))
    search = GridSearchCV(pipeline, {f"{kind.__name__.lower()}__beta": [0.1, 1.0]}, cv=2).fit(x)
    assert search.cv_results_["mean_test_score"].shape == (2,)
    best = search.best_estimator_
    loaded = pickle.loads(pickle.dumps(best))
    np.testing.assert_array_equal(loaded.transform(x), best.transform(x))
    np.testing.assert_array_equal(loaded.score_samples(x), best.score_samples(x))
    assert clone(best).get_params()[f"{kind.__name__.lower()}__beta"] == search.best_params_.popitem()[1]
    assert list(best.get_feature_names_out()) == [f"{kind.__name__.lower()}{i}" for i in range(2)]


def test_frames_in_frames_out() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(_blob(), columns=list("abcd"), index=range(100, 160))
    model = GRAE(**SMALL).set_output(transform="pandas").fit(frame)
    codes = model.transform(frame)
    assert list(codes.columns) == ["grae0", "grae1"]
    assert list(codes.index) == list(frame.index)
    with pytest.raises(ValueError, match="feature names should match"):
        model.transform(frame[["b", "a", "c", "d"]])


def test_the_encoders_own_covariance_and_the_calibrated_one() -> None:
    x = _blob()
    model = BetaVAE(structure="full", **SMALL).fit(x)
    own, calibrated = model.posterior(x, calibrated=False), model.posterior(x)
    np.testing.assert_array_equal(own.mean, calibrated.mean)
    assert np.abs(own.covariance - calibrated.covariance).max() > 1e-3
    jacobian = _jacobian(model, calibrated.mean[0])
    sigma = model.likelihood_.sigma.detach().numpy()
    expected = np.linalg.inv(np.eye(2) + jacobian.T @ (jacobian / sigma[:, None] ** 2))
    np.testing.assert_allclose(calibrated.covariance[0], expected, rtol=1e-5)


def test_refined_means_are_the_modes() -> None:
    x = _blob()
    model = BetaVAE(**{**SMALL, "hidden_layer_sizes": ()}, likelihood="gaussian:learned").fit(x)
    encoded, one, more = (model.posterior(x, refine) for refine in (0, 1, 4))
    np.testing.assert_allclose(one.mean, more.mean, atol=1e-5)  # of a linear decoder the first step is the last
    assert np.abs(one.mean - encoded.mean).max() > 1e-3
    np.testing.assert_allclose(one.covariance, encoded.covariance, rtol=1e-5)
    with pytest.raises(InputError, match="leave one out"):
        model.posterior(x, refine=1, calibrated=False)


def _jacobian(model: Any, code: np.ndarray) -> np.ndarray:
    """By differences, of the mean in the data's units."""
    steps = 1e-5 * np.eye(2)
    ahead, behind = (model.inverse_transform(code + sign * steps) for sign in (1, -1))
    return ((ahead - behind) / 2e-5).T


def test_partial_fit_goes_on() -> None:
    x = _blob(200)
    model = GRAE(**SMALL)
    model.partial_fit(x[:100])
    before = model.transform(x)
    model.partial_fit(x[100:])
    model.partial_fit(x[:1])
    assert np.abs(model.transform(x) - before).max() > 1e-4
    assert model.fit(x).n_features_in_ == 4


@pytest.mark.parametrize("kind", [GRAE, BetaVAE])
def test_gaps(kind: type) -> None:
    x = _blob()
    gaps = np.where(np.random.default_rng(1).random(x.shape) < 0.3, np.nan, x)
    model = kind(**SMALL).fit(gaps)
    assert np.isfinite(model.transform(gaps)).all()
    assert np.isfinite(model.score_samples(gaps)).all()
    assert np.isfinite(model.inverse_transform(model.transform(gaps))).all()
    with pytest.raises(InputError, match="had none; fit with likelihood='masked:gaussian'"):
        kind(**SMALL).fit(x).transform(gaps)
    assert np.isfinite(kind(likelihood="masked:gaussian", **SMALL).fit(x).score_samples(gaps)).all()


def test_sparse_is_dense() -> None:
    counts = np.random.default_rng(0).poisson(1.0, size=(50, 6)).astype(float)
    model = GRAE(likelihood="poisson", **SMALL)
    dense = model.fit(counts).score_samples(counts)
    for matrix in (scipy.sparse.csr_matrix(counts), scipy.sparse.coo_array(counts)):
        np.testing.assert_array_equal(model.fit(matrix).score_samples(matrix), dense)


@pytest.mark.covering
@pytest.mark.parametrize("likelihood", ["poisson", "negative-binomial", "negative-binomial:3"])
@pytest.mark.parametrize("size_factors", [None, "total", "column"])
def test_counts(likelihood: str, size_factors: str | None) -> None:
    rng = np.random.default_rng(0)
    depth = rng.uniform(0.5, 3, size=(60, 1))
    x = rng.poisson(depth * rng.uniform(1, 5, size=4)).astype(float)
    x[3] = 0
    if size_factors == "column":
        x = np.hstack([x, depth])
    model = GRAE(likelihood=likelihood, size_factors=size_factors, **SMALL).fit(x)
    assert np.isfinite(model.score_samples(x)).all()
    drawn = model.sample(7, random_state=0)
    assert drawn.shape == (7, x.shape[1])
    assert (drawn == drawn.round()).all()
    assert model.inverse_transform(model.transform(x)).shape == x.shape


def _of_kinds(count: int = 60) -> np.ndarray:
    """Columns far from 0 and of large spread, of 0 and 1, and of counts."""
    rng = np.random.default_rng(2)
    return np.stack([rng.normal(100, 30, count), rng.random(count) < 0.3, rng.poisson(5, count)], 1).astype(float)


@pytest.mark.parametrize("gaps", [False, True])
def test_mixed_by_its_name_begins_where_the_columns_are(gaps: bool) -> None:
    x = _of_kinds()
    x[3, 0] = np.nan if gaps else x[3, 0]
    model = GRAE(likelihood="mixed", **SMALL | {"steps": 1}).fit(x)
    assert isinstance(model.likelihood_, Masked) == gaps
    inner = model.likelihood_.likelihood if gaps else model.likelihood_
    kinds = [type(part.likelihood) for part in inner.parts]
    assert kinds == [LearnedGaussian, BernoulliLogits, LearnedNegativeBinomial]
    np.testing.assert_allclose(inner.parts[0].likelihood.sigma.detach(), np.nanstd(x[:, 0]), rtol=0.02)
    begun = model.likelihood_.mean(model.model_.decoder.centre[None])[0]
    np.testing.assert_allclose(begun, np.nanmean(x, 0), rtol=0.02)


def test_mixed_by_its_name_with_columns_named() -> None:
    frame = pytest.importorskip("pandas").DataFrame(_of_kinds(), columns=["age", "ill", "visits"])
    model = GRAE(likelihood="mixed:visits=continuous", condition="ill", **SMALL).fit(frame)
    assert [type(part.likelihood) for part in model.likelihood_.parts] == [LearnedGaussian]
    wrong = frame.assign(visits=frame.visits + 0.5)
    plain = GRAE(likelihood="mixed", **SMALL).fit(frame)
    with pytest.raises(InputError, match=r"X has 2.5 in column 'visits', which is counts: whole numbers >= 0"):
        plain.transform(wrong.assign(visits=2.5))


@pytest.mark.parametrize(
    ("name", "same"),
    [
        ("masked:poisson", Masked(Poisson())),
        ("masked:gaussian:30", Masked(Gaussian(30.0))),
        ("poisson", Poisson()),
        ("mixed:continuous:1", Mixed([(LearnedGaussian(), 1)])),
    ],
)
def test_names_and_objects_have_outputs_in_the_same_place(name: str, same: Likelihood) -> None:
    """And masked ones are checked like others."""
    x = _of_kinds()[:, [0 if "gauss" in name or "cont" in name else 2]]
    places = []
    for likelihood in (name, same):
        model = GRAE(1, likelihood=likelihood, **SMALL).fit(x)
        places.append(model.model_.decoder.centre)
    torch.testing.assert_close(places[0], places[1])
    assert places[0].abs().min() > 1
    if "poisson" in name:
        with pytest.raises(InputError, match="is for counts"):
            GRAE(1, likelihood=name).fit(x - 20)


def test_pickles_of_other_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    fitted = GRAE(1, **SMALL).fit(_blob())
    old = fitted.__getstate__()
    del old["_said"], old["_curvae_version"]
    with pytest.raises(InputError, match=r"^this GRAE was pickled by an earlier curvae, and curvae .* cannot open it"):
        GRAE().__setstate__(old)
    pickled = pickle.dumps([fitted, GRAE(3)])
    monkeypatch.setattr(curvae, "__version__", "99.0")
    with pytest.warns(UserWarning, match=r"^this GRAE was pickled by curvae 0\S+ and is opened by curvae 99.0; fit"):
        loaded, unfitted = pickle.loads(pickled)
    np.testing.assert_array_equal(loaded.transform(_blob()), fitted.transform(_blob()))
    assert unfitted.get_params() == GRAE(3).get_params()
    assert vars(loaded).keys() == vars(fitted).keys()


def test_binary_and_mixed_columns() -> None:
    x = np.hstack([_blob(60, 2), _blob(60, 2, seed=1) > 0])
    binary = GRAE(likelihood="bernoulli", **SMALL).fit(x[:, 2:])
    assert (binary.inverse_transform(binary.transform(x[:, 2:])) > 0).all()
    mixed = GRAE(likelihood=Mixed([(Gaussian(), 2), (BernoulliLogits(), 2)]), **SMALL).fit(x)
    assert set(mixed.sample(9, random_state=0)[:, 2:].flat) <= {0.0, 1.0}
    x[5, 3] = np.nan
    assert np.isfinite(mixed.fit(x).score(x))


@pytest.mark.parametrize(
    ("settings", "x", "message"),
    [
        ({"n_components": 5}, _blob(), r"n_components is 5 but X has 4 feature\(s\)"),
        ({"n_components": 0}, _blob(), "n_components is 0; expected"),
        ({"beta": 0.0}, _blob(), "beta is 0.0; expected"),
        ({"likelihood": "gauss"}, _blob(), "likelihood is 'gauss'; expected"),
        ({"activation": "swish"}, _blob(), "activation is 'swish'; expected one of elu"),
        ({"structure": "dense"}, _blob(), "structure is 'dense'; expected"),
        ({"size_factors": "total"}, _blob(), "they go with 'poisson'"),
        ({"likelihood": "poisson", "size_factors": "sum"}, abs(_blob()), "expected None, 'total' or 'column'"),
        ({"likelihood": "poisson"}, _blob(), r"the data have .*, but Poisson\(\) is for counts"),
        ({"likelihood": "bernoulli"}, _blob(), r"BernoulliLogits\(\) is for values in \[0, 1\]"),
        ({"likelihood": "poisson", "size_factors": "column"}, np.zeros((9, 3)), "the size factors; expected finite"),
        ({"likelihood": Mixed([(Gaussian(), 2)])}, _blob(), "X has 4 columns but Mixed"),
        ({"hidden_layer_sizes": (8, 0)}, _blob(), "a hidden layer's size is 0"),
        ({"hidden_layer_sizes": None}, _blob(), "hidden_layer_sizes is None; expected sizes"),
        ({"condition": 1.5}, _blob(), "condition has 1.5; expected names or positions"),
        ({}, 1e-200 * _blob(), "column 0 has values near .*; express it in a smaller unit"),
        ({"steps": 0}, _blob(), "steps is 0; expected"),
        ({"likelihood": 3}, _blob(), "likelihood is 3; expected a name"),
        ({"device": "tpu"}, _blob(), "device is 'tpu', which PyTorch does not find here"),
        ({}, np.full((9, 3), np.inf), "infinity"),
        ({}, 1e39 * _blob(), "X: sample 0 holds infinity or a value beyond float32"),
        ({"likelihood": "mixed"}, 1e39 * _blob(), "X: sample 0 holds infinity or a value beyond float32"),
        ({}, _blob() + np.array([0, 0, 1e9, 0]), r"X: column 2 has values near 1e\+09 .* in steps of 64"),
    ],
)
def test_bad_input_is_one_line(settings: dict[str, Any], x: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GRAE(**{**SMALL, **settings}).fit(x)


def test_a_fitted_model_refuses_values_beyond_single_precision() -> None:
    model, x = GRAE(**SMALL).fit(_blob()), _blob()
    x[3, 1] = 1e39
    for method in (model.transform, model.posterior, model.score, model.partial_fit):
        with pytest.raises(InputError, match="^X: sample 3 holds infinity or a value beyond float32"):
            method(x)


def test_codes_of_another_number() -> None:
    with pytest.raises(InputError, match="X has 3 columns, but this model has 2 components"):
        GRAE(**SMALL).fit(_blob()).inverse_transform(np.zeros((2, 3)))


def test_a_report_is_measured_with_the_structure_of_the_posterior(tmp_path: Path, monkeypatch: Any) -> None:
    found = []
    evaluate = Run.evaluate
    monkeypatch.setattr(Run, "evaluate", lambda run, **options: found.append(evaluate(run, **options)))
    x = np.random.default_rng(0).random((60, 4))
    for structure in ("diagonal", "full", "block:2"):
        model = BetaVAE(n_components=2, structure=structure, hidden_layer_sizes=(4,), steps=2, importance_samples=2)
        model.fit(x).report(x, tmp_path / "page.html")
    assert [one.structure for one in found] == ["Diagonal()", "Full()", "BlockDiagonal(2)"]


def test_error_bars_of_a_grae_that_is_flat_at_its_codes_are_warned_of() -> None:
    x = np.repeat(np.eye(3), 20, axis=0) @ np.random.default_rng(0).normal(size=(3, 4))
    x += 0.01 * np.random.default_rng(1).normal(size=x.shape)
    with pytest.warns(RuntimeWarning, match=r"flat at the codes .* take BetaVAE where they matter"):
        GRAE(2, steps=300, random_state=0).fit(x)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        BetaVAE(2, steps=300, random_state=0).fit(x)


def test_missing_counts_are_missing_from_the_total_of_a_typical_sample_too():
    """Rows that are multiples of one row have the same size factors with holes in them as without."""
    row, factors = torch.tensor([8.0, 4.0, 2.0, 40.0]), torch.arange(1.0, 6.0)
    x = factors[:, None] * row
    x[0, 3] = x[1, :3] = x[4, 1] = torch.nan
    table = Table(x, "masked:poisson", "total")
    expected = (factors / 3).log()
    assert torch.allclose(Features(table, torch.ones(4, dtype=torch.bool))._raw(x)[:, -1], expected)
    assert torch.allclose(likelihood_for(table).parted(torch.zeros(5, 4), x)[0], expected[:, None].expand(5, 4))
    assert torch.allclose(_at_one(table).nan_to_num(), (3 * row).where(~x.isnan(), 0))


def test_samples_without_any_count_have_no_total():
    """Empty rows of a table, all missing, do not make the typical total smaller."""
    x = torch.tensor([[8.0, 4.0], [16.0, 8.0], [8.0, 4.0]])
    empty = torch.cat([x, torch.full((4, 2), torch.nan)])
    assert torch.allclose(Table(empty, "masked:poisson", "total").typical, Table(x, "masked:poisson", "total").typical)
